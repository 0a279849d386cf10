"""The pictures of a run as a classifier is taught with them: three parts, their images, and what is known of them.

N pictures; images (n, 3, H, W) in [0, 1]; masks (H, W) bool.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saywhy.audit.cutout import object_mask
from saywhy.audit.inventory import listed
from saywhy.audit.sources import Entry, giving
from saywhy.audit.store import open_store
from saywhy.classifier import Classifier
from saywhy.collection import LISTING, Item, find_images
from saywhy.errors import UsageError
from saywhy.evaluate.annotations import truth_of
from saywhy.image import Picture

Ints = NDArray[np.int64]

MOST = 6000  # pictures of a part: what is drawn of more
NEAR = 3  # folders above a picture in which an images.jsonl that lists it is looked for
HELD = 256 * 2**20  # bytes of images that are kept
CHECKED, JUDGED = 0.15, 0.25  # shares of pictures that nobody has split
SPLITS = {
    "teach": ("train", "training"), "check": ("val", "valid", "validation", "dev"),
    "judge": ("test", "testing", "holdout"),
}  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """A labelled picture of a run: its number, where it is, its label, and its row of an images.jsonl, if any."""

    n: int
    entry: Entry
    label: int
    item: Item


@dataclass(frozen=True)
class Parts:
    """Which pictures teach, which choose when to stop, and which judge: numbers into one list, and how it was done."""

    teach: Ints
    check: Ints
    judge: Ints
    how: str


def shots_of(run: Path, listing: Path | None = None) -> tuple[list[Shot], Parts]:
    """The labelled pictures of a run that could be read, and their three parts.

    `listing` is an images.jsonl (or its folder) that says more of them; without one it is looked for beside them.

    Raises:
        InputError: no scan there, or no such listing.
        UsageError: too few pictures with a label.
    """
    with open_store(run) as store:
        rows = store.execute(
            "SELECT n, label, split, sha256 FROM pictures WHERE label IS NOT NULL ORDER BY n"
        ).fetchall()  # fmt: skip
    known = dict(listed(run, [n for n, *_ in rows]))
    said = _said([known[n] for n, *_ in rows], listing)
    shots = [Shot(n, known[n], label, said[known[n].source]) for n, label, *_ in rows]
    return shots, parted([split for *_, split, _ in rows], [digest for *_, digest in rows])


def _said(entries: Sequence[Entry], listing: Path | None) -> Mapping[str, Item]:
    """What is written of each picture, by its source; an empty Item where nothing is."""
    if listing is not None:
        listings = [listing]
    else:
        folders = {Path(e.source).parent for e in entries if e.member is None and "://" not in e.source}
        above = dict.fromkeys(p for f in sorted(folders) for p in (f, *f.parents[: NEAR - 1]))
        listings = [p / LISTING for p in above if (p / LISTING).is_file()]
    rows = {_place(item.path): item for one in listings for item in find_images(one)}
    return {e.source: rows.get(_place(Path(e.source)), Item(Path(e.source))) for e in entries}


def _place(path: Path) -> str:
    return str(path.resolve())


def parted(splits: Sequence[str | None], digests: Sequence[str]) -> Parts:
    """The three parts: by the split that the data have, or by each picture's own hash, so that copies stay together.

    Raises:
        UsageError: a part has too few pictures.
    """
    named = [next((part for part, words in SPLITS.items() if (s or "").lower() in words), None) for s in splits]
    dice = np.array([int.from_bytes(blake2b(d.encode(), digest_size=6).digest(), "big") / 2**48 for d in digests])
    there = set(named)
    if {"teach", "judge"} <= there or {"teach", "check"} <= there:
        judge = "judge" if "judge" in there else "check"
        part = np.array([{judge: "judge"}.get(n or "", n) for n in named], dtype=object)
        if "check" not in set(part):
            part[(part == "teach") & (dice < CHECKED)] = "check"
        how = "by the split of the data"
    else:
        part = np.where(dice < CHECKED, "check", np.where(dice < CHECKED + JUDGED, "judge", "teach")).astype(object)
        how = "by the hash of each picture, because the data are not split into train and test"
    rows = {name: _some(np.flatnonzero(part == name), dice) for name in SPLITS}
    for name, own in rows.items():
        if len(own) < 2:
            raise UsageError(f"{len(own)} labelled pictures to {name} with: two at least are needed; scan more of them")
    return Parts(**rows, how=how)


def _some(rows: Ints, dice: NDArray[np.float64]) -> Ints:
    """At most MOST of the rows, in their order."""
    return np.sort(rows[np.argsort(dice[rows], kind="stable")[:MOST]])


@dataclass(eq=False)
class Frames:
    """Images of shots as a classifier sees them, and masks of what is named in them; some are kept in memory."""

    clf: Classifier
    shots: Sequence[Shot]
    objects: Sequence[str] = ()
    _kept: OrderedDict[int, Tensor] = field(default_factory=OrderedDict, repr=False)
    _masks: dict[tuple[int, tuple[str, ...]], Tensor] = field(default_factory=dict, repr=False)

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """Images (n, 3, H, W).

        Raises:
            InputError: a picture that cannot be read any more.
        """
        missing = [r for r in dict.fromkeys(rows) if r not in self._kept]
        fresh = dict(zip(missing, self._read(missing), strict=True))
        images = torch.stack([self._kept[r] if r in self._kept else fresh[r] for r in rows])
        self._kept.update(fresh)
        while len(self._kept) * images[0].numel() * 4 > HELD:
            self._kept.popitem(last=False)
        return images

    def batches(self, rows: Ints) -> Iterator[tuple[Ints, Tensor]]:
        """All of these rows, a batch of the classifier's at a time."""
        for start in range(0, len(rows), self.clf.rows):
            some = rows[start : start + self.clf.rows]
            yield some, self[some.tolist()]

    def _read(self, rows: Sequence[int]) -> Tensor:
        return self.clf.prepare([self.picture(r) for r in rows])[0] if rows else torch.empty(0)

    def picture(self, row: int) -> Picture:
        """The photo itself."""
        with giving() as give:
            return self.clf.read(give(self.shots[row].entry))

    def marked(self, row: int, *names: str) -> Tensor:
        """What masks and boxes of these names mark (H, W), as the classifier sees it; kept."""
        if (row, names) not in self._masks:
            picture = self.picture(row)
            _, boxes = self.clf.prepare([picture])
            found = truth_of([self.shots[row].item], [picture], boxes, self.clf.preprocess, names).masks[0]
            self._masks[row, names] = found
        return self._masks[row, names]

    def object(self, row: int) -> Tensor:
        """The object (H, W): what `objects` name in the images.jsonl, else estimated from colours; kept."""
        given = self.marked(row, *self.objects) if self.objects else torch.zeros(1, dtype=torch.bool)
        if bool(given.any()):
            return given
        if (row, ()) not in self._masks:
            self._masks[row, ()] = object_mask(self[[row]][0])
        return self._masks[row, ()]
