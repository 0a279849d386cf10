"""The classifier to explain, white box or black box.

N images (N, 3, H, W) float in [0, 1], RGB; C classes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.calls import cut
from saywhy.errors import ModelError, UsageError, no_inside, unknown
from saywhy.hooks import untouched
from saywhy.identity import told_of
from saywhy.image import Box, Picture, Preprocess, Source, frame, read
from saywhy.layers import Layers, Point
from saywhy.locking import ALONE, once
from saywhy.outputs import Read, logits_of
from saywhy.passes import speaking_of, tally
from saywhy.precision import SINGLE, exactly
from saywhy.probe import Given, pictures
from saywhy.tap import Tap
from saywhy.targets import Class, class_index
from saywhy.wrappers import device_of, original, other_input, tensors_of

Activation = Literal["softmax", "sigmoid", "none"]
GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow makes grey of colours
CHANNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "RGB": lambda x: x,
    "BGR": lambda x: x.flip(1),
    "L": lambda x: sum(w * x[:, i : i + 1] for i, w in enumerate(GREY)),  # type: ignore[dict-item,return-value]
}
GIVEN = "a tensor: taken as the classifier's input, neither scaled nor cut"
ROUNDED = 0.02  # a server that rounds gives probabilities that sum to 1 up to this
DEFAULT_BATCH = 16
# What one core has room for in its caches: lite0 takes 17.6 ms an image in fours, 23.7 in eights, 29.4 in sixteens.
CPU_BATCH = 4
# A GPU is kept busy by more; of larger images fewer are taken, so that they need no more memory.
GPU_BATCH, GPU_PIXELS = 64, 64 * 224 * 224


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A classifier and what is needed to ask it: layer, classes, preprocessing, meaning of its scores.

    `net` is any `nn.Module`, or a callable images (N, 3, H, W) in [0, 1] -> scores (N, C) (black box, which normalises
    for itself). A module in which no layer has a grid over the image is asked for its scores alone, as a black box is;
    of a compiled or parallel one the module within is taken. `layer` is a dotted name or module; None finds the last
    spatial layer by a dry run, and `layer_reason` tells why that one. `activation` says what makes probabilities of the
    scores: "softmax", "sigmoid" (multi-label, or one logit), or "none" where they are probabilities already.
    `scores_from` says which of several outputs the scores are: a key, a field's name, or a number; `device` where the
    network lies. `name` tells a callable from others in its fingerprint, unless `black_box_fingerprint` does (None:
    nothing does). `notes` says what was guessed about it, in words that every explanation repeats. The network's hooks,
    gradients, modes, weights and the RNG are left exactly as found by everything that is asked of it. Threads may share
    it.

    Raises:
        UsageError: a layer that does not exist, duplicate settings, a net that is not callable.
    """

    net: nn.Module | Callable[[Tensor], Tensor]
    layer: str | nn.Module | None = None
    classes: Sequence[str] | None = None
    preprocess: Preprocess = Preprocess()
    activation: Activation = "softmax"
    name: str = ""
    device: str = ""
    batch_size: int | None = None
    grid: tuple[int, int] | None = None
    prefix_tokens: int | None = None
    suffix_tokens: int | None = None
    channels_last: bool = False
    black_box_fingerprint: str | None = ""
    notes: tuple[str, ...] = ()
    scores_from: str | int | None = None
    _points: dict[object, Point | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.net):
            raise UsageError(f"a classifier is an nn.Module or a callable, not {type(self.net).__name__}")
        if self.activation not in ("softmax", "sigmoid", "none"):
            raise UsageError(f"activation must be softmax, sigmoid or none, not {self.activation!r}")
        if not isinstance(self.layer, (str, nn.Module, type(None))):
            raise UsageError(
                f"layer names one layer, a dotted name or a module, not a {type(self.layer).__name__}; several are "
                "tapped at once with clf.tap(images, layers=[...])"
            )
        object.__setattr__(self, "net", original(self.net))
        if not self.device:
            object.__setattr__(self, "device", device_of(self.net))
        if isinstance(self.net, nn.Module):
            if isinstance(self.layer, str):
                self._submodule(self.layer)
        elif self.layer is not None:
            raise no_inside("layers", "leave `layer` out")

    # -- who it is ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        H, W = self.preprocess.size
        kind = type(self.net).__name__ if self.is_network else "a black box"
        classes = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"<Classifier {self.name or kind}: {kind}{classes}, {H} x {W}, {self.activation}, {self.device}>"

    @property
    def white_box(self) -> bool:
        """Whether layers, maps and gradients can be had: of a network in which a layer was named, or is found."""
        return self.is_network and (self.layer is not None or self._find(None) is not None)

    @property
    def is_network(self) -> bool:
        """Whether it is an `nn.Module`: its images are normalised for it and put on its device."""
        return isinstance(self.net, nn.Module)

    @property
    def rows(self) -> int:
        """Images in one forward pass: `batch_size`, or what the device does best; it changes the speed alone."""
        if self.batch_size or not self.is_network:
            return self.batch_size or DEFAULT_BATCH
        if torch.device(self.device).type == "cpu":
            return CPU_BATCH
        H, W = self.preprocess.size
        return max(1, min(GPU_BATCH, GPU_PIXELS // (H * W)))

    @property
    def fingerprint(self) -> str:
        """Hash of weights, operations, preprocessing and activation: equal for equal classifiers from any file.

        It is taken anew each time, because weights can be changed. A black box has its name, or what its loader knows
        of it, in place of weights; see `lasting`.
        """
        digest = hashlib.sha256(json.dumps([self.preprocess.told(), self.activation]).encode())
        if isinstance(self.net, nn.Module):
            with ALONE:
                for told in told_of(self.net):
                    digest.update(told)
        else:
            digest.update((self._said or repr(self.net)).encode())
        return digest.hexdigest()[:16]

    @property
    def lasting(self) -> bool:
        """Whether another process finds the same fingerprint: not for a plain callable that nobody gave a name."""
        return self.is_network or bool(self._said)

    @property
    def _said(self) -> str:
        return "" if self.black_box_fingerprint is None else self.black_box_fingerprint or self.name

    @once
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes; "class 7" where the user gave none."""
        count = self._score_count
        if self.classes is None:
            return tuple(f"class {i}" for i in range(count))
        if len(self.classes) == 2 and count == 1:  # one logit, two names: not this, this
            return tuple(str(c) for c in self.classes)
        if len(self.classes) != count:
            raise UsageError(f"{len(self.classes)} class names for a model with {count} scores; give one name a score")
        if isinstance(self.classes, tuple) and all(isinstance(c, str) for c in self.classes):
            return self.classes  # as they came: with their WordNet ids, if they have some
        return tuple(str(c) for c in self.classes)

    def class_index(self, name: Class) -> int:
        """The index of a class given by index or name."""
        return class_index(name, self.class_names, len(self.class_names))

    @once
    def exclusive(self) -> bool:
        """Whether an image is of one class: the probabilities of noise sum to 1. Else each class is a label that is
        present or absent whatever the others are."""
        if self.activation == "softmax":
            return True
        p = self.to_probabilities(self._run(pictures(self.preprocess.size, self.preprocess.planes), count=False))
        return bool(((p.sum(dim=1) - 1).abs() <= ROUNDED).all())

    @once
    def _score_count(self) -> int:
        H, W = self.preprocess.size
        return int(self._run(torch.full((1, self.preprocess.planes, H, W), 0.5), count=False).shape[1])

    # -- asking it ---------------------------------------------------------------------------------

    def read(self, source: Source | Picture | Tensor) -> Picture:
        """A picture as its files are to be read for this classifier: `preprocess.window` and `preprocess.exif`.

        A tensor (3, H, W) of bytes is a photo; one of floats in [0, 1] is the classifier's input as it is, in 8 bits; a
        batch of one is one.

        Raises:
            InputError: it cannot be read.
            UsageError: a thing of another kind, or a tensor of another shape, range or size.
        """
        if isinstance(source, Tensor):
            return of_tensor(source, self.preprocess)
        return read(source, self.preprocess)

    def prepare(self, pictures: Sequence[Picture]) -> tuple[Tensor, list[Box]]:
        """Images (N, 3, H, W) as the classifier sees them, and the box of each photo that it sees."""
        framed = [frame(p, self.preprocess) for p in pictures]
        return torch.from_numpy(np.stack([f for f, _ in framed])), [box for _, box in framed]

    def logits(self, images: Tensor, *, batch_size: int | None = None) -> Tensor:
        """Scores (N, C) as the network gives them, float32, where the images lie; no gradient.

        Raises:
            UsageError: images that are not (N, 3, H, W) floats in [0, 1].
            ModelError: the network raises, or returns NaN or a wrong shape.
        """
        check_images(images, self.preprocess.planes)
        size = batch_size or self.rows
        parts = [self._run(images[i : i + size]) for i in range(0, len(images), size)]
        return (torch.cat(parts) if len(parts) != 1 else parts[0]).to(images.device)

    def probabilities(self, images: Tensor, *, batch_size: int | None = None) -> Tensor:
        """Probabilities (N, C)."""
        return self.to_probabilities(self.logits(images, batch_size=batch_size))

    def to_probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities of scores (N, C, ...)."""
        if self.activation == "softmax":
            return scores.softmax(dim=1)
        return scores.sigmoid() if self.activation == "sigmoid" else scores

    def fine_probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities of scores (N, C) in double precision, on the host, for evidence in log-odds.

        Single precision makes 1 of 1 - 1e-9. Scores that are probabilities have been through it: they are not
        told nearer to 1 than `SINGLE`.
        """
        p = self.to_probabilities(scores.cpu().double())
        return p.clamp(max=1 - SINGLE) if self.activation == "none" else p

    def forward(self, images: Tensor) -> Tensor:
        """Scores with whatever gradients the caller's mode asks for, for training on top of the frozen network."""
        tally(forward=len(images))
        if not self.is_network:
            return self._expand(self._ask(images))
        with ALONE:
            return self._expand(self.scores_of(self.net(self.inputs(images))))

    def at_home(self, images: Tensor) -> Tensor:
        """Images where the network lies, so that what is made of them is made there; a black box takes any."""
        return images.to(self.device) if self.is_network else images

    def inputs(self, images: Tensor) -> Tensor:
        """Images as the network takes them: normalised, on its device, in its dtype and memory format."""
        if not self.is_network:
            return images
        images = self.at_home(images)
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.preprocess.mean, self.preprocess.std))
        x = CHANNELS[self.preprocess.channels]((images - mean).div_(std)).to(self._dtype)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    @once
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
            tally(forward=len(images))
        with self._speaking():
            if isinstance(self.net, nn.Module):
                with untouched(self.net), torch.inference_mode(False), torch.no_grad():
                    x = self.inputs(images)
                    scores = self.scores_of(self.net(x.clone() if x.is_inference() else x))
            else:
                scores = self._ask(images)
        return self._checked(scores, len(images))

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Says who raised, and, where the network takes no RGB pictures, how one is made that does."""
        try:
            with speaking_of(self.name or "the model"):
                yield
        except ModelError as e:
            wanted = other_input(self.net)
            if wanted is None or e.__cause__ is None:
                raise
            raise ModelError(f"{e}. {wanted}") from e.__cause__

    def _ask(self, images: Tensor) -> Tensor:
        answer: object = self.net(images.clone())  # one that normalises in place would write into the caller's images
        return self.scores_of(tensors_of(answer))

    @property
    def scores_of(self) -> Read:
        """What reads the scores from whatever the network returns."""
        return partial(logits_of, key=self.scores_from, classes=None if self.classes is None else len(self.classes))

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
                f"{self._no_layer}; name one with layer=..., or use a method that needs only its scores (rise, "
                "occlusion)"
            )
        return point

    @property
    def layer_reason(self) -> str:
        """Which layer is tapped and why, in words."""
        if self.white_box:
            return self.point.reason
        return f"none: {self._no_layer if self.is_network else 'a black box'}, only its scores are known"

    def lacks(self, what: str) -> UsageError:
        """The error for what cannot be had of it ("layers", "gradients"), and the way out."""
        if not self.is_network or self.white_box:
            return no_inside(what)
        return UsageError(f"{self._no_layer}; use a method that needs only its scores (rise, occlusion)")

    @property
    def _no_layer(self) -> str:
        if isinstance(self.net, torch.jit.ScriptModule):
            return "a program of TorchScript, whose layers cannot be read"
        return "no layer of this network gives a grid over the image that everything flows through"

    def fine_point(self, at_least: int = 12) -> Point | None:
        """A deeper-in layer with a finer grid, for edges that follow the object; None where there is none."""
        point = self._find(self.layer)
        if point is None or min(point.size) >= at_least:
            return None
        key = ("grid", at_least)
        with ALONE, exactly():  # threads that come first at the same moment search once
            if key not in self._points:
                fine = self._layers.last(at_least=at_least)
                self._points[key] = fine if fine is not None and fine.tail.clean else None
            return self._points[key]

    def _find(self, layer: str | nn.Module | None) -> Point | None:
        if not self.is_network:
            raise no_inside("layers")
        with ALONE, exactly():  # threads that come first at the same moment search once
            if layer not in self._points:
                self._points[layer] = self._searched(layer)
            return self._points[layer]

    def _searched(self, layer: str | nn.Module | None) -> Point | None:
        given = Given(self.grid, self.prefix_tokens, self.suffix_tokens)
        layers: Layers = self._layers
        with speaking_of(self.name or "the model"):
            return layers.last(given=given) if layer is None else layers.named(layer, given)

    def _submodule(self, path: str) -> nn.Module:
        assert isinstance(self.net, nn.Module)
        try:
            return self.net.get_submodule(path)
        except RuntimeError:  # of a program
            raise UsageError(f"layer {path!r}: {self._no_layer}; leave it out") from None
        except AttributeError:
            raise unknown("layer", path, [p for p, _ in self.net.named_modules() if p]) from None

    @once
    def _layers(self) -> Layers:
        assert isinstance(self.net, nn.Module)
        with self._speaking():
            return Layers(self.net, self.inputs(pictures(self.preprocess.size, self.preprocess.planes)), self.scores_of)

    # -- tapping -----------------------------------------------------------------------------------

    def tap(self, images: Tensor, layers: Sequence[str | nn.Module | Point] | None = None) -> Tap:
        """One forward pass, cut at the tapped layer (or at each of `layers`).

        A black box gives a Tap with scores and no maps.
        """
        check_images(images, self.preprocess.planes)
        if not layers and not self.white_box:
            images = self.at_home(images)
            return Tap(self, images, self.logits(images), {})
        if not self.is_network:
            raise no_inside("layers", "leave `layers` out")
        assert isinstance(self.net, nn.Module)
        points = [p if isinstance(p, Point) else self._named(p) for p in layers or ()] or [self.point]
        tally(forward=len(images))
        images = self.at_home(images)
        # A caller in inference mode must not break the graph, nor one without gradients.
        with speaking_of(self.name or "the model"), torch.inference_mode(False), torch.enable_grad():
            read = cut(
                self.net, self.inputs(images), [p.call for p in points], any(p.recorded for p in points), self.scores_of
            )
            graph = self._expand(read.scores)
        logits = self._checked(read.scores, len(images))
        return Tap(self, images, logits, {p.path: p for p in points}, read, graph)

    def _named(self, layer: str | nn.Module) -> Point:
        point = self._find(layer)
        assert point is not None
        return point

    def probe_batch(self, images: Tensor) -> int:
        """The batch size with the most images a second, found by timing 4, 8, 16 and 32 once; not counted.

        On a GPU 64, 128 and 256 too, as far as its memory goes.
        """
        if self.batch_size:
            return self.batch_size
        best = (float("inf"), DEFAULT_BATCH)
        for size in (4, 8, 16, 32) if torch.device(self.device).type == "cpu" else (4, 8, 16, 32, 64, 128, 256):
            took = self._seconds(self.at_home(images[:1]).expand(size, *images.shape[1:]))
            best = min(best, (took / size, size))
        return best[1]

    def _seconds(self, images: Tensor) -> float:
        """What one pass takes, the second of two: the first pays for what is set up once; infinite without memory."""
        try:
            for _ in range(2):
                start = time.perf_counter()
                self._run(images, count=False)  # asks whether the scores are finite, and so waits for the device
        except ModelError as e:
            if isinstance(e.__cause__, torch.OutOfMemoryError):
                return float("inf")
            raise
        return time.perf_counter() - start


def in_colours(clf: Classifier, what: str) -> None:
    """Raises UsageError for a classifier of other bands than colours: `what` is done with pictures in colours alone."""
    if clf.preprocess.planes != 3:
        raise UsageError(
            f"{what} from pictures in colours alone, and this classifier takes {clf.preprocess.planes} bands"
        )


def of_tensor(image: Tensor, how: Preprocess) -> Picture:
    """A photo (3, H, W) of bytes, or the very input of a classifier (3, H, W) in [0, 1], rounded to 8 bits.

    Raises:
        UsageError: another shape or range, or floats of another size than the classifier's input.
    """
    image = image[0] if image.dim() == 4 and len(image) == 1 else image
    C = how.planes
    if image.dim() != 3 or image.shape[0] != C:
        raise UsageError(f"one picture as a tensor is ({C}, H, W) or (1, {C}, H, W); got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.dtype == torch.uint8:
        return read(image.permute(1, 2, 0).numpy(), how if C == 3 else how.of_planes())
    check_images(image[None], C)
    if tuple(image.shape[1:]) != how.size:
        raise UsageError(
            f"a tensor of floats is the classifier's input, ({C}, {how.size[0]}, {how.size[1]}); got "
            f"{tuple(image.shape)}. Give the photo as a path, a PIL image, an array (H, W, 3) or a tensor of bytes to "
            "have it scaled and cut"
        )
    if C != 3:
        values = image.float().clamp(0, 1).permute(1, 2, 0).contiguous().numpy()
        found = read(values, replace(how.of_planes(), window=(0.0, 1.0)))
        return replace(found, notes=(GIVEN, *found.notes), framed=True)
    pixels = (255 * image.float().clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Picture(pixels, None, hashlib.sha256(pixels.tobytes()).hexdigest(), (GIVEN,), framed=True)


def check_images(images: Tensor, planes: int = 3) -> None:
    """Raises UsageError unless images are (N, planes, H, W) floats in [0, 1]."""
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != planes or not len(images):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise UsageError(f"images must be a tensor (N, {planes}, H, W) with N >= 1; got {got}")
    if not images.is_floating_point():
        raise UsageError(f"images must be floats in [0, 1]; got {images.dtype}, divide 0..255 values by 255")
    low, high = (float(v) for v in images.aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails
        raise UsageError(
            f"images must lie in [0, 1]; got {low:.3g} to {high:.3g}. The classifier normalises them itself"
        )
