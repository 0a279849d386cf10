"""L-CAM heads on photos of classes that they never saw, beside gradient CAMs and controls that nobody trained.

    SAYWHY_DATA=/path/to/data python benchmarks/lcam_photos.py [--heads refined] [--again refined] [--onnx]

SAYWHY_DATA names a folder with `imagenet300/images.jsonl`, one photo a class. Five folds by class: each head is fitted
on four fifths and measured on the rest, so that every photo is measured once as a class never seen. Rows that are in
the results are not measured again unless named after --again; --heads says which heads are fitted (all), --rows which
other rows are measured (all). --onnx answers with onnxruntime, equal to 1e-4 and faster. The tables are made by
benchmarks/lcam_page.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcam_rows import OF_THE_ORDER, Seen, Table, column, kept_sigmoid, photos_folder, raw_map, with_onnx
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.image import read
from saywhy.lcam.fitting import RECIPES, Recipe, fit_lcam, frozen, lcam_step
from saywhy.lcam.fitting import untrained as lcam_untrained
from saywhy.lcam.heads import LCam, Shared, start
from saywhy.lcam.losses import CE_ONLY
from saywhy.lcam.photos import Subset, read_photos, split
from saywhy.lcam.responses import Answers, ask
from saywhy.metrics import CONTROLS
from saywhy.saliency import display, saliency
from saywhy.train.loop import fit
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_photos.json"
FOLDS = 5
MASKS = RECIPES["refined"].masks
SUBSET = 40  # photos for the methods that cost hundreds of passes
FINER = "_blocks.11._swish"  # lite0's 14 x 14 layer

# The published losses, without the thresholded masks of the preset, on the preset's shared form and optimiser. At the
# preset's learning rate (2e-3) these losses rise from the second epoch on.
FAST = RECIPES["fast"]
IMG = replace(FAST, thresholded=False, config=replace(FAST.config, epochs=3, lr=2e-4))
FM = replace(IMG, kind="fm", config=replace(FAST.config, epochs=6, lr=3e-4))
HEADS: dict[str, Recipe] = {
    "l-cam-img": IMG,
    "l-cam-fm": FM,
    "l-cam-fm, CE only": replace(FM, coefficients=CE_ONLY),
    "l-cam-img, CE only": replace(IMG, coefficients=CE_ONLY),
    "l-cam-img, 14 x 14": replace(IMG, fine=True),
    "l-cam-img, CE only, 14 x 14": replace(IMG, coefficients=CE_ONLY, fine=True),
    "l-cam-fm, 14 x 14": FM,
    "l-cam-img, preset fast": FAST,
    "refined": RECIPES["refined"],
}
TAPPED_FINER = ("l-cam-fm, 14 x 14",)  # masks the 14 x 14 layer's own maps, so the classifier is tapped there alone
ABOUT = {"question": __doc__.split("\n")[0], "data": "imagenet300: one photo a class; folds by class"}


# --------------------------------------------------------------------------------------------------
# Rows without training: images (N, 3, H, W) -> display maps (N, H, W).


@dataclass(frozen=True)
class Plain:
    """A row that nobody trains: its maps, its passes a photo, whose order of pixels it has, on how many photos."""

    maps: Callable[[Classifier, Tensor], Tensor]
    passes: int = 1
    order_of: str = ""
    subset: bool = False


def by_method(name: str, **options: Any) -> Callable[[Classifier, Tensor], Tensor]:
    return lambda clf, images: saliency(clf, images, method=name, **options).display


def sigmoid_of_cam(clf: Classifier, images: Tensor) -> Tensor:
    raw = saliency(clf, images, method="cam").raw
    return display(torch.sigmoid(0.25 * raw - 1.9), (int(images.shape[2]), int(images.shape[3])))[0]


def control(name: str) -> Callable[[Classifier, Tensor], Tensor]:
    return lambda clf, images: CONTROLS[name](len(images), (int(images.shape[2]), int(images.shape[3])))


def cam_times_centre(clf: Classifier, images: Tensor) -> Tensor:
    return by_method("cam")(clf, images) * control("centre")(clf, images)


PLAIN: dict[str, Plain] = {
    "grad-cam": Plain(by_method("grad-cam")),
    "cam^0.5": Plain(lambda clf, images: by_method("cam")(clf, images).sqrt(), order_of="grad-cam"),
    "sigmoid(cam)": Plain(sigmoid_of_cam),
    "grad-cam++": Plain(by_method("grad-cam++")),
    "cam x centre": Plain(cam_times_centre),
    "centre": Plain(control("centre"), passes=0),
    "constant": Plain(control("constant"), passes=0, order_of="nothing"),  # it has no order
    "score-cam": Plain(by_method("score-cam"), passes=1282, subset=True),
    "rise": Plain(by_method("rise", masks=500), passes=501, subset=True),
}


# --------------------------------------------------------------------------------------------------
# Heads.


class Study:
    """The photos, the classifier as it is trained against and as it answers, and what is asked once for all folds."""

    def __init__(self, folder: Path, onnx: bool, answers: Path | None) -> None:
        self.clf = load_classifier("efficientnet-lite0")
        self.quick: Classifier = with_onnx(self.clf) if onnx else self.clf
        self.items, self.file = find_images(folder), answers

    def fold(self, number: int) -> tuple[list[int], list[int]]:
        """Photos to fit on and to measure on."""
        everyone = range(len(self.items))
        return [n for n in everyone if n % FOLDS != number], [n for n in everyone if n % FOLDS == number]

    def subset(self) -> list[int]:
        order = torch.randperm(len(self.items), generator=torch.Generator().manual_seed(0))
        return sorted(order[:SUBSET].tolist())

    def seen(self, where: Sequence[int]) -> Seen:
        return Seen(self.quick, self.clf.prepare([read(self.items[n].path) for n in where])[0])

    @lru_cache(maxsize=FOLDS)  # noqa: B019
    def seen_of_fold(self, number: int) -> Seen:
        return self.seen(self.fold(number)[1])

    @cached_property
    def answers(self) -> dict[str, Tensor]:
        """Masks and the classifier's answers to them for all photos, from a file where it is there.

        They hang on the sampler in lcam/responses.py alone; the head's own maps of the photos are left out.
        """
        if self.file is not None and self.file.exists():
            return dict(torch.load(self.file, weights_only=True))
        photos, _ = read_photos(self.clf, self.items, crop=False)
        head = lcam_untrained(self.clf, photos, HEADS["refined"])
        rows = [
            ask(self.clf, head, photos[torch.tensor([n])], MASKS, scores=self.quick.logits) for n in range(len(photos))
        ]
        names = [f.name for f in fields(Answers) if f.name != "basis"]
        out = {name: torch.cat([getattr(r, name) for r in rows]) for name in names}
        if self.file is not None:
            torch.save(out, self.file)
        return out

    @cached_property
    def finer(self) -> tuple[Classifier, Tensor, float, Tensor]:
        """The classifier tapped at its finer layer alone, and what a head there starts from.

        Its own rows cost a thousand gradients through half the network, so they are taken once, from 8 photos of all.
        """
        clf = replace(self.clf, layer=FINER, _points={})
        photos, _ = read_photos(clf, self.items[:: len(self.items) // 8][:8], crop=False)
        head = start(clf.tap(photos[torch.arange(len(photos))]), "shared", fine=False).head
        assert isinstance(head, Shared)
        return clf, head.own / head.spread, 1.0, head.spread


def fitted(study: Study, name: str, rows: list[int]) -> tuple[LCam, LCam | None, str]:
    """A head fitted on these photos, the same before training where that is a row of its own, and how it ended."""
    recipe, items = HEADS[name], [study.items[n] for n in rows]
    if name in TAPPED_FINER:
        return (*fitted_finer(study, recipe, items),)
    if recipe.kind != "answers":
        out = fit_lcam(study.clf, items, recipe)
        return out.lcam, None, out.fitted.stopped
    photos, _ = read_photos(study.clf, items, crop=recipe.crop)
    before = lcam_untrained(study.clf, photos, recipe)
    basis = []
    for n in range(len(photos)):
        tap = study.clf.tap(photos[torch.tensor([n])], before.points(study.clf))
        features = [tap.maps(path) for path in before.layers]
        basis.append(before.head.basis(features, tap.logits.argmax(dim=1)[:, None], tap.logits)[:, 0])  # type: ignore[operator]
    answers = Answers(**{k: v[rows] for k, v in study.answers.items()}, basis=torch.cat(basis))
    out = fit_lcam(study.clf, items, recipe, answers=answers)
    return out.lcam, before, out.fitted.stopped


def fitted_finer(study: Study, recipe: Recipe, items: list[Item]) -> tuple[LCam, None, str]:
    """As `fit_lcam`, on the finer layer alone."""
    clf, own, gain, spread = study.finer
    head = LCam(Shared(own, gain, rank=recipe.rank, spread=spread), "shared", (clf.point.path,), clf.fingerprint)
    photos, _ = read_photos(clf, items, crop=recipe.crop)
    kept, held = (Subset(photos, rows) for rows in split(len(photos), 0))
    with frozen(clf):
        ended = fit(head.head, lcam_step(clf, head, recipe), kept, recipe.config, held_out=held)
    head.head.eval().requires_grad_(False)
    return head, None, ended.stopped


def rows_of(name: str) -> tuple[str, str]:
    """The two rows of a head."""
    return name, f"{name}, {'before training' if HEADS[name].kind == 'answers' else 'sigmoid kept'}"


# --------------------------------------------------------------------------------------------------
# Measuring.


def measure_plain(study: Study, table: Table, name: str, folds: list[int]) -> Iterator[str]:
    row = PLAIN[name]
    if row.subset:
        for n in table.lacks(name, study.subset()):  # one by one: each takes half a minute
            seen = study.seen([n])
            table.put(name, [n], seen.measured(row.maps(study.quick, seen.images)), passes=row.passes)
            yield f"photo {n}"
        return
    for number in folds:
        where = study.fold(number)[1]
        if not table.lacks(name, where):
            continue
        seen, order = study.seen_of_fold(number), None
        if row.order_of:
            order = {}
        if row.order_of in table.rows:
            order = {k: torch.tensor(column(table.rows, row.order_of, k)[where]) for k in OF_THE_ORDER}
        table.put(name, where, seen.measured(row.maps(study.clf, seen.images), order_of=order), passes=row.passes)
        yield f"fold {number}"


def measure_head(study: Study, table: Table, name: str, folds: list[int]) -> Iterator[str]:
    first, second = rows_of(name)
    for number in folds:
        rest, where = study.fold(number)
        if not table.lacks(first, where) and not table.lacks(second, where):
            continue
        began = time.process_time()
        head, before, stopped = fitted(study, name, rest)
        facts = {"fit_seconds": {str(number): round(time.process_time() - began, 1)}, "stopped": {str(number): stopped}}
        clf = study.finer[0] if name in TAPPED_FINER else study.clf
        seen = study.seen_of_fold(number)
        table.put(first, where, seen.measured(raw_map(head, clf, seen.images)), passes=1, **facts)
        other = kept_sigmoid(head, clf, seen.images) if before is None else raw_map(before, clf, seen.images)
        table.put(second, where, seen.measured(other), passes=1)
        yield f"fold {number} {facts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(FOLDS)), help="the folds to measure")
    parser.add_argument("--heads", nargs="*", default=list(HEADS), metavar="HEAD", help=f"of {', '.join(HEADS)}")
    parser.add_argument("--rows", nargs="*", default=list(PLAIN), metavar="ROW", help=f"of {', '.join(PLAIN)}")
    parser.add_argument("--again", nargs="*", default=[], metavar="ROW", help="measure these anew")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--answers", type=Path, help="keeps the classifier's answers to masks, for another run")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    for name in (*given.heads, *given.rows):
        if name not in HEADS and name not in PLAIN:
            sys.exit(f"no row {name!r}; there are: {', '.join([*PLAIN, *HEADS])}")
    data = photos_folder()
    torch.set_num_threads(1)
    study = Study(data / "imagenet300", given.onnx, given.answers)
    again = [row for name in given.again for row in (rows_of(name) if name in HEADS else (name,))]
    table = Table.opened(given.out, [i.path.name for i in study.items], ABOUT, again)
    quick = [n for n in given.rows if not PLAIN[n].subset]
    slow = [n for n in given.rows if PLAIN[n].subset]
    for name in (*quick, *given.heads, *slow):
        measure = measure_head if name in HEADS else measure_plain
        for told in measure(study, table, name, given.folds):
            print(time.strftime("%H:%M:%S"), name, told, flush=True)


if __name__ == "__main__":
    main()
