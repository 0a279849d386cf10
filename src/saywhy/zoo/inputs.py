"""What a network takes where nobody said it: colours or grey, and of which size. Tried out, and told in a note."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from saywhy.classifier import Classifier
from saywhy.errors import SaywhyError, UsageError
from saywhy.framing import COLOURS
from saywhy.image import Preprocess
from saywhy.zoo.config import Options, for_planes

# Sizes that networks are built for, tried where 224 does not fit; the common ones first.
SIZES = (28, 32, 64, 299, 384, 256, 128, 96, 48, 112, 160, 192, 240, 260, 288, 300, 320, 331, 336, 380, 448, 480, 512)
NORMALISED = "normalised with ImageNet's mean and std"
GREY: Preprocess = Preprocess(resize=None, mean=(0.0,) * 3, std=(1.0,) * 3, channels="L")


def fitted(clf: Classifier, options: Options) -> Classifier:
    """The same with the first channels and size that the network takes; unchanged where it takes none of them."""
    if not isinstance(clf.net, nn.Module):
        return clf
    taken = _taken(clf.net)
    for how in _ways(clf.preprocess, options, taken):
        trial = replace(clf, preprocess=how, classes=None, layer=None, _points={})
        try:
            trial.logits(torch.full((1, how.planes, *how.size), 0.5))
        except SaywhyError:
            continue
        return replace(clf, preprocess=how, notes=(*clf.notes, *_told(clf.preprocess, how, options)), _points={})
    if options.bands is not None and taken not in (None, len(options.bands)):
        raise UsageError(f"{clf.name} takes {taken} channels, and bands names {len(options.bands)}")
    return clf


def _taken(net: nn.Module) -> int | None:
    """The channels that a network's first convolution takes."""
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def banded(how: Preprocess, count: int, options: Options) -> Preprocess:
    """The preprocessing of a network of so many bands: the whole picture, values in [0, 1], unless the user says other;
    the file's first bands in their order."""
    how = replace(how, bands=options.bands or tuple(range(1, count + 1)), resize=how.resize if options.resize else None)
    return replace(
        how, mean=for_planes("mean", options.mean or (0.0,), how.planes),
        std=for_planes("std", options.std or (1.0,), how.planes),
    )  # fmt: skip


def grey(how: Preprocess, options: Options) -> Preprocess:
    """The preprocessing of a network of one channel: the whole photo, values in [0, 1], unless the user says other."""
    return replace(
        how, channels="L", resize=how.resize if options.resize else None,
        mean=for_planes("mean", options.mean or GREY.mean, 3), std=for_planes("std", options.std or GREY.std, 3),
    )  # fmt: skip


def _ways(how: Preprocess, options: Options, taken: int | None) -> Iterator[Preprocess]:
    sizes = [how.size] if options.size is not None else [how.size, *((side, side) for side in SIZES)]
    count = how.planes if how.planes != 3 else taken
    several = count is not None and count not in COLOURS and (options.bands is None or how.planes != 3)
    kinds = [banded(how, count, options)] if several and count is not None else [how, grey(how, options)]
    for size in sizes:
        for kind in kinds:
            whole = kind is not how and not options.resize
            yield replace(kind, size=size, resize=None if whole or size != how.size else how.resize)


def _told(asked: Preprocess, how: Preprocess, options: Options) -> Iterator[str]:
    """What was found out or taken for granted, in words."""
    H, W = how.size
    if how.planes != 3 and options.bands is None:
        yield bands_note("network", how)
    if how.channels == "L":
        yield "the network takes one channel: photos are turned grey" + _scaled(how)
    if options.size is None:
        why = "the first usual size that it takes" if how.size != asked.size else "as nobody said another (--size)"
        yield f"photos are scaled to {H} x {W}, {why}"
    if options.mean is None:
        yield values_note(how)


def bands_note(what: str, how: Preprocess) -> str:
    """Which bands are taken where nobody said it."""
    return (
        f"the {what} takes {how.planes} channels: bands 1 to {how.planes} of each file in their order, as nobody said "
        "others (--bands)"
    )


def values_note(how: Preprocess) -> str:
    """What is done to values where nobody said it."""
    plain = how.channels == "L" or how.planes != 3
    return f"values are {'left in [0, 1]' if plain else NORMALISED}, as nobody said otherwise (--mean, --std)"


def _scaled(how: Preprocess) -> str:
    return "" if how.resize else ", the whole photo is scaled"
