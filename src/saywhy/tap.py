"""The Tap: one forward pass of a network cut at its layers, with maps, gradients and replay.

N images (N, 3, H, W) float in [0, 1]; C classes; maps (N, K, h, w); T tokens; M replayed rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saywhy.attention_capture import attend
from saywhy.calls import Pass, alike, forward_with
from saywhy.errors import UsageError, no_inside
from saywhy.hooks import untouched
from saywhy.layers import Point
from saywhy.locking import ALONE
from saywhy.passes import speaking_of, tally
from saywhy.targets import Target, Targets, resolve, with_graph

if TYPE_CHECKING:
    from saywhy.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Tap:
    """One forward pass of N images: `logits` (N, C), the maps and gradients of the tapped layers, and replay.

    It holds the graph of the tail, so gradients for several targets cost no further forward pass.
    """

    clf: Classifier
    images: Tensor
    logits: Tensor
    points: Mapping[str, Point]
    _pass: Pass | None = field(default=None, repr=False)
    _graph: Tensor | None = field(default=None, repr=False)
    _exact: dict[str, bool] = field(default_factory=dict, repr=False)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return (int(self.images.shape[2]), int(self.images.shape[3]))

    def point(self, layer: str | None = None) -> Point:
        """The tapped point of that name; the latest one in the network by default."""
        if not self.points:
            raise self.clf.lacks("layers")
        if layer is None:
            return max(self.points.values(), key=lambda p: p.order)
        if layer not in self.points:
            raise UsageError(f"layer {layer!r} was not tapped; tapped: {', '.join(self.points)}")
        return self.points[layer]

    def maps(self, layer: str | None = None) -> Tensor:
        """Activations (N, K, h, w), float32, detached."""
        point = self.point(layer)
        return point.grid.to_maps(self._raw(point).detach()).float()

    def _raw(self, point: Point) -> Tensor:
        assert self._pass is not None
        return self._pass.raws[point.order]

    def grads(self, targets: Targets, layer: str | None = None) -> Tensor:
        """Gradient (N, K, h, w) of each image's target with respect to the layer."""
        with torch.inference_mode(False), torch.enable_grad():
            return self.grads_of(with_graph(targets.of(self._scores())), layer)

    def grads_of(self, values: Tensor, layer: str | None = None) -> Tensor:
        """Gradient (N, K, h, w) of the sum of `values`, computed from `scores_graph`, with respect to the layer."""
        point = self.point(layer)
        raw = self._raw(point)
        ones = torch.ones_like(values)
        assert isinstance(self.clf.net, nn.Module)
        with untouched(self.clf.net):  # a network that checkpoints runs its modules again on the way back
            (grad,) = torch.autograd.grad(values, raw, ones, retain_graph=True, allow_unused=True)
        return point.grid.to_maps(torch.zeros_like(raw) if grad is None else grad).float()

    @property
    def scores_graph(self) -> Tensor:
        """The scores (N, C) with their graph down to the earliest tapped layer."""
        return self._scores()

    def _scores(self) -> Tensor:
        if self._graph is None:
            raise self.clf.lacks("gradients")
        return self._graph

    def resolve(self, target: Target) -> Targets:
        """Targets of this tap's images."""
        return resolve(target, self.logits, self.clf.class_names if self.logits.dim() == 2 else ())

    def replay(self, maps: Tensor, layer: str | None = None, rows: Tensor | None = None) -> Tensor:
        """Scores (M, C) with the layer's maps replaced by `maps` (M, K, h, w).

        `rows` (M,) says which image each row belongs to (default: M = N, in order). Only what follows the layer is
        run, exactly and at any batch size; where other paths lead around the layer the whole network is run, and
        counted so. Whether any do for these very images is asked once, by a replay of their own maps.
        """
        point = self.point(layer)
        if rows is None:
            if len(maps) != len(self.images):
                raise UsageError(
                    f"{len(maps)} maps for {len(self.images)} images: say with `rows` which belongs to which"
                )
            rows = torch.arange(len(maps))
        own = self._raw(point).detach()
        with torch.inference_mode(False):
            raw = point.grid.from_maps(maps.to(own), own, rows)
            if raw.is_inference() or (point.tail.writes and raw.data_ptr() == maps.data_ptr()):
                raw = raw.clone()  # an in-place ReLU behind the layer would write into the caller's maps
        return self.clf._expand(self._replayed(point, raw, rows).float())

    def _replayed(self, point: Point, raw: Tensor, rows: Tensor) -> Tensor:
        """Scores of raw outputs of some images' rows, through the tail if it gives the tap's own scores again."""
        assert self._pass is not None
        own, expected = self._raw(point).detach(), self._pass.scores.detach()
        with ALONE:
            if point.tail.clean and point.path not in self._exact:
                if raw.shape == own.shape and torch.equal(raw, own):  # the question asked is the one to be tested
                    kept = raw.clone()
                    scores = self._through(point, raw, None)
                    self._exact[point.path] = alike(scores.detach(), expected)
                    return scores if self._exact[point.path] else self._through(point, kept, rows)
                with torch.no_grad():
                    again = self._through(point, own.clone(), None)
                self._exact[point.path] = alike(again, expected)
        return self._through(point, raw, None if self._exact.get(point.path) else rows)

    def _through(self, point: Point, raw: Tensor, rows: Tensor | None) -> Tensor:
        """Scores of raw outputs through the tail; with `rows`, whose images they are, through the whole network."""
        net = self.clf.net
        assert isinstance(net, nn.Module) and self._pass is not None
        images = raw.shape[point.grid.batch]
        tally(**{"tail" if rows is None else "forward": images})
        # Leaving inference mode switches gradients on: they stay as the caller has them.
        graph = torch.set_grad_enabled(torch.is_grad_enabled())
        with speaking_of(self.clf.name or "the model"), untouched(net), torch.inference_mode(False), graph:
            if rows is None:
                return point.tail(raw, self._pass.random[point.order])
            return forward_with(net, self.clf.inputs(self.images[rows]), point.call, raw, self.clf.scores_of)

    def attention(self) -> tuple[Tensor, list[Tensor]]:
        """Scores (N, C) and every block's attention weights (N, heads, T, T), with their graph; one forward pass.

        Raises:
            UsageError: a black box, or a network that has no attention.
        """
        if not isinstance(self.clf.net, nn.Module):
            raise no_inside("attention")
        tally(forward=len(self.images))
        with speaking_of(self.clf.name or "the model"), torch.inference_mode(False), torch.enable_grad():
            scores, weights = attend(self.clf.net, self.clf.inputs(self.images), self.clf.scores_of)
            scores = self.clf._expand(scores)
        if not weights:
            raise UsageError("this network has no attention; use a method for any network, such as grad-cam")
        return scores, weights
