"""A branch that speaks, on painted birds: is each phrase where it should be, and does it count what its part does?

    python benchmarks/branch_aviary.py aviary:cnn aviary:vit

A branch learns from pictures of one seed what the text space `own` says; every third phrase is kept from it. Settings
were chosen on birds of a second seed, what is told is of birds of a third. Writes results/branch_NAME.json and the
tables in docs/branch.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import Tensor

import saywhy
from saywhy.aviary import render, sample
from saywhy.aviary.vocabulary import said_of
from saywhy.branch.effects import Causes, effects
from saywhy.branch.hearing import Heard, masks_of, patches_of, whole
from saywhy.branch.learning import Branch, teach
from saywhy.branch.levels import fine, pooled, readings, tapped_for
from saywhy.branch.speaking import speak
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.evaluate.annotations import framed_mask
from saywhy.evaluate.part_effects import Bird, test_birds, view
from saywhy.image import read
from saywhy.metrics import spearman
from saywhy.metrics.localisation import epg, hit_rate, nra
from saywhy.metrics.statistics import bootstrap
from saywhy.seen import Seen, look
from saywhy.spaces import TextSpace, text_space
from saywhy.spaces.towers import SIDE, load_own
from saywhy.train.textspace import phrases as named_phrases

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "branch.md"
START, STOP = "<!-- tables -->", "<!-- end of tables -->"
SEEDS = {"made": 5101, "chosen": 5202, "reported": 5303}
SMALL = 4  # pixels: a part of fewer is not looked for
FEWEST = 5  # pictures that a phrase is true of, and not of, to be judged
TELLING = 0.02  # probability: an effect of a part that has a sign
IDLE = ("eye", "legs")  # parts that no rule names and that are no ground for others
VOCABULARY = 1000
GROUPS, FIGURES = ("learned", "never heard"), ("epg", "nra", "published", "hits")

Row = dict[str, Any]


def pictures(folder: Path, count: int, seed: int) -> list[Item]:
    for n in range(count):
        Image.fromarray(render(sample(seed, n).scene).pixels).save(folder / f"{n:04}.png")
    return [Item(folder / f"{n:04}.png") for n in range(count)]


def part_of(name: str) -> str:
    """The part that a plain name is of."""
    return name.split()[-1]


def halves(names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Phrases that the branch learns with, and every third, which it never hears; drawn once and for all."""
    order = np.random.default_rng(0).permutation(list(names)).tolist()
    return [p for n, p in enumerate(order) if n % 3], [p for n, p in enumerate(order) if not n % 3]


# --------------------------------------------------------------------------------------------------
# Is the phrase true?


def precisions(
    branch: Branch, clf: Classifier, space: TextSpace, seed: int, count: int, names: Mapping[str, str]
) -> Row:
    """Average precision of every phrase over pictures: the branch's and the text space's own, and what chance has."""
    z, seen, truth = [], [], []
    texts = space.encode_texts(list(names))
    for index in range(count):
        rendered = render(sample(seed, index).scene)
        images = view(clf, [rendered])
        z.append(pooled(readings(tapped_for(clf, images, branch.levels), branch.levels)))
        seen.append(space.encode_images(images))
        facts = {*said_of(rendered.scene.birds[0], rendered.shown()), *rendered.shown()}
        truth.append([name in facts for name in names.values()])
    true, own = np.array(truth), F.normalize(branch.net(torch.cat(z)), dim=1)
    scores = {"branch": (own @ texts.T).numpy(), "text space": (torch.cat(seen) @ texts.T).numpy()}
    judged = [j for j in range(len(names)) if FEWEST <= true[:, j].sum() <= count - FEWEST]
    rows = {
        phrase: {k: float(average_precision_score(true[:, j], s[:, j])) for k, s in scores.items()}
        | {"chance": float(true[:, j].mean())}
        for j, phrase in enumerate(names) if j in judged
    }  # fmt: skip
    known, _ = halves(names)
    return {
        "cosine": round(float((own * torch.cat(seen)).sum(1).mean()), 4),
        "learned": {k: mean([r[k] for p, r in rows.items() if p in known]) for k in ("branch", "text space", "chance")},
        "never heard": {
            k: mean([r[k] for p, r in rows.items() if p not in known]) for k in ("branch", "text space", "chance")
        },
    }


def mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if len(values) else float("nan")


# --------------------------------------------------------------------------------------------------
# Where is it?


class Units:
    """Single channels, as CLIP-Dissect finds them: that whose mean goes most with what the text space says."""

    def __init__(self, branch: Branch, clf: Classifier, space: TextSpace, items: Sequence[Item], texts: Tensor) -> None:
        z, seen = [], []
        for item in items:
            images = clf.prepare([clf.read(item.path)])[0]
            z.append(pooled(readings(tapped_for(clf, images, branch.levels), branch.levels)))
            seen.append(space.encode_images(images))
        a, b = torch.cat(z), torch.cat(seen) @ texts.T
        a, b = ((v - v.mean(0)) / v.std(0).clamp_min(1e-9) for v in (a, b))
        self.best = (b.T @ a / len(a)).argmax(dim=1)

    def maps(self, read: Sequence[Tensor], rows: Sequence[int], size: tuple[int, int]) -> Tensor:
        every = torch.cat([fine(maps[None], size)[0] for maps in read])
        chosen = every[self.best[list(rows)]]
        return (chosen - chosen.amin(dim=(1, 2), keepdim=True)).clamp_min(0)


def tower_cam(image: Tensor, texts: Tensor) -> Tensor:
    """Grad-CAM of the text score in the text space's own image tower, (T, h, w)."""
    net, _ = load_own()
    x = F.interpolate(image[None], (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    cells = net.see((x - 0.5) / 0.25).detach().requires_grad_()
    seen = F.normalize(net.seen(torch.cat([cells.mean(dim=(2, 3)), cells.amax(dim=(2, 3))], dim=1)), dim=1)[0]
    out = []
    for text in texts:
        (grad,) = torch.autograd.grad(seen @ text, cells, retain_graph=True)
        out.append((grad.mean(dim=(2, 3), keepdim=True) * cells).sum(1)[0].clamp_min(0).detach())
    return torch.stack(out)


def regions(
    heard: Heard, branch: Branch, units: Units, image: Tensor, rows: Sequence[int], seed: int
) -> dict[str, Tensor]:
    """Maps (T, H, W) of phrases by every way of finding them; the layers one by one as "layer ..."."""
    size, patches = (int(image.shape[1]), int(image.shape[2])), patches_of(image)

    def alike(maps: Tensor) -> Tensor:
        return painted(maps.flatten(1) @ (patches / patches.sum(dim=(1, 2), keepdim=True)).flatten(1).T, patches)

    layers = torch.stack([fine(whole(r)[None], size)[0] for r in heard.regions])  # (L, T, H, W)
    each, own = heard.on_patches(patches), torch.arange(len(rows))
    random = torch.rand(len(rows), 8, 8, generator=torch.Generator().manual_seed(seed))
    tower, single = fine(tower_cam(image, heard.texts)[None], size)[0], units.maps(heard.read, rows, size)
    return {
        "fused": painted(heard.fused(branch.shares, patches), patches),
        "all layers alike": painted(each.mean(dim=0), patches),
        "layer by replacement": painted(each[heard.drops().argmax(dim=1), own], patches),
        **{f"layer {level.path}": painted(one, patches) for level, one in zip(branch.levels, each, strict=True)},
        "fused, cells without patches": (layers * branch.shares[:, None, None, None]).sum(0),
        "by replacement, cells": layers[heard.drops().argmax(dim=1), own],
        "Grad-CAM in the text space": alike(tower),
        "Grad-CAM in the text space, cells": tower,
        "single units": alike(single),
        "single units, cells": single,
        "random": alike(fine(random[None], size)[0]),
        "random, cells": fine(random[None], size)[0],
    }


def painted(values: Tensor, patches: Tensor) -> Tensor:
    """Values of patches (T, P) as maps (T, H, W)."""
    return torch.einsum("tp,phw->thw", values, patches.float())


def judged(maps: Tensor, masks: Tensor) -> Row:
    low = maps.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    shown = maps / low
    return {
        "epg": epg(shown, masks).tolist(),
        "nra": nra(shown, masks).tolist(),
        "published": nra(shown, masks, chance="published").tolist(),
        "hits": hit_rate(shown, masks).tolist(),
    }


def where(
    branch: Branch, clf: Classifier, units: Units, texts: Tensor, birds: Sequence[Bird], names: Mapping[str, str]
) -> Row:
    """Each way's figures for phrases that are true of a bird, in and out of what the branch learned with."""
    known, _ = halves(names)
    rows: list[tuple[str, bool, Row]] = []
    for n, bird in enumerate(birds):
        true, masks = true_phrases(clf, bird, names)
        picked = [j for j, phrase in enumerate(names) if phrase in true]
        if not picked:
            continue
        tap = tapped_for(clf, bird.image[None], branch.levels)
        heard = branch.hear([m[0] for m in readings(tap, branch.levels)], texts[picked])
        truth = torch.stack([masks[part_of(name)] for phrase, name in names.items() if phrase in true])
        found = {way: judged(maps, truth) for way, maps in regions(heard, branch, units, bird.image, picked, n).items()}
        found["oracle layer"] = oracle(
            [row for way, row in found.items() if way.startswith("layer ") and "by" not in way]
        )
        inside = [phrase in known for phrase in names if phrase in true]
        rows += [
            (way, known_, {k: v[t] for k, v in row.items()})
            for way, row in found.items() for t, known_ in enumerate(inside)
        ]  # fmt: skip
    ways = list(dict.fromkeys(way for way, _, _ in rows))
    return {
        way: {
            group: {k: told([r[k] for w, inside, r in rows if w == way and inside == which]) for k in FIGURES}
            for group, which in (("learned", True), ("never heard", False))
        }
        for way in ways
    }  # fmt: skip


def oracle(layers: Sequence[Row]) -> Row:
    """The layer with the best NRA for each phrase, by its mask: nobody who explains has that."""
    best = np.nan_to_num(np.array([row["nra"] for row in layers]), nan=-9).argmax(0)
    return {k: [layers[b][k][t] for t, b in enumerate(best)] for k in layers[0]}


def told(values: Sequence[float]) -> list[float]:
    clean = np.array([v for v in values if not np.isnan(v)])
    found = bootstrap(clean)
    return [round(float(v), 3) for v in (found.mean, found.low, found.high)]


def true_phrases(clf: Classifier, bird: Bird, names: Mapping[str, str]) -> tuple[set[str], dict[str, Tensor]]:
    """Phrases that are true of parts that can be seen, and the parts' masks (H, W)."""
    rendered = bird.rendered
    masks = {p: framed_mask(rendered.visible(p), clf.preprocess) > 0.5 for p in rendered.shown()}
    masks = {p: m for p, m in masks.items() if int(m.sum()) >= SMALL}
    facts = {*said_of(rendered.scene.birds[0], rendered.shown()), *rendered.shown()}
    return {phrase for phrase, name in names.items() if name in facts and part_of(name) in masks}, masks


# --------------------------------------------------------------------------------------------------
# What does it count?


def measured_effects(
    branch: Branch, clf: Classifier, bird: Bird, texts: Tensor, rows: Sequence[int]
) -> tuple[Causes, Seen]:
    """What the branch says that phrases count for the bird's species, each asked for."""
    seen = look(clf, read(bird.rendered.pixels), bird.target)
    tap = tapped_for(clf, seen.image[None], branch.levels)
    heard = branch.hear([m[0] for m in readings(tap, branch.levels)], texts[list(rows)])
    patches = patches_of(seen.image)
    masks = masks_of(heard.fused(branch.shares, patches), patches)
    layers, own = heard.drops().argmax(dim=1).tolist(), int(branch.shares.argmax())
    return effects(tap, seen, heard, layers, own, masks, [bird.target], 0), seen


WAYS = {
    "contribution": lambda e: e.contributions[:, 0],
    "hidden, if present": lambda e: e.hidden[:, :, 0].mean(dim=1) * e.present,
    "taken out, if present": lambda e: e.removed[:, 0] * e.present,
    "hidden, present or not": lambda e: e.hidden[:, :, 0].mean(dim=1),
    "taken out, present or not": lambda e: e.removed[:, 0],
    "contribution, present or not": lambda e: replace(e, present=torch.ones_like(e.present)).contributions[:, 0],
    "its channels (published)": lambda e: e.channels[:, 0],
}  # fmt: skip


def counts(branch: Branch, clf: Classifier, texts: Tensor, birds: Sequence[Bird], names: Mapping[str, str]) -> Row:
    """Contributions of true phrases against what the species really loses without their parts, and false alarms."""
    ranks: dict[str, list[float]] = {way: [] for way in WAYS}
    signs: list[float] = []
    idle: dict[str, list[float]] = {way: [] for way in WAYS}
    absent: list[float] = []
    found_rule: list[float] = []
    for bird in birds:
        true, _ = true_phrases(clf, bird, names)
        picked = [j for j, phrase in enumerate(names) if phrase in true]
        parts = [part_of(name) for phrase, name in names.items() if phrase in true]
        other = [j for j, phrase in enumerate(names) if phrase not in true][:: max(1, (len(names) - len(true)) // 4)][
            :4
        ]
        found, _ = measured_effects(branch, clf, bird, texts, [*picked, *other])
        for way, of in WAYS.items():
            values = of(found).tolist()
            per_part = [
                strongest([v for v, p in zip(values, parts, strict=False) if p == player]) for player in bird.players
            ]
            pair = torch.tensor([per_part]).double(), bird.effects[None]
            ranks[way].append(float(spearman(*pair)[0].nan_to_num(0.0)))
            idle[way] += [v for v, p in zip(values, parts, strict=False) if p in IDLE]
            if way == "contribution":
                absent += values[len(picked) :]
                rule = saywhy.aviary.SPECIES[clf.class_names[bird.target]].parts
                big = [
                    (v, e)
                    for v, e, p in zip(per_part, bird.effects.tolist(), bird.players, strict=True)
                    if p in rule and e >= TELLING
                ]
                found_rule += [float(v > 0) for v, _ in big]
                signs += [
                    float(v * e > 0)
                    for v, e in zip(per_part, bird.effects.tolist(), strict=True)
                    if abs(e) >= TELLING and v
                ]
    return {
        "rank": {way: told(v) for way, v in ranks.items()},
        "sign_of_those_that_count": told(signs),
        "rule_parts_that_count": told(found_rule),
        "null": {
            way: {"alarms": [sum(abs(v) >= 0.01 for v in values), len(values)], "mean": mean([abs(v) for v in values])}
            for way, values in idle.items()
        },
        "absent_that_count": [sum(v != 0 for v in absent), len(absent)],
    }


def errors(branch: Branch, clf: Classifier, seed: int, pictures_: int) -> Row:
    """Errors among pictures, and in how many of them a phrase that is found counts for the predicted class, and for or
    against the true one."""
    found, counting, both = 0, {"predicted": 0, "true": 0}, 0
    for index in range(pictures_):
        one = sample(seed, index)
        picture = read(render(one.scene).pixels)
        true = clf.class_names.index(one.species)
        if int(clf.logits(clf.prepare([picture])[0])[0].argmax()) == true:
            continue
        found += 1
        said = speak(branch, look(clf, picture, None, true))
        some = torch.zeros(1, 2, dtype=torch.bool) if said is None else said.effects.counts
        counting["predicted"] += int(some[:, 0].any())
        counting["true"] += int(some[:, 1].any())
        both += int(some.any())
    return {"pictures": pictures_, "errors": found, "counts_for": counting, "explained": both}


def strongest(values: Sequence[float]) -> float:
    return max(values, key=abs, default=0.0)


# --------------------------------------------------------------------------------------------------
# What does a vocabulary cost?


def seconds(branch: Branch, clf: Classifier, bird: Bird, count: int, rounds: int = 7) -> float:
    """One picture's pass, log-odds, gradients and fused regions of `count` phrases: the median over rounds."""
    random = torch.Generator().manual_seed(0)
    texts, patches = (
        F.normalize(torch.randn(count, branch.texts.shape[1], generator=random), dim=1),
        patches_of(bird.image),
    )
    took = []
    for _ in range(rounds):
        start = time.process_time()
        tap = tapped_for(clf, bird.image[None], branch.levels)
        heard = branch.hear([m[0] for m in readings(tap, branch.levels)], texts)
        heard.odds, heard.fused(branch.shares, patches)
        took.append(time.process_time() - start)
    return float(np.median(took))


def cost(branch: Branch, clf: Classifier, bird: Bird) -> Row:
    one, many = seconds(branch, clf, bird, 1), seconds(branch, clf, bird, VOCABULARY)
    seen = look(clf, read(bird.rendered.pixels), bird.target)
    start = time.process_time()
    speak(branch, seen, branch.phrases[:1])
    return {"one": round(one, 4), "many": round(many, 4), "ratio": round(many / one, 2), "phrases": VOCABULARY,
            "one_with_its_effects": round(time.process_time() - start, 4)}  # fmt: skip


# --------------------------------------------------------------------------------------------------
# All of it.


def measure(name: str, made_of: int, birds: int, which: Sequence[str]) -> Row:
    clf, space, names = saywhy.load_classifier(name), text_space("own"), named_phrases()
    known, _ = halves(names)
    texts = space.encode_texts(list(names))
    result: Row = {"model": name, "pictures": made_of, "seeds": SEEDS, "space": space.fingerprint}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        items = pictures(Path(folder), made_of, SEEDS["made"])
        start = time.process_time()
        branch, _ = teach(clf, items, space, known)
        result["seconds_to_teach"] = round(time.process_time() - start)
        alone, _ = teach(clf, items, space, known, "vectors")
        single = on_last_layer(clf, items, space, known)
        units = Units(branch, clf, space, items, texts)
    result["card"] = branch.card
    for seed in which:
        some, asked = test_birds(clf, birds, SEEDS[seed])
        with torch.no_grad():
            result[seed] = {
                "birds": len(some), "asked": asked,
                "precision": {
                    w: precisions(b, clf, space, SEEDS[seed], 4 * birds, names)
                    for w, b in (("branch", branch), ("vectors alone", alone), ("last layer alone", single))
                },
                "counts": counts(branch, clf, texts, some, names),
            }  # fmt: skip
        result[seed]["errors"] = errors(branch, clf, SEEDS[seed], 10 * birds)
        result[seed]["where"] = where(branch, clf, units, texts, some, names)
        for other, b in (("vectors alone", alone), ("last layer alone", single)):
            result[seed]["where"][other] = where(b, clf, units_of(units, b), texts, some, names)["fused"]
    result["cost"] = cost(branch, clf, some[0])
    return result


def units_of(units: Units, branch: Branch) -> Units:
    """The units again, for a branch of other layers, whose channels have other numbers; they are not looked at."""
    out = Units.__new__(Units)
    out.best = units.best.clamp_max(sum(level.width for level in branch.levels) - 1)
    return out


def on_last_layer(clf: Classifier, items: Sequence[Item], space: TextSpace, known: Sequence[str]) -> Branch:
    """A branch of the classifier's own layer alone."""
    from unittest import mock

    with mock.patch("saywhy.branch.learning.shared_points", lambda clf: (clf.point,)):
        return teach(clf, items, space, known)[0]


# --------------------------------------------------------------------------------------------------
# The page.


def cells(values: Sequence[float]) -> str:
    return "{:.2f} [{:.2f}–{:.2f}]".format(*values)


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def tables(result: Row, seed: str = "reported") -> str:
    """A network's tables: whether, where, how much."""
    told_, card = result[seed], result["card"]
    counted = told_["counts"]
    about = (
        f"{result['pictures']} pictures taught the branch in {result['seconds_to_teach']} processor seconds; "
        f"{told_['birds']} birds judge. Shares of the layers: "
        + ", ".join(f"{path} {share:.2f}" for path, share in card["layers"].items())
        + f". Held-out cosine {card['cosine']:.2f} (the mean alone {card['cosine_of_the_mean']:.2f})."
    )
    whether = [
        [way, f"{r['cosine']:.3f}", *(f"{r[g][k]:.2f}" for g in GROUPS for k in ("branch", "text space", "chance"))]
        for way, r in told_["precision"].items()
    ]  # fmt: skip
    placed = [
        [f"**{way}**" if way == "fused" else way]
        + [cells(r[g][k]) for g in GROUPS for k in FIGURES]
        for way, r in told_["where"].items()
    ]  # fmt: skip
    much = [
        [f"**{way}**" if way == "contribution" else way, cells(v), "{} of {}".format(*counted["null"][way]["alarms"])]
        for way, v in counted["rank"].items()
    ]  # fmt: skip
    what, kinds = ("EPG", "NRA exact", "NRA published", "hit rate"), ("AP", "AP of the text space", "chance")
    return "\n\n".join([
        f"### {result['model']}", about,
        lines(["branch", "cosine", *(f"{k}, {g}" for g in GROUPS for k in kinds)], whether),
        lines(["regions", *(f"{k}, {g}" for g in GROUPS for k in what)], placed),
        lines(["what a phrase counts", "rank with true effects", "alarms on eye and legs"], much),
        "Of what counts, the sign is right in {}; of parts of the rule that cost 2 points or more, {} have a phrase "
        "that counts; of absent phrases {} of {} count.".format(
            cells(counted["sign_of_those_that_count"]), cells(counted["rule_parts_that_count"]),
            *counted["absent_that_count"]),
        "Of {errors} errors in {pictures} pictures {explained} have a phrase that counts, for the predicted "
        "class in {predicted} and for or against the true one in {true}.".format(
            **told_["errors"], **told_["errors"]["counts_for"]),
        "{phrases} phrases, regions and all, take {ratio} times what one takes ({many} s and {one} s of processor "
        "time, the pass through the classifier included).".format(**result["cost"]),
    ])  # fmt: skip


def write_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = [json.loads(f.read_text()) for f in sorted((HERE / "results").glob("branch_*.json"))]
    before, after = page.split(START)[0], page.split(STOP)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n\n".join(map(tables, found)) + f"\n\n{STOP}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--pictures", type=int, default=480)
    parser.add_argument("--birds", type=int, default=60)
    parser.add_argument("--seeds", nargs="*", default=["chosen", "reported"])
    given = parser.parse_args()
    for name in given.models:
        result = measure(name, given.pictures, given.birds, given.seeds)
        machine = {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        }
        file = HERE / "results" / f"branch_{name.split(':')[1]}.json"
        file.write_text(json.dumps(result | {"machine": machine, "saywhy": saywhy.__version__}, indent=1) + "\n")
    write_page()


if __name__ == "__main__":
    main()
