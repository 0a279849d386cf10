"""Which pictures are meant: a file, a glob, a folder, a folder of class folders, or a listing with truth in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from saywhy.errors import InputError
from saywhy.image import SUFFIXES, Bools, check_local

LISTING = "images.jsonl"
HIDDEN = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
ARRAY = ".npy"
NAMED = 5  # files that are named of each kind that is skipped
BACKGROUND = "background"  # a mask of this name marks everything that is not meant
DISC = 0.05  # radius of what a keypoint shows, of the short side


@dataclass(frozen=True)
class Item:
    """One picture and what is known of it; `truth` keeps the row of images.jsonl (boxes, masks, keypoints, ...)."""

    path: Path
    class_name: str | None = None
    class_index: int | None = None
    split: str | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)

    def masks(self, size: tuple[int, int]) -> dict[str, Bools]:
        """The named masks (H, W) of the picture, drawn from polygons or read from their PNG files.

        Raises:
            InputError: a mask file that is missing, no picture or of another size.
        """
        out: dict[str, Bools] = {}
        for row in self.truth.get("masks", ()):
            mask = self._mask(row, size)
            out[row["name"]] = out[row["name"]] | mask if row["name"] in out else mask
        return out

    @property
    def shows(self) -> bool:
        """Whether something in the picture is named: masks, boxes or keypoints."""
        return any(self.truth.get(kind) for kind in ("masks", "boxes", "keypoints"))

    def regions(self, size: tuple[int, int]) -> dict[str, Bools]:
        """What is named in the picture as masks (H, W), but for "background": its masks, its boxes, and a disc around
        each keypoint; of one name the first kind that has it.

        Raises:
            InputError: a mask file that is missing or of another size, or a broken row.
        """
        try:
            boxes = {str(row["name"]): filled_box(row["xywh"], size) for row in self.truth.get("boxes", ())}
            discs = {str(name): _disc(point, size) for name, point in self.truth.get("keypoints", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise InputError(
                f'{self.path}: boxes are [{{"name": ..., "xywh": [x, y, w, h]}}] and keypoints {{name: [x, y]}} '
                f"({type(e).__name__}: {e})"
            ) from e
        every = discs | boxes | self.masks(size)
        return {name: mask for name, mask in every.items() if name != BACKGROUND and mask.any()}

    def _mask(self, row: Mapping[str, Any], size: tuple[int, int]) -> Bools:
        H, W = size
        canvas = Image.new("1", (W, H))
        if "png" in row:
            file = Path(self.truth["_root"]) / row["png"]
            if not file.is_file():
                raise InputError(f"{self.path}: the mask {file} is missing")
            try:
                canvas = Image.open(file).convert("L")
            except OSError as e:
                raise InputError(f"{file}: a mask is a PNG that is 0 outside of what it marks ({e})") from e
            if canvas.size != (W, H):
                raise InputError(f"{file}: {canvas.size} is not the picture's size {(W, H)}")
            return np.asarray(canvas) > 0
        draw = ImageDraw.Draw(canvas)
        for polygon in row.get("polygons", ()):
            draw.polygon([float(v) for v in polygon], fill=1)
        return np.asarray(canvas, dtype=bool)


def filled_box(xywh: Sequence[float], size: tuple[int, int]) -> Bools:
    """A box as a mask (H, W)."""
    x, y, w, h = (float(v) for v in xywh)
    mask = np.zeros(size, dtype=bool)
    mask[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = True
    return mask


def _disc(point: Sequence[float], size: tuple[int, int]) -> Bools:
    x, y = (float(v) for v in point)
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray((rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= (DISC * min(size)) ** 2)


def find_images(sources: str | Path | Sequence[str | Path]) -> list[Item]:
    """The pictures that are meant, in a fixed order, each once.

    A folder that holds an images.jsonl means only the files that it lists; any other folder means every picture below
    it, and the name of a picture's own subfolder is its class when pictures lie one level down; fewer ones beside these
    folders have no class. Hidden files are left out; `skipped` names them and what is no picture.

    Raises:
        UsageError: an address or "-" in the place of a file.
        InputError: a folder, glob or listing without pictures, or a broken listing. A single missing file is no error
            here: it is an Item, so that it can be named among the failures of a run.
    """
    return list({item.path: item for item in each_image(sources)}.values())


def each_image(sources: str | Path | Sequence[str | Path]) -> Iterator[Item]:
    """The same one after the other, for more than memory holds; a file that is meant twice comes twice."""
    given = [sources] if isinstance(sources, (str, Path)) else list(sources)
    return (item for source in given for item in _items(source))


def stems(paths: Sequence[Path]) -> list[str]:
    """A file name without suffix for each path, no two alike also where case does not count; a number makes it so.

    Names that a picture has of itself are never given to another one.
    """
    own = {p.stem.casefold() for p in paths}
    taken: set[str] = set()
    found = []
    for path in paths:
        name, n = path.stem, 1
        while name.casefold() in taken or (n > 1 and name.casefold() in own):
            n += 1
            name = f"{path.stem}-{n}"
        taken.add(name.casefold())
        found.append(name)
    return found


def _items(source: str | Path) -> Iterable[Item]:
    check_local(str(source))
    path = Path(source)
    if path.is_dir():
        return _listed(path / LISTING) if (path / LISTING).is_file() else _in_folder(path)
    if path.suffix == ".jsonl":
        return _listed(path)
    if not path.exists() and has_magic(str(source)):
        found = sorted(Path(p) for p in glob(str(source), recursive=True))  # noqa: PTH207
        items = [item for p in found for item in ([Item(p)] if p.is_file() else [])]
        if not items:
            raise InputError(f"{source}: the pattern matches no file")
        return items
    return [Item(path)]


def _in_folder(folder: Path) -> list[Item]:
    """Pictures below a folder; where most lie one level down, the folder that each lies in is its class."""
    files = _pictures(_visible(folder))
    if not files:
        raise InputError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    return [Item(p, *label) for p, label in zip(files, class_folders(files, folder), strict=True)]


def class_folders(files: Sequence[PurePath], folder: PurePath) -> list[tuple[str, int] | tuple[None, None]]:
    """The class of each file below a folder, name and number: its own subfolder, where most lie one level down."""
    inside = [p for p in files if p.parent.parent == folder]
    stray = {p for p in files if p.parent == folder}
    if len(inside) + len(stray) < len(files) or len(stray) >= len(inside):
        return [(None, None)] * len(files)
    names = {name: i for i, name in enumerate(sorted({p.parent.name for p in inside}))}
    return [(None, None) if p in stray else (p.parent.name, names[p.parent.name]) for p in files]


def _pictures(files: Sequence[Path]) -> list[Path]:
    """Those of a folder's files that are pictures; beside photos arrays are masks or features."""
    known = [p for p in files if p.suffix.lower() in SUFFIXES]
    return [p for p in known if p.suffix.lower() != ARRAY] or known


def _visible(folder: Path) -> list[Path]:
    """The files below a folder, without hidden ones and those of systems and notebooks."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and not _hidden(p.relative_to(folder))]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part in HIDDEN for part in path.parts)


def skipped(sources: str | Path | Sequence[str | Path]) -> str:
    """What folders hold that is no picture or lies beside the class folders, counted and named; empty if nothing."""
    folders = [Path(s) for s in ([sources] if isinstance(sources, (str, Path)) else sources) if Path(s).is_dir()]
    folders = [f for f in folders if not (f / LISTING).is_file()]
    files = [(f, p) for f in folders for p in sorted(f.rglob("*")) if p.is_file()]
    hidden = [str(p.relative_to(f)) for f, p in files if _hidden(p.relative_to(f))]
    other = [str(p.relative_to(f)) for f in folders for p in _other(_visible(f))]
    stray = [str(i.path.relative_to(f)) for f in folders for i in _strays(f)]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for what, names in (
            ("no picture", other),
            ("hidden", hidden),
            ("beside the class folders and without a class", stray),
        )
        if names
    ]
    return "; ".join(parts)


def _other(files: Sequence[Path]) -> list[Path]:
    pictures = set(_pictures(files))
    return [p for p in files if p not in pictures]


def _strays(folder: Path) -> list[Item]:
    try:
        items = _in_folder(folder)
    except InputError:
        return []
    return [i for i in items if i.class_name is None] if any(i.class_name for i in items) else []


def _listed(listing: Path) -> Iterator[Item]:
    if not listing.is_file():
        raise InputError(f"{listing}: no such file")
    with listing.open("rb") as lines:
        empty = True
        for row in each_row(lines, str(listing)):
            empty, truth = False, {**row, "_root": str(listing.parent)}
            file = listing.parent / row["file"]
            split = row.get("split")
            yield Item(
                file, row.get("class_name"), row.get("class_index"), None if split is None else str(split), truth
            )
    if empty:
        raise InputError(f"{listing}: lists no pictures")


def each_row(lines: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a listing's lines, each with a "file"; if there, "class_name" is text and "class_index" a number.

    Raises:
        InputError: a line that is no such object; `name` is whose line it is.
    """
    for n, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            Path(row["file"])
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(f"{name}, line {n}: every line is a JSON object with the key 'file' ({e})") from e
        for key, kind, what in (("class_name", str, "text"), ("class_index", int, "a whole number")):
            if not isinstance(row.get(key), (kind, type(None))):
                raise InputError(f"{name}, line {n}: '{key}' is {what}, not {row[key]!r}")
        yield row
