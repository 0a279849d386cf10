"""The Tap: one forward pass of a network cut at its layers, with maps, gradients and replay.

N images (N, 3, H, W) float in [0, 1]; C classes; maps (N, K, h, w); T tokens; M replayed rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saywhy.attention_capture import attend
from saywhy.errors import ModelError, UsageError, no_inside
from saywhy.hooks import hooks, untouched
from saywhy.layers import Point
from saywhy.locking import ALONE
from saywhy.outputs import first_tensor, logits_of, replace_first
from saywhy.passes import speaking_of, tally
from saywhy.targets import Target, Targets, resolve

if TYPE_CHECKING:
    from saywhy.classifier import Classifier


def cut(net: nn.Module, inputs: Tensor, points: Sequence[Point]) -> tuple[Tensor, dict[str, Tensor]]:
    """One forward pass that is differentiable from the earliest point on, and the points' raw outputs.

    Before the earliest point nothing is recorded: its output is detached and made a leaf, then cloned, because an
    in-place ReLU behind it would otherwise write into the leaf.
    """
    raws: dict[str, Tensor] = {}
    first = min(points, key=lambda p: p.order)
    seen: dict[str, int] = {}

    def catcher(point: Point) -> Callable[..., Any]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            seen[point.path] = seen.get(point.path, 0) + 1
            if seen[point.path] != point.calls:
                return None
            raw = first_tensor(output)
            if raw is None:
                raise ModelError(f"layer {point.path!r} returned no tensor")
            if point is first:
                torch.set_grad_enabled(True)
                raw = raw.detach().requires_grad_()
            raws[point.path] = raw
            return replace_first(output, raw.clone())

        return hook

    pairs = [(p.module.register_forward_hook, catcher(p)) for p in points]
    with untouched(net), torch.inference_mode(False), torch.no_grad(), hooks(pairs):
        images = inputs.clone() if inputs.is_inference() else inputs
        scores = logits_of(net(images))
    missing = [p.path for p in points if p.path not in raws]
    if missing:
        raise ModelError(f"the network took another path than in the dry run and never reached {missing}")
    return scores, raws


def forward_with(net: nn.Module, inputs: Tensor, point: Point, raw: Tensor) -> Tensor:
    """The whole forward pass with one layer's output replaced by `raw`: replay where the tail is not clean."""
    seen = 0

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal seen
        seen += 1
        return replace_first(output, raw) if seen == point.calls else None

    with hooks([(point.module.register_forward_hook, hook)]):
        return logits_of(net(inputs))


@dataclass(frozen=True, eq=False)
class Tap:
    """One forward pass of N images: `logits` (N, C), the maps and gradients of the tapped layers, and replay.

    It holds the graph of the tail, so gradients for several targets cost no further forward pass.
    """

    clf: Classifier
    images: Tensor
    logits: Tensor
    points: Mapping[str, Point]
    _raws: Mapping[str, Tensor] = field(repr=False)
    _graph: Tensor | None = field(repr=False)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return (int(self.images.shape[2]), int(self.images.shape[3]))

    def point(self, layer: str | None = None) -> Point:
        """The tapped point of that name; the latest one in the network by default."""
        if not self.points:
            raise no_inside("layers")
        if layer is None:
            return max(self.points.values(), key=lambda p: p.order)
        if layer not in self.points:
            raise UsageError(f"layer {layer!r} was not tapped; tapped: {', '.join(self.points)}")
        return self.points[layer]

    def maps(self, layer: str | None = None) -> Tensor:
        """Activations (N, K, h, w), float32, detached."""
        point = self.point(layer)
        return point.grid.to_maps(self._raws[point.path].detach(), self.image_size).float()

    def grads(self, targets: Targets, layer: str | None = None) -> Tensor:
        """Gradient (N, K, h, w) of each image's target with respect to the layer."""
        with torch.inference_mode(False), torch.enable_grad():
            return self.grads_of(targets.of(self._scores()), layer)

    def grads_of(self, values: Tensor, layer: str | None = None) -> Tensor:
        """Gradient (N, K, h, w) of the sum of `values`, computed from `scores_graph`, with respect to the layer."""
        point = self.point(layer)
        raw = self._raws[point.path]
        ones = torch.ones_like(values)
        with ALONE:  # a network that checkpoints runs its modules again on the way back
            (grad,) = torch.autograd.grad(values, raw, ones, retain_graph=True, allow_unused=True)
        grad = torch.zeros_like(raw) if grad is None else grad
        return point.grid.to_maps(grad, self.image_size).float()

    @property
    def scores_graph(self) -> Tensor:
        """The scores (N, C) with their graph down to the earliest tapped layer."""
        return self._scores()

    def _scores(self) -> Tensor:
        if self._graph is None:
            raise no_inside("gradients")
        return self._graph

    def resolve(self, target: Target) -> Targets:
        """Targets of this tap's images."""
        return resolve(target, self.logits, self.clf.class_names if self.logits.dim() == 2 else ())

    def replay(self, maps: Tensor, layer: str | None = None, rows: Tensor | None = None) -> Tensor:
        """Scores (M, C) with the layer's maps replaced by `maps` (M, K, h, w).

        `rows` (M,) says which image each row belongs to (default: M = N, in order). Only what follows the layer is
        run, exactly and at any batch size; where other paths lead around the layer the whole network is run, and
        counted so.
        """
        point = self.point(layer)
        assert isinstance(self.clf.net, nn.Module)
        if rows is None:
            if len(maps) != len(self.images):
                raise UsageError(
                    f"{len(maps)} maps for {len(self.images)} images: say with `rows` which belongs to which"
                )
            rows = torch.arange(len(maps))
        # Leaving inference mode switches gradients on: they stay as the caller has them.
        graph = torch.set_grad_enabled(torch.is_grad_enabled())
        with speaking_of(self.clf.name or "the model"), untouched(self.clf.net), torch.inference_mode(False), graph:
            own = self._raws[point.path].detach()
            raw = point.grid.from_maps(maps.to(own), own, rows)
            if raw.is_inference() or (point.tail.writes and raw.data_ptr() == maps.data_ptr()):
                raw = raw.clone()  # an in-place ReLU behind the layer would write into the caller's maps
            if point.tail.clean:
                tally(tail=len(maps))
                scores = point.tail(raw)
            else:
                tally(forward=len(maps))
                scores = forward_with(self.clf.net, self.clf.inputs(self.images[rows]), point, raw)
        return self.clf._expand(scores.float())

    def attention(self) -> tuple[Tensor, list[Tensor]]:
        """Scores (N, C) and every block's attention weights (N, heads, T, T), with their graph; one forward pass.

        Raises:
            UsageError: a black box, or a network that has no attention.
        """
        if not isinstance(self.clf.net, nn.Module):
            raise no_inside("attention")
        tally(forward=len(self.images))
        with speaking_of(self.clf.name or "the model"), torch.inference_mode(False), torch.enable_grad():
            scores, weights = attend(self.clf.net, self.clf.inputs(self.images))
            scores = self.clf._expand(scores)
        if not weights:
            raise UsageError("this network has no attention; use a method for any network, such as grad-cam")
        return scores, weights
