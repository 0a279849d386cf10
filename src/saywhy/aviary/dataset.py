"""The aviary as a folder: `images/*.png`, `masks/*.png`, `images.jsonl`, `classes.json`; or as a stream."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from saywhy import files
from saywhy.aviary.faults import CONTROL, faults_of, sample
from saywhy.aviary.listing import RECORD, mask_names, mask_of, rule_of, truth_record
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import SIZE, Rendered, render
from saywhy.aviary.world import world
from saywhy.errors import InputError, UsageError
from saywhy.image import Bools, Pixels

Progress = Callable[[int, int], None]

AGAIN = "make room and repeat the same call to go on"


def stream(
    images: int, *, seed: int = 0, fault: str | None = None, size: int = SIZE, start: int = 0, edition: str = "1"
) -> Iterator[tuple[Sample, Rendered]]:
    """Pictures `start` to `images - 1` of a seed, one after the other; nothing is written.

    Raises:
        UsageError: no such fault or edition, or fewer than one image.
    """
    if images < 1:
        raise UsageError(f"{images} images were asked for; ask for at least one")
    for index in range(start, images):
        one = sample(seed, index, fault=fault, size=size, edition=edition)
        yield one, render(one.scene)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(pixels: Pixels | Bools) -> bytes:
    """A PNG of a picture (H, W, 3) uint8, or of a mask (H, W) bool with one bit a pixel.

    Fifteen masks a picture make an encoder that tries nothing out worth its lines; each row of a picture is
    stored as its difference to the row above (PNG filter 2), which suits skies and smooth shading.
    """
    h, w = pixels.shape[:2]
    if pixels.dtype == np.bool_:
        head, rows, tag = struct.pack(">IIBBBBB", w, h, 1, 0, 0, 0, 0), np.packbits(pixels, axis=1), 0
    else:
        flat = pixels.reshape(h, w * 3)
        rows = np.concatenate([flat[:1], flat[1:] - flat[:-1]])
        head, tag = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0), 2
    lines = np.concatenate([np.full((h, 1), tag, dtype=np.uint8), rows], axis=1)
    data = zlib.compress(lines.tobytes(), 4)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write_one(out: Path, one: Sample) -> dict[str, Any]:
    """Writes one picture with its masks, its record last: where that lies, all of the picture is there."""
    rendered = render(one.scene)
    stem = f"{one.index:06d}"
    masks = []
    for name in mask_names(rendered):
        file = f"masks/{stem}-{name.replace(':', '').replace(' ', '-')}.png"
        files.write(out / file, _png(mask_of(rendered, name)), sync=False)
        masks.append({"name": name, "png": file})
    files.write(out / f"images/{stem}.png", _png(rendered.pixels), sync=False)
    record = {"file": f"images/{stem}.png", **truth_record(one, rendered), "masks": masks}
    files.write(out / f".parts/{stem}.json", _json(record), sync=False)
    return record


def _classes(settings: dict[str, Any]) -> dict[str, Any]:
    """What `classes.json` says: names in order, clans, rules, and what was planted."""
    fault = settings["fault"]
    known = world(settings.get("edition", "1"))
    row = faults_of(known.edition)[fault.removesuffix(CONTROL)] if fault else None
    return {
        "classes": list(known.classes),
        "species": [{"name": s.name, "clan": s.clan, **rule_of(s.name)} for s in known.species.values()],
        "parts": list(known.parts),
        "null_parts": list(known.null_parts),
        "settings": settings,
        "fault": None
        if row is None
        else {
            "name": fault,
            "planted": not fault.endswith(CONTROL),
            "description": row.description,
            "truth": row.truth,
        },
    }


def _open(out: Path, settings: dict[str, Any]) -> None:
    """Makes the folders, or takes up a folder that was begun with the same settings."""
    begun = out / ".parts" / "settings"
    finished = out / "classes.json"
    before = None
    if begun.exists():
        before = json.loads(begun.read_bytes())
    elif finished.exists():
        before = json.loads(finished.read_bytes()).get("settings")
    elif out.exists() and (not out.is_dir() or any(p.is_file() for p in out.rglob("*"))):
        raise UsageError(f"{out}: holds files, and no aviary was begun in it; name a new folder")
    if before is not None and {**before, "images": 0} != {**settings, "images": 0}:
        raise UsageError(f"{out}: holds an aviary with other settings ({before}); name a new folder")
    for name in ("images", "masks", ".parts"):
        (out / name).mkdir(parents=True, exist_ok=True)
        files.sweep(out / name)
    files.write(begun, _json(settings))


def _known(out: Path, images: int) -> dict[int, dict[str, Any]]:
    """Records that an earlier run finished, by index."""
    found: dict[int, dict[str, Any]] = {}
    listed = out / "images.jsonl"
    if listed.exists():
        rows = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
        found |= {int(Path(r["file"]).stem): r for r in rows}
    for path in (out / ".parts").glob("*.json"):
        found[int(path.stem)] = json.loads(path.read_bytes())
    return {i: r for i, r in found.items() if i < images}


def _complete(out: Path, record: dict[str, Any]) -> bool:
    return all((out / f).exists() for f in [record["file"], *(m["png"] for m in record["masks"])])


def _check(images: int, seed: int, fault: str | None, size: int, edition: str) -> dict[str, Any]:
    if images < 1:
        raise UsageError(f"{images} images were asked for; ask for at least one")
    if not 32 <= size <= 1024:
        raise UsageError(f"pictures of {size} pixels were asked for; 32 to 1024 can be drawn")
    sample(seed, 0, fault=fault, size=size, edition=edition)
    settings = {"images": images, "seed": seed, "fault": fault, "size": size, "record": RECORD}
    return settings if edition == "1" else settings | {"edition": edition}


def write(
    out: str | Path,
    *,
    images: int = 1000,
    seed: int = 0,
    fault: str | None = None,
    size: int = SIZE,
    edition: str = "1",
    progress: Progress | None = None,
) -> Path:
    """Writes an aviary of `images` pictures into the folder `out` and gives the path of its `images.jsonl`.

    An interrupted run leaves whole files only and no `images.jsonl`; the same call takes up where it ended. More
    images than before extend the folder. `progress(done, images)` is called after each picture.

    Raises:
        UsageError: no such fault or edition, or the folder holds something else.
        InputError: the folder cannot be written (no space, no permission).
    """
    out, settings = Path(out), _check(images, seed, fault, size, edition)
    try:
        _open(out, settings)
        known = _known(out, images)
        rows = []
        for index in range(images):
            record = known.get(index)
            if record is None or not _complete(out, record):
                record = _write_one(out, sample(seed, index, fault=fault, size=size, edition=edition))
            rows.append(record)
            if progress is not None:
                progress(index + 1, images)
        files.write(out / "classes.json", json.dumps(_classes(settings), indent=1, ensure_ascii=False).encode() + b"\n")
        files.write(out / "images.jsonl", b"".join(_json(r) for r in rows))
        _tidy(out)
    except OSError as e:
        raise InputError(f"{out}: cannot be written ({e.strerror or e}); {AGAIN}") from e
    except InputError as e:
        raise InputError(f"{e}; {AGAIN}") from e
    return out / "images.jsonl"


def _tidy(out: Path) -> None:
    for path in (out / ".parts").iterdir():
        path.unlink()
    (out / ".parts").rmdir()


def digest(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """SHA-256 of a picture's pixels: the fingerprint by which two machines compare."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
