"""The classifier to explain, white box or black box, and the Tap: one forward pass of it cut at its layers.

N images (N, 3, H, W) float in [0, 1], RGB; C classes; maps (N, K, h, w); M replayed rows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.attending import attend
from saywhy.errors import ModelError, UsageError, no_inside, unknown
from saywhy.grid import Grid
from saywhy.image import Box, Picture, Preprocess, frame
from saywhy.tap import Layers, Point, cut, forward_with, logits_of, untouched
from saywhy.targets import Target, Targets, class_index, resolve

Activation = Literal["softmax", "sigmoid", "none"]
DEFAULT_BATCH = 16
# What one core has room for in its caches: lite0 takes 17.6 ms an image in fours, 23.7 in eights, 29.4 in sixteens.
CPU_BATCH = 4


# --------------------------------------------------------------------------------------------------
# Counting: every image that goes through the network is counted where the network is run.


@dataclass
class Meter:
    """Images sent through the whole network and through a tail alone, while a `counting` block was open."""

    forward_passes: int = 0
    tail_passes: int = 0


_METERS: ContextVar[tuple[Meter, ...]] = ContextVar("meters", default=())


@contextmanager
def counting() -> Iterator[Meter]:
    """Counts the passes made inside the block, by this thread, through any classifier."""
    meter = Meter()
    token = _METERS.set((*_METERS.get(), meter))
    try:
        yield meter
    finally:
        _METERS.reset(token)


def _count(forward: int = 0, tail: int = 0) -> None:
    for meter in _METERS.get():
        meter.forward_passes += forward
        meter.tail_passes += tail


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier and what is needed to ask it: layer, classes, preprocessing, meaning of its scores.

    `net` is any `nn.Module` (white box), or a callable images (N, 3, H, W) in [0, 1] -> scores (N, C) (black box, which
    normalises for itself). `layer` is a dotted name or module; None finds the last spatial layer by a dry run, and
    `layer_reason` tells why that one. `activation` says what makes probabilities of the scores: "softmax", "sigmoid"
    (multi-label, or one logit), or "none" where they are probabilities already. The network's hooks, gradients, modes,
    weights and the RNG are left exactly as found by everything that is asked of it.

    Raises:
        UsageError: a layer that does not exist, duplicate settings, a net that is not callable.
    """

    net: nn.Module | Callable[[Tensor], Tensor]
    layer: str | nn.Module | None = None
    classes: Sequence[str] | None = None
    preprocess: Preprocess = Preprocess()
    activation: Activation = "softmax"
    name: str = ""
    device: str = "cpu"
    batch_size: int | None = None
    grid: tuple[int, int] | None = None
    prefix_tokens: int | None = None
    channels_last: bool = False
    black_box_fingerprint: str = ""
    _points: dict[object, Point | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.net):
            raise UsageError(f"a classifier is an nn.Module or a callable, not {type(self.net).__name__}")
        if self.activation not in ("softmax", "sigmoid", "none"):
            raise UsageError(f"activation must be softmax, sigmoid or none, not {self.activation!r}")
        if isinstance(self.net, nn.Module):
            if isinstance(self.layer, str):
                self._submodule(self.layer)
        elif self.layer is not None:
            raise no_inside("layers", "leave `layer` out")

    # -- who it is ---------------------------------------------------------------------------------

    @property
    def white_box(self) -> bool:
        """Whether layers, maps and gradients can be had."""
        return isinstance(self.net, nn.Module)

    @property
    def rows(self) -> int:
        """Images in one forward pass: `batch_size`, or what the device does best; it changes the speed alone."""
        on_cpu = self.white_box and torch.device(self.device).type == "cpu"
        return self.batch_size or (CPU_BATCH if on_cpu else DEFAULT_BATCH)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, preprocessing and activation: equal for equal classifiers, whatever file they came from."""
        digest = hashlib.sha256(json.dumps([asdict(self.preprocess), self.activation]).encode())
        if isinstance(self.net, nn.Module):
            for key, value in sorted(self.net.state_dict().items()):
                digest.update(key.encode())
                if isinstance(value, Tensor):
                    digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(self.black_box_fingerprint.encode() or repr(self.net).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes; "class 7" where the user gave none."""
        count = self._score_count
        if self.classes is None:
            return tuple(f"class {i}" for i in range(count))
        if len(self.classes) == 2 and count == 1:  # one logit, two names: not this, this
            return tuple(str(c) for c in self.classes)
        if len(self.classes) != count:
            raise UsageError(f"{len(self.classes)} class names for a model with {count} scores; give one name a score")
        return tuple(str(c) for c in self.classes)

    def class_index(self, name: int | str) -> int:
        """The index of a class given by index or name."""
        return class_index(name, self.class_names, len(self.class_names))

    @cached_property
    def _score_count(self) -> int:
        H, W = self.preprocess.size
        return int(self._run(torch.full((1, 3, H, W), 0.5), count=False).shape[1])

    # -- asking it ---------------------------------------------------------------------------------

    def prepare(self, pictures: Sequence[Picture]) -> tuple[Tensor, list[Box]]:
        """Images (N, 3, H, W) as the classifier sees them, and the box of each photo that it sees."""
        framed = [frame(p, self.preprocess) for p in pictures]
        return torch.from_numpy(np.stack([f for f, _ in framed])), [box for _, box in framed]

    def logits(self, images: Tensor, *, batch_size: int | None = None) -> Tensor:
        """Scores (N, C) as the network gives them, float32; no gradient.

        Raises:
            UsageError: images that are not (N, 3, H, W) floats in [0, 1].
            ModelError: the network raises, or returns NaN or a wrong shape.
        """
        check_images(images)
        size = batch_size or self.rows
        parts = [self._run(images[i : i + size]) for i in range(0, len(images), size)]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def probabilities(self, images: Tensor, *, batch_size: int | None = None) -> Tensor:
        """Probabilities (N, C)."""
        return self.to_probabilities(self.logits(images, batch_size=batch_size))

    def to_probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities of scores (N, C, ...)."""
        if self.activation == "softmax":
            return scores.softmax(dim=1)
        return scores.sigmoid() if self.activation == "sigmoid" else scores

    def forward(self, images: Tensor) -> Tensor:
        """Scores with whatever gradients the caller's mode asks for, for training on top of the frozen network."""
        _count(forward=len(images))
        return self._expand(logits_of(self.net(self.inputs(images))))

    def inputs(self, images: Tensor) -> Tensor:
        """Images as the network takes them: normalised, on its device, in its dtype and memory format."""
        if not self.white_box:
            return images
        mean = torch.tensor(self.preprocess.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.preprocess.std, device=images.device)[:, None, None]
        x = (images - mean).div_(std).to(device=self.device, dtype=self._dtype)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    @cached_property
    def _dtype(self) -> torch.dtype:
        assert isinstance(self.net, nn.Module)
        return next((p.dtype for p in self.net.parameters() if p.is_floating_point()), torch.float32)

    def _expand(self, scores: Tensor) -> Tensor:
        # One logit with two class names is softmax over [0, z]: the sigmoid, as two classes.
        if scores.dim() == 2 and scores.shape[1] == 1 and self.classes is not None and len(self.classes) == 2:
            zero = torch.zeros_like(scores)
            if self.activation == "none":
                return torch.cat([1 - scores, scores], dim=1)
            return torch.cat([zero, scores] if self.activation == "softmax" else [-scores, scores], dim=1)
        return scores

    def _run(self, images: Tensor, *, count: bool = True) -> Tensor:
        if count:
            _count(forward=len(images))
        with _speaking_of(self.name or "the model"):
            if isinstance(self.net, nn.Module):
                with untouched(self.net), torch.inference_mode(False), torch.no_grad():
                    x = self.inputs(images)
                    scores = logits_of(self.net(x.clone() if x.is_inference() else x))
            else:
                scores = self._ask(images)
        return self._checked(scores, len(images))

    def _ask(self, images: Tensor) -> Tensor:
        answer: object = self.net(images)
        if isinstance(answer, (np.ndarray, list)):
            answer = torch.as_tensor(np.asarray(answer, dtype=np.float32))
        return logits_of(answer)

    def _checked(self, scores: Tensor, rows: int) -> Tensor:
        scores = self._expand(scores.detach().float())
        if len(scores) != rows:
            raise ModelError(f"{self.name or 'the model'} gave {len(scores)} rows of scores for {rows} images")
        if not torch.isfinite(scores).all():
            raise ModelError(
                f"{self.name or 'the model'} returned NaN or infinite scores; check its weights and the preprocessing "
                f"(mean {self.preprocess.mean}, std {self.preprocess.std})"
            )
        return scores

    # -- layers ------------------------------------------------------------------------------------

    @property
    def point(self) -> Point:
        """The tapped layer.

        Raises:
            UsageError: a black box, or a network without any layer that has a grid.
        """
        point = self._find(self.layer)
        if point is None:
            raise UsageError(
                "no layer of this network gives a grid over the image that everything flows through; name one with "
                "layer=..., or use a black-box method (rise, occlusion)"
            )
        return point

    @property
    def layer_reason(self) -> str:
        """Which layer is tapped and why, in words."""
        return self.point.reason if self.white_box else "none: a black box, only its scores are known"

    def fine_point(self, at_least: int = 12) -> Point | None:
        """A deeper-in layer with a finer grid, for edges that follow the object; None where there is none."""
        point = self._find(self.layer)
        if point is None or min(point.size) >= at_least:
            return None
        key = ("grid", at_least)
        if key not in self._points:
            self._points[key] = self._layers().last(at_least=at_least)
        return self._points[key]

    def _find(self, layer: str | nn.Module | None) -> Point | None:
        if not self.white_box:
            raise no_inside("layers")
        if layer not in self._points:
            grid = None
            if self.grid is not None or self.prefix_tokens is not None:
                grid = Grid("tokens", self.prefix_tokens or 0, self.grid)
            if layer is None:
                self._points[layer] = self._layers().last()
            else:
                assert isinstance(self.net, nn.Module)
                module = self._submodule(layer) if isinstance(layer, str) else layer
                self._points[layer] = self._layers([module]).named(layer, grid)
        return self._points[layer]

    def _submodule(self, path: str) -> nn.Module:
        assert isinstance(self.net, nn.Module)
        try:
            return self.net.get_submodule(path)
        except AttributeError:
            raise unknown("layer", path, [p for p, _ in self.net.named_modules() if p]) from None

    def _layers(self, keep: Sequence[nn.Module] = ()) -> Layers:
        assert isinstance(self.net, nn.Module)
        H, W = self.preprocess.size
        noise = torch.rand(2, 3, H, W, generator=torch.Generator().manual_seed(0))
        with _speaking_of(self.name or "the model"):
            return Layers(self.net, self.inputs(noise), keep)

    # -- tapping -----------------------------------------------------------------------------------

    def tap(self, images: Tensor, layers: Sequence[str | nn.Module | Point] | None = None) -> Tap:
        """One forward pass, cut at the tapped layer (or at each of `layers`).

        A black box gives a Tap with scores and no maps.
        """
        check_images(images)
        if not self.white_box:
            if layers:
                raise no_inside("layers", "leave `layers` out")
            return Tap(self, images, self.logits(images), {}, {}, None)
        assert isinstance(self.net, nn.Module)
        points = [p if isinstance(p, Point) else self._named(p) for p in layers or ()] or [self.point]
        _count(forward=len(images))
        # A caller in inference mode must not break the graph, nor one without gradients.
        with _speaking_of(self.name or "the model"), torch.inference_mode(False), torch.enable_grad():
            scores, raws = cut(self.net, self.inputs(images), points)
            graph = self._expand(scores)
        logits = self._checked(scores, len(images))
        return Tap(self, images, logits, {p.path: p for p in points}, raws, graph)

    def _named(self, layer: str | nn.Module) -> Point:
        point = self._find(layer)
        assert point is not None
        return point

    def probe_batch(self, images: Tensor) -> int:
        """The batch size with the most images a second, found by timing 4, 8, 16 and 32 once; not counted."""
        if self.batch_size:
            return self.batch_size
        best: tuple[float, int] = (float("inf"), DEFAULT_BATCH)
        for size in (4, 8, 16, 32):
            batch = images[:1].expand(size, *images.shape[1:])
            start = time.perf_counter()
            self._run(batch, count=False)
            best = min(best, ((time.perf_counter() - start) / size, size))
        return best[1]


def check_images(images: Tensor) -> None:
    """Raises UsageError unless images are (N, 3, H, W) floats in [0, 1]."""
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != 3 or not len(images):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise UsageError(f"images must be a tensor (N, 3, H, W) with N >= 1; got {got}")
    if not images.is_floating_point():
        raise UsageError(f"images must be floats in [0, 1]; got {images.dtype}, divide 0..255 values by 255")
    low, high = (float(v) for v in images.aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails
        raise UsageError(
            f"images must lie in [0, 1]; got {low:.3g} to {high:.3g}. The classifier normalises them itself"
        )


@contextmanager
def _speaking_of(name: str) -> Iterator[None]:
    """Turns whatever the network raises into a ModelError that says who raised it."""
    try:
        yield
    except (ModelError, UsageError):
        raise
    except Exception as e:
        raise ModelError(f"{name} raised {type(e).__name__}: {e}") from e


# --------------------------------------------------------------------------------------------------


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
        with _speaking_of(self.clf.name or "the model"), untouched(self.clf.net), torch.inference_mode(False), graph:
            own = self._raws[point.path].detach()
            raw = point.grid.from_maps(maps.to(own), own, rows)
            if raw.is_inference() or (point.tail.writes and raw.data_ptr() == maps.data_ptr()):
                raw = raw.clone()  # an in-place ReLU behind the layer would write into the caller's maps
            if point.tail.clean:
                _count(tail=len(maps))
                scores = point.tail(raw)
            else:
                _count(forward=len(maps))
                scores = forward_with(self.clf.net, self.clf.inputs(self.images[rows]), point, raw)
        return self.clf._expand(scores.float())

    def attention(self) -> tuple[Tensor, list[Tensor]]:
        """Scores (N, C) and every block's attention weights (N, heads, T, T), with their graph; one forward pass.

        Raises:
            UsageError: a black box, or a network that has no attention.
        """
        if not isinstance(self.clf.net, nn.Module):
            raise no_inside("attention")
        _count(forward=len(self.images))
        with _speaking_of(self.clf.name or "the model"), torch.inference_mode(False), torch.enable_grad():
            scores, weights = attend(self.clf.net, self.clf.inputs(self.images))
            scores = self.clf._expand(scores)
        if not weights:
            raise UsageError("this network has no attention; use a method for any network, such as grad-cam")
        return scores, weights
