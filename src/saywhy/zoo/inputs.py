"""What a network takes where nobody said it: colours or grey, and of which size. Tried out, and told in a note."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
        check_normalises(clf.name, options)
        return replace(clf, notes=(*clf.notes, *assumed_framing(clf.preprocess, options)), _points={})
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
    if how.planes != 3 and options.bands is None:
        yield bands_note("network", how)
    if how.channels == "L":
        yield "the network takes one channel: photos are turned grey"
    yield from assumed_framing(how, options, tried=how.size != asked.size)
    if options.mean is None:
        yield values_note(how)


def assumed_framing(
    how: Preprocess, options: Options, *, known: Collection[str] = (), tried: bool = False
) -> Iterator[str]:
    """How much of a photo is taken, in words, unless the user said size and resize.

    `known`: which of them the model itself says; `tried`: the size was found by trying.
    """
    open_ways = [f"--{key}" for key in ("size", "resize") if key not in known and getattr(options, key) is None]
    why = "the first usual size that it takes" if tried else "as nobody said otherwise"
    if open_ways:
        yield f"{taken(how)}, {why} ({', '.join(open_ways)})"


def taken(how: Preprocess) -> str:
    """What a preprocessing takes of a photo, in words."""
    (H, W), (h, w) = how.size, how.resize if isinstance(how.resize, tuple) else how.size
    if how.rule == "fit":
        fitting = "" if (h, w) == (H, W) else f" and the middle {H} x {W} cut out"
        return f"whole photos are fitted into {h} x {w} ({how.interpolation}), with bars beside them{fitting}"
    if how.resize is None:
        return f"whole photos are squeezed into {H} x {W} ({how.interpolation})"
    pair = f"scaled to fill {h} x {w}" if how.rule == "fill" else f"squeezed into {h} x {w}"
    scaled = f"scaled to a short side of {how.resize}" if isinstance(how.resize, int) else pair
    bars = ", with bars where it is larger" if _leaves_bars(how) else ""
    return f"photos are {scaled} ({how.interpolation}) and the middle {H} x {W} is cut out{bars}"


def _leaves_bars(how: Preprocess) -> bool:
    h, w = how.resize if isinstance(how.resize, tuple) else (how.resize or 0,) * 2
    filled = isinstance(how.resize, int) and how.rule in ("cover", "share first")
    return not filled and (h < how.size[0] or w < how.size[1])


def check_normalises(name: str, options: Options) -> None:
    """Raises UsageError where a mean or std is said of what normalises by itself and would never see them."""
    if options.mean is not None or options.std is not None:
        raise UsageError(f"{name} is given values in [0, 1] and normalises by itself; leave mean and std out")


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
