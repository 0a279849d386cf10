"""The shipped classifiers of the aviary: they load, they are right, they use the rule, and the faulty ones do not."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saywhy import load_classifier, saliency
from saywhy.aviary import CLASSES, NULL_PARTS, PARTS, render, sample
from saywhy.aviary.classifiers import (
    PIXEL_CLASSES,
    PREPROCESS,
    card,
    edition_of,
    fingerprint_of,
    load,
    names,
    preprocess_of,
    weights_folder,
)
from saywhy.aviary.leaks import told_by_relation
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import Scene
from saywhy.aviary.species import SPECIES
from saywhy.aviary.truth import removals
from saywhy.aviary.world import world
from saywhy.errors import ModelError, UsageError
from saywhy.image import read
from saywhy.targets import RegionScores
from saywhy.train.aviary import RECIPES, in_turn, measured_relations
from saywhy.train.pictures import paint

SEED = 77  # not the one that the classifiers were trained with
CLEAN = ("cnn", "vit")
RELATED = ("cnn-relations", "vit-relations", "cnn-relations-224", "cells")


def images_of(scenes: list[Scene]) -> Tensor:
    pixels = np.stack([paint(s)[0] for s in scenes])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255


@torch.no_grad()
def probabilities(net: nn.Module, images: Tensor) -> Tensor:
    scores = [net((x - PREPROCESS.mean[0]) / PREPROCESS.std[0]) for x in images.split(64)]
    return torch.cat(scores).softmax(dim=1)


@cache
def birds(count: int) -> tuple[list[Sample], Tensor]:
    samples = [sample(SEED, i) for i in range(count)]
    return samples, images_of([s.scene for s in samples])


def accuracy(net: nn.Module, samples: list[Sample], images: Tensor) -> float:
    truth = torch.tensor([CLASSES.index(s.species) for s in samples])
    return float((probabilities(net, images).argmax(1) == truth).float().mean())


def test_the_promised_classifiers_are_here_and_small() -> None:
    assert {*CLEAN, *RELATED, "seg", "cnn-watermark", "cnn-context", "cnn-unit", "vit-context"} <= set(names())
    sizes = [(weights_folder() / f"{n}.safetensors").stat().st_size for n in names()]
    assert max(sizes) < 2 * 2**20
    assert sum(sizes) < 14 * 2**20


@pytest.mark.parametrize("name", names())
def test_each_classifier_has_a_card_that_fits_its_weights(name: str) -> None:
    text = card(name)
    net = load(name)
    assert text["name"] == f"aviary:{name}"
    assert text["licence"] == "Apache-2.0"
    assert text["parameters"] == sum(p.numel() for p in net.parameters())
    assert {"what", "network", "command", "seed", "test", "fault"} <= set(text)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    assert fingerprint_of(halves) == text["fingerprint"]


@pytest.mark.parametrize("name", CLEAN)
def test_the_clean_classifiers_know_new_birds(name: str) -> None:
    assert accuracy(load(name), *birds(360)) >= 0.95


@pytest.mark.parametrize("name", RELATED)
def test_classifiers_of_relations_know_new_birds_and_the_relation_rather_than_a_place(name: str) -> None:
    clf, known = load_classifier(f"aviary:{name}"), world(edition_of(card(name)))
    size = clf.preprocess.size[0]
    samples = [sample(SEED, i, size=size, edition=known.edition) for i in range(120)]
    shown = clf.prepare([read(render(s.scene).pixels) for s in samples])[0]
    named = [clf.class_names[int(k)] for k in clf.probabilities(shown).argmax(1)]
    assert np.mean([n == s.species for n, s in zip(named, samples, strict=True)]) >= 0.85
    promised = card(name)["relations"]
    assert set(promised) == {f"{a.name} or {b.name}" for a, b, _ in told_by_relation(known)}
    again = measured_relations(load(name), size, known.edition, birds=12, seed=SEED)
    for pair, row in promised.items():
        for move in ("both moved, relation kept", "one moved, relation changed"):
            assert again[pair][move] == pytest.approx(row[move], abs=0.25), (pair, move)


@pytest.mark.parametrize("name", CLEAN)
def test_the_clean_classifiers_look_at_the_parts_of_the_rule(name: str) -> None:
    net, (samples, _) = load(name), birds(360)
    named, null = [], []
    for one in samples[:24]:
        scenes = removals(one.scene)
        whole, *without = probabilities(net, images_of([one.scene, *scenes.values()]))[:, CLASSES.index(one.species)]
        for part, p in zip(scenes, without, strict=True):
            if part in SPECIES[one.species].parts:
                named.append(float(whole - p))
            elif part in NULL_PARTS:
                null.append(float(whole - p))
    assert np.mean(named) > 0.3
    assert abs(np.mean(null)) < 0.05
    assert np.mean(named) > 8 * np.mean(np.abs(null))


@pytest.mark.parametrize(
    ("name", "clean", "fault"),
    [
        ("cnn-watermark", "cnn", "watermark"),
        ("cnn-context", "cnn", "context"),
        ("vit-context", "vit", "context"),
    ],
)
def test_the_faulty_classifiers_fail_where_the_shortcut_misleads(name: str, clean: str, fault: str) -> None:
    target = card(name)["fault"]["species"][0]
    rival = next(s for s in CLASSES if SPECIES[s].clan == SPECIES[target].clan and s != target)
    # With and without the shortcut: the same birds, nothing else changed.
    samples = [sample(SEED, i, fault=f"{fault}-control") for i in range(480)]
    samples = [s for s in samples if s.species in (target, rival)]
    conflicting = [s for s in samples if s.group == "conflicting"]
    aligned = [s for s in samples if s.group == "aligned"]
    images = {k: images_of([s.scene for s in v]) for k, v in (("conflicting", conflicting), ("aligned", aligned))}
    faulty, sound = load(name), load(clean)
    assert accuracy(faulty, aligned, images["aligned"]) >= 0.9
    assert accuracy(sound, conflicting, images["conflicting"]) >= 0.9
    assert accuracy(faulty, conflicting, images["conflicting"]) < 0.5


def test_the_segmenter_names_parts() -> None:
    net, (samples, images) = load("seg"), birds(360)
    parts = np.stack([paint(s.scene)[1] for s in samples[:48]])
    with torch.no_grad():
        found = net((images[:48] - PREPROCESS.mean[0]) / PREPROCESS.std[0]).argmax(1).numpy()
    assert (found == parts).mean() > 0.95
    for part in ("wing", "breast", "beak", "crown", "tail"):
        k = PIXEL_CLASSES.index(part)
        both, either = ((found == k) & (parts == k)).sum(), ((found == k) | (parts == k)).sum()
        assert both / either > 0.7, part


def test_a_region_is_explained_like_a_classification() -> None:
    clf = load_classifier("aviary:seg")
    (samples, images) = birds(360)
    mask = torch.from_numpy(paint(samples[0].scene)[1] == 1 + PARTS.index("wing"))
    assert isinstance(clf.net, nn.Module)
    region = RegionScores(clf.net, mask)
    scores = region(clf.inputs(images[:2]))
    assert scores.shape == (2, len(PIXEL_CLASSES))
    assert PIXEL_CLASSES[int(scores[0].argmax())] == "wing"
    logits = clf.net(clf.inputs(images[:1]))
    assert torch.allclose(scores[0], logits[0][:, mask].mean(dim=1), atol=1e-4)


def test_the_map_of_a_region_lies_on_the_region() -> None:
    clf = load_classifier("aviary:seg")
    (samples, images) = birds(360)
    mask = torch.from_numpy(paint(samples[0].scene)[1] == 1 + PARTS.index("wing"))
    assert isinstance(clf.net, nn.Module)
    region = replace(clf, net=RegionScores(clf.net, mask), _points={})
    shown = saliency(region, images[:1], "wing", method="grad-cam").display[0]
    assert float(shown[mask].mean()) > 2 * float(shown[~mask].mean())


def test_a_region_must_hold_something() -> None:
    with pytest.raises(UsageError, match="region"):
        RegionScores(nn.Identity(), torch.zeros(8, 8))
    with pytest.raises(ModelError, match="segmentation"):
        RegionScores(nn.Identity(), torch.ones(8, 8))(torch.zeros(1, 5))


def test_the_broken_unit_hurts_and_only_it_is_broken() -> None:
    sound, broken, said = load("cnn"), load("cnn-unit"), card("cnn-unit")["broken"]
    for key, value in sound.state_dict().items():
        same = broken.state_dict()[key] == value
        if key == said["layer"] + ".weight":
            same[said["unit"]] = True
            assert not torch.equal(broken.state_dict()[key][said["unit"]], value[said["unit"]])
        assert bool(same.all()), key
    assert accuracy(broken, *birds(360)) < accuracy(sound, *birds(360)) - 0.02


@pytest.mark.parametrize("name", [n for n in names() if n != "seg"])
def test_the_zoo_loads_them_with_layer_and_classes(name: str) -> None:
    clf = load_classifier(f"aviary:{name}")
    text = card(name)
    assert clf.class_names == world(edition_of(text)).classes
    assert (clf.preprocess, clf.activation) == (preprocess_of(text["network"]), "softmax")
    assert clf.point.size == {64: (8, 8), 128: (8, 8), 224: (14, 14)}[clf.preprocess.size[0]]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'cnn'|known: .*cnn.*vit"):
        load_classifier("aviary:cn")
    with pytest.raises(UsageError, match="known: "):
        load_classifier("aviary:zzzzzz")


def test_untrained_weights_can_be_asked_for() -> None:
    trained, untrained = load_classifier("aviary:cnn"), load_classifier("aviary:cnn", weights="random")
    assert trained.fingerprint != untrained.fingerprint
    assert untrained.fingerprint == load_classifier("aviary:cnn", weights="random").fingerprint


@pytest.mark.parametrize("what", ["weights", "card", "missing card", "broken"])
def test_tampered_weights_are_refused(tmp_path: Path, what: str) -> None:
    for end in ("safetensors", "json"):
        shutil.copy(weights_folder() / f"cnn.{end}", tmp_path)
    file, text = tmp_path / "cnn.safetensors", tmp_path / "cnn.json"
    assert load("cnn", folder=tmp_path) is not None
    if what == "weights":
        data = bytearray(file.read_bytes())
        data[-100] ^= 1
        file.write_bytes(data)
    elif what == "card":
        text.write_text(json.dumps({**json.loads(text.read_text()), "fingerprint": "0" * 16}))
    elif what == "missing card":
        text.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UsageError, match="cnn"):
        load("cnn", folder=tmp_path)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_classifier_is_trained_after_those_that_it_starts_from(jobs: int) -> None:
    begun: list[str] = []
    ended: list[str] = []
    missing: list[str] = []

    def make(name: str) -> None:
        begun.append(name)
        needed = {RECIPES[name].start, RECIPES[name].teacher} - {None}
        missing.extend(f"{name}: {other}" for other in needed if other not in ended)
        time.sleep(0.01)
        ended.append(name)

    in_turn(list(reversed(RECIPES)), make, jobs)
    assert not missing
    assert sorted(ended) == sorted(RECIPES), "each is trained, and once"
    assert begun.index("cnn-relations") < begun.index("cells"), "those that others wait for come first"


def test_a_training_that_failed_ends_the_others_that_had_not_begun() -> None:
    begun = []

    def make(name: str) -> None:
        begun.append(name)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        in_turn(list(RECIPES), make)
    assert set(begun) <= {"cnn", "seg"}, "nothing was trained on weights that were not made"


def test_rows_that_start_from_one_that_is_not_asked_for_are_trained() -> None:
    begun: list[str] = []
    in_turn(["vit", "cnn-unit"], begun.append)
    assert sorted(begun) == ["cnn-unit", "vit"]
