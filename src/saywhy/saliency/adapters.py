"""Methods of captum, an optional extra, behind the same contract. They are called, not rewritten.

captum hangs hooks and attributes on the network it explains, and needs activations that do not write in place: it gets
a copy, and the user's network is never touched. N images; maps (N, H, W), the attributions summed over the colours.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.errors import ExtraMissing, ModelError, SaywhyError, no_inside
from saywhy.hooks import untouched
from saywhy.locking import ALONE
from saywhy.passes import tally
from saywhy.tap import Tap
from saywhy.targets import Targets


@dataclass(frozen=True)
class Adapter:
    """A captum method behind saywhy's contract."""

    function: Callable[..., Tensor]
    summary: str
    source: str
    passes: str


def integrated_gradients(tap: Tap, targets: Targets, *, steps: int = 50) -> Tensor:
    """Integrated gradients from the mean colour to the image, in `steps` steps (captum)."""
    return _attributions("IntegratedGradients", tap, targets, n_steps=steps, internal_batch_size=16)


def input_x_gradient(tap: Tap, targets: Targets) -> Tensor:
    """The image times its gradient (captum)."""
    return _attributions("InputXGradient", tap, targets)


def guided_backprop(tap: Tap, targets: Targets) -> Tensor:
    """Gradients that pass a ReLU only where they are positive (captum)."""
    return _attributions("GuidedBackprop", tap, targets)


def deconvolution(tap: Tap, targets: Targets) -> Tensor:
    """Positive gradients, whatever the ReLU saw (captum)."""
    return _attributions("Deconvolution", tap, targets)


def deep_lift(tap: Tap, targets: Targets) -> Tensor:
    """DeepLIFT against the mean colour (captum); refuses networks that use one activation module twice."""
    return _attributions("DeepLift", tap, targets)


def lrp(tap: Tap, targets: Targets) -> Tensor:
    """Layer-wise relevance propagation (captum); refuses networks with layers that it has no rule for."""
    return _attributions("LRP", tap, targets)


ADAPTERS: dict[str, Adapter] = {
    "integrated-gradients": Adapter(
        integrated_gradients, "gradients along the way from the mean colour", "Sundararajan et al. 2017", "50 both ways"
    ),
    "input-x-gradient": Adapter(input_x_gradient, "pixel times gradient", "Shrikumar et al. 2016", "1 both ways"),
    "guided-backprop": Adapter(
        guided_backprop, "gradients through positive paths alone", "Springenberg et al. 2015", "1 both ways"
    ),
    "deconvolution": Adapter(deconvolution, "gradients made positive", "Zeiler and Fergus 2014", "1 both ways"),
    "deep-lift": Adapter(deep_lift, "differences from the mean colour", "Shrikumar et al. 2017", "2 both ways"),
    "lrp": Adapter(lrp, "relevance handed back layer by layer", "Bach et al. 2015", "1 both ways"),
}


class _Asked(nn.Module):
    """The network and the asked scalar of one image: inputs (M, 3, H, W) -> (M,)."""

    def __init__(self, tap: Tap, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._expand, self._scores_of = tap.clf._expand, tap.clf.scores_of
        self._target: Targets | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        tally(forward=len(inputs))
        assert self._target is not None
        return self._target.of(
            self._expand(self._scores_of(self.net(inputs))), torch.zeros(len(inputs), dtype=torch.long)
        )


def _attributions(name: str, tap: Tap, targets: Targets, **options: Any) -> Tensor:
    """Runs one of captum's methods on a copy of the network, image by image.

    Raises:
        ExtraMissing: captum is not installed.
        UsageError: a black box.
        ModelError: captum cannot explain this network; its own reason is given.
    """
    if not isinstance(tap.clf.net, nn.Module):
        raise no_inside("gradients")
    try:
        method = getattr(importlib.import_module("captum.attr"), name)
    except ImportError:
        raise ExtraMissing("captum", "captum", f"the method {name}") from None
    asked = _Asked(tap, _copied(tap.clf.net))
    maps = []
    with untouched(asked), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks and that it sets requires_grad
        for i in range(len(tap.images)):
            asked._target = targets.at(i)
            x = tap.clf.inputs(tap.images[i : i + 1]).detach().clone().requires_grad_()
            try:
                found: Tensor = method(asked).attribute(x, **options)
            except SaywhyError:
                raise
            except Exception as e:
                raise ModelError(f"captum's {name} cannot explain this network: {e}") from e
            maps.append(found.detach().float().sum(dim=1))
    return torch.cat(maps)


def _copied(net: nn.Module) -> nn.Module:
    """A copy whose activations do not write in place, which captum's hooks cannot stand."""
    with ALONE:  # between passes of other threads, not with their stubs and modes
        twin = copy.deepcopy(net)
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.__dict__["inplace"] = False
    return twin
