"""Gathers donors: of each class the pictures that the classifier names most clearly, and what each of their pieces
counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.finding import layers_of, on_patches, with_layers
from saywhy.errors import InputError
from saywhy.intervene import Masked, masked_probabilities
from saywhy.reasoning.nodes import mean_in
from saywhy.seen import tapped
from saywhy.substitution.matching import Instance, instances_of
from saywhy.substitution.pasting import PUT_IN
from saywhy.substitution.stock import Donor
from saywhy.tap import Tap

PICTURES = 2000  # at most; of more a part is drawn
DONORS, FEWEST = 20, 2  # of a class, at most and at least, if there are so many
BYTES = 256 << 20  # of pictures that are kept, about
TINY = 1e-6  # probability below which no odds are told apart

Tell = Callable[[str], None]
Found = tuple[float, Item, Tensor, Tensor]  # how clear, the picture's item, its pixels and its labels


def gathered(
    clf: Classifier, bank: ConceptBank, items: Sequence[Item], tell: Tell
) -> tuple[list[Donor], list[Tensor], tuple[tuple[str, str], ...]]:
    """Donors with the features (n, D) of their instances, and pictures that could not be read, each with the reason.

    Raises:
        InputError: none of them can be read.
    """
    clearest, failures = defaultdict[int, list[Found]](list), list[tuple[str, str]]()
    for n, item in enumerate(items):
        tell(f"looking for clear pictures: {n + 1} of {len(items)}")
        try:
            c, found = _looked_at(clf, bank, item)
        except InputError as e:
            failures.append((str(item.path), str(e)))
            continue
        room = min(DONORS, max(FEWEST, BYTES // (len(bank.classes) * 4 * found[3].numel())))
        clearest[c] = sorted([*clearest[c], found], key=lambda f: -f[0])[:room]
    if not clearest:
        raise InputError(f"none of {len(items)} pictures can be read; the first: {failures[0][1] if failures else '-'}")
    donors, features = list[Donor](), list[Tensor]()
    for c in sorted(clearest):
        for _, item, picture, labels in clearest[c]:
            tell(f"hiding pieces of clear pictures: {len(donors) + 1} of {sum(map(len, clearest.values()))}")
            instances = instances_of(labels)
            donors.append(Donor(item.path.name, c, picture, labels, tuple(instances), _told(clf, picture, instances)))
            tap = with_layers(bank, tapped(clf, clf.at_home(picture[None])))
            features.append(features_of(bank, tap, instances))
    return donors, features, tuple(failures)


def _looked_at(clf: Classifier, bank: ConceptBank, item: Item) -> tuple[int, Found]:
    images, _ = clf.prepare([clf.read(item.path)])
    tap = with_layers(bank, tapped(clf, images))
    picture, probabilities = tap.images[0].cpu(), clf.fine_probabilities(tap.logits)[0]
    c = int(probabilities.argmax())
    kept = (picture * 255).round() / 255  # as it is kept
    return c, (float(probabilities[c]), item, kept, on_patches(bank.cells.shares(tap), picture))


def _told(clf: Classifier, picture: Tensor, instances: Sequence[Instance]) -> Tensor:
    """Log-probabilities (n + 1, C) of the picture, and of it without each instance."""
    keep = torch.stack([torch.ones(picture.shape[1:], dtype=torch.bool), *(~s.mask for s in instances)])
    asked = Masked(clf.at_home(picture[None]), len(keep), lambda start, stop: keep[start:stop], PUT_IN)
    return masked_probabilities(clf, [asked]).clamp_min(TINY).log().float()


def features_of(bank: ConceptBank, tap: Tap, instances: Sequence[Instance]) -> Tensor:
    """What the bank's layers hold, on average, where each instance is (n, D)."""
    layers = [tap.maps(name)[0].cpu() for name in layers_of(bank)]
    if not instances:
        return torch.zeros(0, sum(len(m) for m in layers))
    masks = torch.stack([s.mask for s in instances]).float()
    return torch.cat([mean_in(masks, maps) for maps in layers], dim=1)
