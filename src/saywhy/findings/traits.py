"""What pictures of a run have or lack: the split, what they look like, where the map lies, concepts; N pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saywhy.audit.store import open_store
from saywhy.findings.labelled import Bools, Doubles, Labelled, columns

FEWEST = 20  # pictures that have a trait, and that lack it, for it to be one
MOST = 200  # concepts by name, the most frequent ones
EDGE = 0.2  # share of the pictures that are darkest, brightest, ...


@dataclass(frozen=True, eq=False)
class Trait:
    """Something that pictures have (`has`, (N,)) or lack, of those in which it is `known` (N,)."""

    present: str
    absent: str
    has: Bools
    known: Bools
    concept: str | None = None


Floats = Mapping[str, Doubles]


def _colours(looks: NDArray[np.object_]) -> Floats:
    """Brightness, contrast and warmth of small pictures as the store has them."""
    pixels = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(len(looks), -1, 3).astype(np.float32) / 255
    light = pixels.mean(axis=2)
    return {
        "bright": light.mean(axis=1).astype(np.float64),
        "contrast": light.std(axis=1).astype(np.float64),
        "warm": (pixels[:, :, 0] - pixels[:, :, 2]).mean(axis=1).astype(np.float64),
    }


def _looks(given: Labelled) -> Floats:
    rows = columns(given.folder, "pictures", {"look": "look", "pixels": "width::DOUBLE * height"})
    at = np.isin(rows["n"], given.n)
    return {"size": np.asarray(rows["pixels"][at], dtype=np.float64), **_colours(rows["look"][at])}


def _maps(given: Labelled) -> Floats:
    rows = columns(given.folder, "maps", {"rim": "rim::DOUBLE", "half_area": "half_area::DOUBLE"})
    return {name: _spread(given, rows["n"], np.asarray(rows[name], dtype=np.float64)) for name in ("rim", "half_area")}


def _spread(given: Labelled, numbers: NDArray[np.int64], values: Doubles) -> Doubles:
    """Values of some pictures as (N,), NaN for the others."""
    out = np.full(len(given.n), np.nan)
    at = np.isin(numbers, given.n)
    out[given.place(numbers[at])] = values[at]
    return out


# What is measured of each picture, and what the lowest and the highest fifth are called.
MEASURED: dict[str, tuple[str, str]] = {
    "size": ("few pixels", "many pixels"),
    "bright": ("a dark picture", "a bright picture"),
    "contrast": ("little contrast", "much contrast"),
    "warm": ("bluish colours", "yellowish colours"),
    "rim": ("a map far from the rim", "a map at the rim"),
    "half_area": ("a map in one spot", "a map spread out"),
}
SOURCES: tuple[Callable[[Labelled], Floats], ...] = (_looks, _maps)


def traits(given: Labelled) -> list[Trait]:
    """All that enough pictures have and enough lack."""
    found = [*_splits(given), *_ends(given), *_concepts(given)]
    return [t for t in found if min((t.has & t.known).sum(), (~t.has & t.known).sum()) >= FEWEST]


def _splits(given: Labelled) -> Iterator[Trait]:
    names = sorted({s for s in given.split if s is not None})
    known = np.asarray([s is not None for s in given.split], dtype=bool)
    for name in names if len(names) > 1 else ():
        yield Trait(f"split {name}", f"other splits than {name}", np.asarray(given.split == name, dtype=bool), known)


def _ends(given: Labelled) -> Iterator[Trait]:
    for source in SOURCES if len(given.n) else ():
        for name, values in source(given).items():
            known = ~np.isnan(values)
            if not known.any():
                continue
            low, high = np.quantile(values[known], (EDGE, 1 - EDGE))
            if low == high:
                continue
            below, above = MEASURED[name]
            yield Trait(below, f"not {below}", np.asarray(values <= low), known)
            yield Trait(above, f"not {above}", np.asarray(values >= high), known)


def _concepts(given: Labelled) -> Iterator[Trait]:
    """Concepts by name or id, in the pictures that were explained."""
    with open_store(given.folder) as store:
        explained = np.asarray(
            [n for (n,) in store.execute("SELECT DISTINCT n FROM explanations").fetchall()], np.int64
        )
        rows = store.execute(
            f"""SELECT coalesce(name, concept), any_value(concept), list(DISTINCT n) FROM concepts
            WHERE coalesce(name, concept) IS NOT NULL GROUP BY 1 ORDER BY count(DISTINCT n) DESC, 1 LIMIT {MOST}"""
        ).fetchall()
    known = np.isin(given.n, explained)
    for name, concept, numbers in rows:
        yield Trait(f"{name} in it", f"no {name} in it", np.isin(given.n, numbers), known, concept)
