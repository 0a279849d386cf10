"""L-CAM on the aviary: the paper's ablation, other methods, pictures with two birds, and sanity checks.

    python benchmarks/lcam_birds.py [--models cnn,vit] [--only NAME,NAME] [--again] [--page]

Heads are fitted to clean birds of one seed and judged on test birds of another. Every row is written to
results/lcam_birds_MODEL.json as soon as it is measured, with its values bird by bird; a row that is there is not
measured again (--again measures it). `lcam_birds_page.py` makes the tables of docs/lcam-aviary.md from these files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import saywhy
from lcam_birds_page import write_page
from saywhy.aviary import CLASSES, remove_bird, render, sample
from saywhy.aviary.classifiers import untrained as untrained_network
from saywhy.aviary.dataset import write
from saywhy.classifier import Classifier
from saywhy.collection import Item, find_images
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.part_effects import Bird, test_birds
from saywhy.image import read
from saywhy.lcam.fitting import RECIPES, Outcome, Recipe, fit_lcam
from saywhy.lcam.fitting import untrained as untrained_head
from saywhy.lcam.heads import LCam
from saywhy.lcam.heads import load as load_head
from saywhy.lcam.losses import CE_ONLY
from saywhy.lcam.photos import read_photos
from saywhy.metrics import CONTROLS, METRICS, Case, reference, spearman, values_of
from saywhy.saliency import display, saliency
from saywhy.train.loop import Config
from saywhy.zoo import load_classifier

RESULTS = Path(__file__).parent / "results"
FIT_SEED, TEST_SEED, PAIR_SEED, RANDOM_SEED = 31, 32, 33, 7
FIT, TEST, PAIRS = 720, 96, 60  # birds to fit on, test birds asked, pictures with two birds
FAITHFUL = [
    "mean-value",
    *(n for n, row in METRICS.items() if row.kind == "faithfulness" and "explain" not in row.inputs),
]
TELLING = 0.02  # an effect below this share of probability is taken for none

ROWS = Recipe("rows", Config(batch_size=32, lr=0.01), form="rows", crop=False)
FM = replace(ROWS, kind="fm", config=replace(ROWS.config, lr=0.02))
PAPER = replace(RECIPES["paper"], crop=False)
HEADS: dict[str, Recipe] = {
    "img": ROWS,
    "img, CE only": replace(ROWS, coefficients=CE_ONLY),
    "fm": FM,
    "fm, CE only": replace(FM, coefficients=CE_ONLY),
    "img, cross": replace(ROWS, mode="cross"),
    "fm, cross": replace(FM, mode="cross"),
    "img, shared": replace(ROWS, form="shared"),
    "img, the paper's recipe": PAPER,
    "fm, the paper's recipe": replace(PAPER, kind="fm"),
    "refined": RECIPES["refined"],
}
KEPT = ", sigmoid kept"
SHOWN_AS_TRAINED = ("img", "img, CE only", "fm", "fm, CE only", "img, cross")  # also through their own sigmoid
ALONE = ("constant", "centre", "score-cam", "rise")  # not asked about two birds
METHODS: dict[str, dict[str, Any]] = {"grad-cam": {}, "grad-cam++": {}, "score-cam": {}, "rise": {"masks": 300}}
SANE = ("img", "fm")
EPOCHS = {"cnn": 20, "vit": 12}  # where the held-out loss no longer falls


@dataclass(frozen=True, eq=False)
class Shown:
    """Maps of N pictures: raw (N, h, w), display (N, H, W) in [0, 1], passes and milliseconds a picture."""

    raw: Tensor
    display: Tensor
    passes: float
    milliseconds: float


Way = Callable[[Tensor, list[int]], Shown]  # images (N, 3, H, W) and their classes


@dataclass(eq=False)
class Bench:
    """One classifier, the birds to fit on, the birds to judge on, and what was found so far."""

    model: str
    clf: Classifier
    items: list[Item]
    heads: Path
    found: dict[str, Any]

    @cached_property
    def birds(self) -> list[Bird]:
        return test_birds(self.clf, TEST, TEST_SEED)[0]

    @cached_property
    def images(self) -> Tensor:
        return torch.stack([b.image for b in self.birds])

    @cached_property
    def targets(self) -> list[int]:
        return [b.target for b in self.birds]

    @cached_property
    def known(self) -> Any:
        return reference(self.clf.probabilities, self.images, torch.tensor(self.targets))

    @cached_property
    def pairs(self) -> list[Pair]:
        return two_birds(self.clf)

    @cached_property
    def start(self) -> LCam:
        """The published form before training: CAM."""
        return untrained_head(self.clf, read_photos(self.clf, self.items, crop=False)[0], ROWS)

    def save(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"lcam_birds_{self.model}.json"
        file.write_text(json.dumps(self.found, indent=None) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------------------------------
# Ways to make maps.


def by_method(clf: Classifier, method: str, **options: Any) -> Way:
    def way(images: Tensor, classes: list[int]) -> Shown:
        begun = time.process_time()
        found = saliency(clf, images, classes, method=method, **options)
        spent = (time.process_time() - begun) * 1000 / len(images)
        return Shown(found.raw, found.display, found.passes.forward_passes / len(images), spent)

    return way


def by_sigmoid(clf: Classifier, head: LCam, *, minmax: bool) -> Way:
    """The mask as in training; with `minmax` stretched to [0, 1] as display maps are."""

    @torch.no_grad()
    def way(images: Tensor, classes: list[int]) -> Shown:
        begun = time.process_time()
        tap = clf.tap(images, head.points(clf))
        S = head.maps(tap, torch.tensor(classes)[:, None])[:, 0].sigmoid()
        size = (int(images.shape[2]), int(images.shape[3]))
        whole = F.interpolate(S[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        shown = display(S, size)[0] if minmax else whole
        return Shown(S, shown, 1.0, (time.process_time() - begun) * 1000 / len(images))

    return way


def by_control(name: str) -> Way:
    def way(images: Tensor, classes: list[int]) -> Shown:
        shown = CONTROLS[name](len(images), (int(images.shape[2]), int(images.shape[3])))
        return Shown(shown, shown, 0.0, 0.0)

    return way


def by_root(way: Way) -> Way:
    def rooted(images: Tensor, classes: list[int]) -> Shown:
        found = way(images, classes)
        return replace(found, raw=found.raw.clamp_min(0).sqrt(), display=found.display.sqrt())

    return rooted


def untaught(bench: Bench) -> dict[str, Way]:
    """What needs no training: controls, methods, and CAM through the same inference as a head."""
    clf = bench.clf
    return {
        "constant": by_control("constant"),
        "centre": by_control("centre"),
        "cam^0.5": by_root(by_method(clf, "grad-cam")),
        "sigmoid(cam)": by_sigmoid(clf, bench.start, minmax=True),
        "l-cam before training": by_method(clf, "l-cam", head=bench.start),
        **{name: by_method(clf, name, **options) for name, options in METHODS.items()},
    }


# --------------------------------------------------------------------------------------------------
# What is measured of a way.


def measured(bench: Bench, way: Way) -> dict[str, Any]:
    """Passes, milliseconds, and the values of every metric, bird by bird (null where a bird has none)."""
    shown = way(bench.images, bench.targets)
    maps = shown.display.clamp(0, 1)
    inputs = {"probabilities": bench.clf.probabilities, "images": bench.images, "maps": maps, "known": bench.known}
    inputs["targets"] = bench.known.targets
    values = values_of(FAITHFUL, Case(inputs))
    gentle = values_of(["ad50-ranked", "ad15-ranked"], Case(inputs, {"fill": "blur"}))
    values |= {f"{k[:4]}-blur-ranked": v for k, v in gentle.items()}
    rule = torch.stack([b.rule for b in bench.birds])
    for name in ("epg", "nra", "pointing"):
        values[name] = METRICS[name].function(maps=maps, masks=rule)
    values["effect-rank"] = torch.tensor([effect_rank(r, b) for r, b in zip(shown.raw, bench.birds, strict=True)])
    return {
        "passes": round(shown.passes, 1),
        "milliseconds": round(shown.milliseconds, 2),
        "values": {k: listed(v) for k, v in values.items() if not k.startswith("ag")},
    }


def effect_rank(raw: Tensor, bird: Bird) -> float:
    """Spearman correlation of a map's sums over parts with what the class really loses without each part."""
    if float(bird.effects.abs().max()) < TELLING:
        return float("nan")
    fine = F.interpolate(raw[None, None].double(), bird.image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    sums = torch.einsum("khw,hw->k", bird.masks.double(), fine)
    return float(spearman(sums[None], bird.effects[None]).nan_to_num(0))


def listed(values: Tensor) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values.double().tolist()]


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture (3, H, W) with two birds of two species, masks (2, H, W), and what the classifier says of it.

    `ranks`: places of the two species among the classifier's answers, 0 first. `lost` (2, 2): what the log-probability
    of species i loses when bird j is taken out of the scene.
    """

    image: Tensor
    classes: tuple[int, int]
    masks: Tensor
    ranks: tuple[int, int]
    lost: Tensor


def two_birds(clf: Classifier) -> list[Pair]:
    out: list[Pair] = []
    index = 0
    while len(out) < PAIRS:
        one = sample(PAIR_SEED, index, fault="two-species")
        index += 1
        if one.group != "two birds":
            continue
        whole = render(one.scene)
        scenes = [whole, *(render(remove_bird(one.scene, b)) for b in (0, 1))]
        images = clf.prepare([read(r.pixels) for r in scenes])[0]
        species = (one.species, str(one.truth["second_species"]))
        first, second = (clf.class_names.index(s) for s in species)
        logs = clf.logits(images).log_softmax(dim=1)
        order = logs[0].argsort(descending=True).tolist()
        asked = logs[:, [first, second]]
        masks = torch.stack([framed_mask(whole.bird_mask(b), clf.preprocess) for b in (0, 1)])
        ranks = (order.index(first), order.index(second))
        out.append(Pair(images[0], (first, second), masks, ranks, (asked[0] - asked[1:]).T))
    return out


def told_apart(bench: Bench, way: Way) -> dict[str, Any]:
    """Mean value of each class's map on its own bird and on the other, (own, other) for each picture and class, and
    the same of the difference of the two classes' raw maps, one for each picture."""
    images = torch.stack([p.image for p in bench.pairs for _ in (0, 1)])
    found = way(images, [c for p in bench.pairs for c in p.classes])
    maps = found.display.reshape(len(bench.pairs), 2, *images.shape[2:])
    raw = found.raw.reshape(len(bench.pairs), 2, *found.raw.shape[1:])
    versus = F.interpolate((raw[:, 0] - raw[:, 1])[:, None], images.shape[2:], mode="bilinear", align_corners=False)
    rows, against = [], []
    for pair, both, difference in zip(bench.pairs, maps, versus[:, 0], strict=True):
        area = pair.masks.sum((1, 2))
        level = torch.einsum("chw,bhw->cb", both, pair.masks) / area
        rows += [[round(float(level[c, c]), 4), round(float(level[c, 1 - c]), 4)] for c in (0, 1)]
        against.append(bool(torch.einsum("hw,bhw->b", difference, pair.masks).div(area).diff() < 0))
    return {"two_birds": rows, "two_birds_contrast": against}


# --------------------------------------------------------------------------------------------------
# Sanity: heads of other classifiers, and of the same one.


def without_knowledge(bench: Bench) -> dict[str, Classifier]:
    """The same architecture with random weights, and the same network with its species dealt out anew."""
    assert isinstance(bench.clf.net, nn.Module)
    random = with_opinions(bench, untrained_network(bench.model, seed=RANDOM_SEED))
    dealt = untrained_network(bench.model)
    dealt.load_state_dict(bench.clf.net.state_dict())
    order = torch.randperm(len(CLASSES), generator=torch.Generator().manual_seed(RANDOM_SEED))
    with torch.no_grad():
        for p in (dealt.head.weight, dealt.head.bias):  # type: ignore[union-attr]
            p.copy_(p[order])  # type: ignore[operator,index]
    return {"weights random": like(bench.clf, random), "labels dealt out anew": like(bench.clf, dealt)}


def with_opinions(bench: Bench, net: nn.Module) -> nn.Module:
    """The network with its last layer shifted and scaled so that it names many species, and firmly.

    As drawn it names one species in all pictures, and a head with a row a class would not be trained at all.
    """
    photos = read_photos(bench.clf, bench.items, crop=False)[0]
    logits = like(bench.clf, net).logits(photos[torch.arange(len(photos))])
    scale = 3 / logits.std(dim=0)
    with torch.no_grad():
        net.head.weight.mul_(scale[:, None])  # type: ignore[union-attr,operator]
        net.head.bias.sub_(logits.mean(dim=0)).mul_(scale)  # type: ignore[union-attr,operator]
    return net


def like(clf: Classifier, net: nn.Module) -> Classifier:
    return Classifier(net, layer=clf.point.path, classes=clf.classes, preprocess=clf.preprocess, batch_size=32)


def alike(bench: Bench, name: str, own: LCam) -> dict[str, Any]:
    """Rank correlation, bird by bird, of a head's maps with those of the same recipe on another classifier or seed."""
    recipe, shown = recipe_of(bench, name), by_method(bench.clf, "l-cam", head=own)(bench.images, bench.targets).raw
    out = {}
    for what, other in {**without_knowledge(bench), "another seed": bench.clf}.items():
        fitted = fit_lcam(other, bench.items, recipe, seed=int(other is bench.clf))
        maps = by_method(other, "l-cam", head=fitted.lcam)(bench.images, bench.targets).raw
        before = untrained_head(other, read_photos(other, bench.items, crop=False)[0], recipe)
        apart = by_method(other, "l-cam", head=before)(bench.images, bench.targets).raw
        out[what] = {
            "values": listed(spearman(shown, maps)),
            "classes_predicted": fitted.lcam.card["classes_seen"],
            "moved_from_its_start": round(1 - float(spearman(apart, maps).nanmean()), 4),
        }
    others = [(t + 1 + n % (len(CLASSES) - 1)) % len(CLASSES) for n, t in enumerate(bench.targets)]
    elsewhere = by_method(bench.clf, "l-cam", head=own)(bench.images, others).raw
    out["the same head, another class"] = {"values": listed(spearman(shown, elsewhere))}
    return out


# --------------------------------------------------------------------------------------------------


def recipe_of(bench: Bench, name: str) -> Recipe:
    recipe = HEADS[name]
    if recipe.kind == "answers" or recipe.config.optimiser == "sgd":
        return recipe
    return replace(recipe, config=replace(recipe.config, epochs=EPOCHS[bench.model]))


def head_of(bench: Bench, name: str, again: bool) -> tuple[LCam, dict[str, Any]]:
    """A head and how its fit went; from the folder where it is there."""
    file = bench.heads / f"{bench.model} {name}.safetensors"
    if file.exists() and not again:
        return load_head(file, bench.clf), json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    begun = time.process_time()
    outcome = fit_lcam(bench.clf, bench.items, recipe_of(bench, name))
    told = told_of(outcome, time.process_time() - begun)
    outcome.lcam.save(file)
    file.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
    return outcome.lcam, told


def told_of(outcome: Outcome, seconds: float) -> dict[str, Any]:
    """How a fit went: cost and losses."""
    history = outcome.fitted.history
    kept = ("loss", "ce", "av", "tv", "held_out")
    return {
        "fit_seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in outcome.lcam.head.parameters()),
        "best_epoch": outcome.fitted.best_epoch,
        "history": [{k: round(row[k], 4) for k in kept if k in row} for row in history],
    }


def head_row(bench: Bench, name: str, again: bool) -> None:
    """Fits and measures a head, or shows its maps through the sigmoid that it was trained with."""
    fitted = name.removesuffix(KEPT)
    head, told = head_of(bench, fitted, again and name == fitted)
    way = by_method(bench.clf, "l-cam", head=head) if name == fitted else by_sigmoid(bench.clf, head, minmax=False)
    bench.found["rows"][name] = measured(bench, way) | told_apart(bench, way) | (told if name == fitted else {})
    report(bench, name)


def report(bench: Bench, name: str) -> None:
    bench.save()
    row = bench.found["rows"][name]
    brief = {k: round(float(np.mean([x for x in v if x is not None])), 3) for k, v in row["values"].items()}
    if "two_birds" in row:
        brief["own bird"] = round(float(np.mean([a > b for a, b in row["two_birds"]])), 3)
    print(bench.model, name, row.get("fit_seconds", ""), brief, flush=True)


def opened(model: str, folder: Path) -> Bench:
    file = RESULTS / f"lcam_birds_{model}.json"
    clf = load_classifier(f"aviary:{model}", batch_size=32)
    settings = {"fit": FIT, "test": TEST, "pairs": PAIRS, "seeds": [FIT_SEED, TEST_SEED, PAIR_SEED, RANDOM_SEED]}
    found: dict[str, Any] = {
        "model": f"aviary:{model}", "fingerprint": clf.fingerprint, "settings": settings,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": 1},
        "versions": {"saywhy": saywhy.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": {}, "sanity": {},
    }  # fmt: skip
    if file.exists():
        old = json.loads(file.read_text(encoding="utf-8"))
        if old["settings"] == settings and old["fingerprint"] == clf.fingerprint:
            found |= {"rows": old["rows"], "sanity": old["sanity"]}
    return Bench(model, clf, find_images(folder), folder.with_name(f"{folder.name}-heads"), found)


def measure(bench: Bench, only: Sequence[str], again: bool) -> None:
    rows, sanity = bench.found["rows"], bench.found["sanity"]
    bench.found["test_birds"] = len(bench.birds)
    bench.found["two_birds"] = {
        "ranks": [list(p.ranks) for p in bench.pairs],
        "lost": [[round(float(v), 4) for v in p.lost.flatten()] for p in bench.pairs],
    }

    def due(name: str, there: dict[str, Any]) -> bool:
        return (not only or name in only) and (again or name not in there)

    for name, way in untaught(bench).items():
        if due(name, rows):
            rows[name] = measured(bench, way) | ({} if name in ALONE else told_apart(bench, way))
            report(bench, name)
    for name in [n for head in HEADS for n in (head, head + KEPT) if n in HEADS or head in SHOWN_AS_TRAINED]:
        if due(name, rows):
            head_row(bench, name, again)
    for name in SANE:
        if (not only or f"{name}: sanity" in only) and (again or name not in sanity):
            sanity[name] = alike(bench, name, head_of(bench, name, again=False)[0])
            bench.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="cnn,vit")
    parser.add_argument("--only", default="", help="names of rows, parted by semicolons")
    parser.add_argument("--birds", type=Path, default=Path("lcam-birds"), help="folder that the birds to fit on go to")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    given = parser.parse_args()
    if not given.page:
        torch.set_num_threads(1)
        write(given.birds, images=FIT, seed=FIT_SEED)
        for model in given.models.split(","):
            measure(opened(model, given.birds), [n for n in given.only.split(";") if n], given.again)
    write_page()


if __name__ == "__main__":
    main()
