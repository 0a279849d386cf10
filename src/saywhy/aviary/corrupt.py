"""The fault inside a model: one unit of one layer is broken, and a record says which."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from saywhy.errors import UsageError, unknown


@dataclass(frozen=True)
class Corruption:
    """What was broken: the unit (output channel) of the layer, and how."""

    layer: str
    unit: int
    how: str


def _noise(weight: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(weight.shape, generator=dice).to(weight)
    return drawn * weight.std() * 3


HOW: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "dead": lambda weight, dice: torch.zeros_like(weight),
    "inverted": lambda weight, dice: -weight,
    "noise": _noise,
    "loud": lambda weight, dice: weight * 8,
}


def corrupt_unit(
    model: nn.Module, layer: str, unit: int, *, how: str = "noise", seed: int = 0
) -> tuple[nn.Module, Corruption]:
    """A copy of a model in which one unit's incoming weights and bias are broken, and the record of it.

    `layer` is the dotted name of a convolution or linear layer; `how` a row of `HOW`. The model given is left
    as it is; `copy.deepcopy(model)` is its clean control.

    Raises:
        UsageError: no such layer, unit or way, or a layer without weights per output channel.
    """
    if how not in HOW:
        raise unknown("corruption", how, HOW)
    broken = copy.deepcopy(model)
    parts = dict(broken.named_modules())
    if layer not in parts:
        raise unknown("layer", layer, [n for n, m in parts.items() if isinstance(m, nn.Conv2d | nn.Linear)])
    target = parts[layer]
    if not isinstance(target, nn.Conv2d | nn.Linear):
        raise UsageError(f"the layer {layer!r} is a {type(target).__name__}; give a Conv2d or Linear layer")
    if not 0 <= unit < target.weight.shape[0]:
        raise UsageError(f"the layer {layer!r} has units 0 to {target.weight.shape[0] - 1}, not {unit}")
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        target.weight[unit] = HOW[how](target.weight[unit], dice)
        if target.bias is not None:
            target.bias[unit] = HOW[how](target.bias[unit : unit + 1], dice)[0] if how != "noise" else 0.0
    return broken, Corruption(layer, unit, how)
