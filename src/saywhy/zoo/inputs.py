"""What a network takes where nobody said it: colours or grey, and of which size. Tried out, and told in a note."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from saywhy.classifier import Classifier
from saywhy.errors import SaywhyError, UsageError
from saywhy.image import Preprocess
from saywhy.zoo.config import Options

# Sizes that networks are built for, tried where 224 does not fit; the common ones first.
SIZES = (28, 32, 64, 299, 384, 256, 128, 96, 48, 112, 160, 192, 240, 260, 288, 300, 320, 331, 336, 380, 448, 480, 512)
GREY: Preprocess = Preprocess(resize=None, mean=(0.0,) * 3, std=(1.0,) * 3, channels="L")


def fitted(clf: Classifier, options: Options) -> Classifier:
    """The same with the first channels and size that the network takes; unchanged where it takes none of them."""
    if not isinstance(clf.net, nn.Module):
        return clf
    for how in _ways(clf.preprocess, options):
        trial = replace(clf, preprocess=how, classes=None, layer=None, _points={})
        try:
            trial.logits(torch.full((1, 3, *how.size), 0.5))
        except SaywhyError:
            continue
        return replace(clf, preprocess=how, notes=(*clf.notes, *_told(clf.preprocess, how, options)), _points={})
    first = next((m for m in clf.net.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.in_channels not in (1, 3):
        raise UsageError(
            f"{clf.name} takes {first.in_channels} channels, and pictures have one or three here; give a callable "
            "images (N, 3, H, W) in [0, 1] -> scores (N, C) that makes the other channels of them"
        )
    return clf


def grey(how: Preprocess, options: Options) -> Preprocess:
    """The preprocessing of a network of one channel: the whole photo, values in [0, 1], unless the user says other."""
    return replace(
        how, channels="L", resize=how.resize if options.resize else None,
        mean=options.mean or GREY.mean, std=options.std or GREY.std,
    )  # fmt: skip


def _ways(how: Preprocess, options: Options) -> Iterator[Preprocess]:
    sizes = [how.size] if options.size is not None else [how.size, *((side, side) for side in SIZES)]
    for size in sizes:
        resize = how.resize if size == how.size else None
        for channels in (how, grey(how, options)):
            yield replace(
                channels, size=size, resize=None if channels.channels == "L" and not options.resize else resize
            )


def _told(asked: Preprocess, how: Preprocess, options: Options) -> Iterator[str]:
    """What was found out or taken for granted, in words."""
    H, W = how.size
    if how.channels == "L":
        yield "the network takes one channel: photos are turned grey" + _scaled(how)
    if options.size is None:
        why = "the first usual size that it takes" if how.size != asked.size else "as nobody said another (--size)"
        yield f"photos are scaled to {H} x {W}, {why}"
    if options.mean is None:
        values = "left in [0, 1]" if how.channels == "L" else "normalised with ImageNet's mean and std"
        yield f"values are {values}, as nobody said otherwise (--mean, --std)"


def _scaled(how: Preprocess) -> str:
    return "" if how.resize else ", the whole photo is scaled"
