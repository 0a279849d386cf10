"""The study of errors: families found where they were planted, and what bad pictures and labels do."""

import json
from collections import Counter

import pytest
import torch
from PIL import Image

from saywhy.audit.failures import Experiments, Study, categorise, failures_of, similarity, study
from saywhy.aviary import CLASSES, render, sample
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.image import Picture
from saywhy.zoo import load_classifier

SEED = 77


@pytest.fixture(scope="module")
def clf():
    return load_classifier("aviary:cnn")


def birds(fault, group, count):
    """The first pictures of a group of a planted fault."""
    found = []
    index = 0
    while len(found) < count:
        one = sample(SEED, index, fault=fault)
        found += [one] if one.group == group else []
        index += 1
    return found


def errors(clf, chosen):
    images = clf.prepare([Picture(render(s.scene).pixels, None, "", ()) for s in chosen])[0]
    truth = torch.tensor([CLASSES.index(s.class_name) for s in chosen])
    return failures_of(clf, images, truth, [str(n) for n in range(len(chosen))])


def test_two_birds_in_a_picture_are_told_from_two_species_that_look_alike(clf):
    two = errors(clf, birds("two-species", "two birds", 30))
    alike = errors(clf, birds("confusable", "small", 12))
    assert len(two) >= 10 and len(alike) >= 4
    assert {(f.truth, f.predicted) for f in alike} <= {("cinder robin", "forge robin"), ("forge robin", "cinder robin")}
    assert sum(f.similarity for f in alike) / len(alike) > sum(f.similarity for f in two) / len(two) + 0.3
    first, second = Counter(f.category for f in two), Counter(f.category for f in alike)
    assert first["several objects"] > first["related classes"]
    assert second["related classes"] >= len(alike) / 2 > second["several objects"]


def test_right_answers_are_no_errors(clf):
    clean = [sample(SEED, i) for i in range(12)]
    found = errors(clf, clean)
    assert len(found) <= 1 and all(f.truth != f.predicted for f in found)


def test_maps_that_agree_correlate_and_overlap_and_flat_ones_do_not():
    a = torch.zeros(8, 8)
    a[:4, :4] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    assert similarity(a, a) == pytest.approx((1.0, 1.0), abs=1e-6)
    assert similarity(a, a.flip(1))[0] < 0 and similarity(a, a.flip(1))[1] == 0
    assert similarity(a, torch.ones(8, 8))[0] == 0


@pytest.mark.parametrize(
    ("alike", "without", "alone", "family"),
    [
        (0.9, (0.6, 0.3), (0.5, 0.3), "related classes"),
        (0.1, (0.1, 0.8), (0.7, 0.0), "several objects"),
        (0.1, (0.6, 0.2), (0.7, 0.0), "several objects"),
        (0.7, (0.1, 0.9), (0.2, 0.3), "context"),
        (0.1, (0.1, 0.9), (0.0, 0.3), "context"),
        (0.1, (0.6, 0.2), (0.0, 0.3), "unclear"),
        (0.9, (0.1, 0.9), (0.8, 0.1), "unclear"),
    ],
)
def test_families_follow_from_the_likeness_and_the_experiments(alike, without, alone, family):
    found = Experiments((0.6, 0.3), without, alone, (0.0, 0.0))
    assert categorise(alike, found) == family


def test_a_folder_is_studied_and_broken_files_are_named(clf, tmp_path):
    items = []
    for n, s in enumerate(birds("two-species", "two birds", 6)):
        Image.fromarray(render(s.scene).pixels).save(tmp_path / f"{n}.png")
        items.append(Item(tmp_path / f"{n}.png", class_name=s.class_name))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = study(clf, [*items, Item(tmp_path / "broken.png", class_name=CLASSES[0])])
    assert found.pictures == 6 and [p.endswith("broken.png") for p, _ in found.unreadable] == [True]
    assert 0 <= found.accuracy < 1 and sum(found.families.values()) == len(found.failures)
    assert json.loads(json.dumps(found.to_dict()))["pictures"] == 6
    with pytest.raises(InputError, match="none of 1"):
        study(clf, [Item(tmp_path / "broken.png", class_name=CLASSES[0])])


def test_labels_are_needed_and_must_be_classes(clf, tmp_path):
    with pytest.raises(UsageError, match="no label"):
        study(clf, [Item(tmp_path / "a.png")])
    with pytest.raises(UsageError, match="no class"):
        study(clf, [Item(tmp_path / "a.png", class_name="penguin")])


def test_classes_whose_errors_come_from_context_are_listed(clf):
    (one,) = errors(clf, birds("two-species", "two birds", 12))[:1]
    pairs = [("a", "context"), ("a", "context"), ("b", "context"), ("c", "unclear"), ("c", "context")]
    rows = [type(one)(**{**vars(one), "predicted": p, "category": c}) for p, c in pairs]
    assert Study(tuple(rows), 10).biased == {"a": 1.0, "c": 0.5}
