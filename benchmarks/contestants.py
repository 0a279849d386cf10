"""saywhy and the peers under one contract: images (N, 3, H, W) in [0, 1] and their classes go in, maps come out.

A contestant is made once (hooks, objects) and then called many times; everybody normalises the images, runs the
network that is its own copy, and returns what its package returns.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from networks import Subject
from saywhy import saliency
from saywhy.saliency import display

Call = Callable[[Tensor, list[int]], Tensor]


def plain(s: Subject) -> Call:
    """The forward pass alone."""
    prepare = s.normalised()

    def call(images: Tensor, _: list[int]) -> Tensor:
        with torch.no_grad():
            return s.net(prepare(images))

    return call


def ours(method: str, **options: object) -> Callable[[Subject], Call]:
    def make(s: Subject) -> Call:
        s.clf.point  # noqa: B018  found once, when a classifier is first tapped
        return lambda images, classes: saliency(s.clf, images, classes, method=method, **options).display

    return make


# --------------------------------------------------------------------------------------------------
# Peers; imported when they are made, because each may be missing.


def grad_cam(name: str) -> Callable[[Subject], Call]:
    """A method of the package grad-cam; its progress bar, which cannot be switched off, goes nowhere."""

    def make(s: Subject) -> Call:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        extra = {}
        if name == "AblationCAM":
            extra["ablation_layer"] = _ablation_layer(s)
        method = getattr(pytorch_grad_cam, name)(s.net, [s.layer], reshape_transform=s.reshape, **extra)
        prepare = s.normalised()

        def call(images: Tensor, classes: list[int]) -> Tensor:
            with contextlib.redirect_stderr(io.StringIO()):
                return torch.from_numpy(method(prepare(images), [ClassifierOutputTarget(c) for c in classes]))

        return call

    return make


def _ablation_layer(s: Subject) -> object:
    """grad-cam's own layer; for tokens one that puts zeros on the grid, where its own puts -1e7 on every token."""
    from pytorch_grad_cam.ablation_layer import AblationLayer

    if s.reshape is None:
        return AblationLayer()
    prefix = s.clf.point.grid.prefix

    class Zeros(AblationLayer):
        def set_next_batch(self, input_batch_index: int, activations: Tensor, num_channels_to_ablate: int) -> None:
            self.activations = activations[input_batch_index].expand(num_channels_to_ablate, -1, -1).clone()

        def __call__(self, _: Tensor) -> Tensor:
            for row, channel in zip(self.activations, self.indices, strict=False):
                row[prefix:, channel] = 0
            return self.activations

    return Zeros()


def torchcam(name: str) -> Callable[[Subject], Call]:
    def make(s: Subject) -> Call:
        import torchcam.methods

        method = getattr(torchcam.methods, name)(s.net, s.layer, reshape_transform=s.reshape)
        prepare = s.normalised()
        score = name == "ScoreCAM"

        def call(images: Tensor, classes: list[int]) -> Tensor:
            with torch.no_grad() if score else contextlib.nullcontext():
                scores = s.net(prepare(images))
            found: Tensor = method(classes, None if score else scores, normalized=False)[0].detach()
            return found

        return call

    return make


def captum(s: Subject) -> Call:
    """captum has no notion of tokens: on a transformer its time counts, its map means nothing."""
    from captum.attr import LayerGradCam

    method = LayerGradCam(s.net, s.layer)
    prepare = s.normalised()
    return lambda images, classes: method.attribute(
        prepare(images), torch.tensor(classes, device=s.clf.device)
    ).detach()[:, 0]


def dianna(masks: int, keep: float = 0.5) -> Callable[[Subject], Call]:
    def make(s: Subject) -> Call:
        import numpy as np
        from dianna.methods.rise_image import RISEImage

        prepare = s.normalised()

        def ask(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return s.net(prepare(torch.from_numpy(images))).softmax(dim=1).numpy()

        def call(images: Tensor, classes: list[int]) -> Tensor:
            with contextlib.redirect_stderr(io.StringIO()):
                method = RISEImage(n_masks=masks, feature_res=7, p_keep=keep)
                return torch.from_numpy(method.explain(ask, images[0].numpy(), classes[:1], batch_size=16))

        return call

    return make


def torchxai(masks: int) -> Callable[[Subject], Call]:
    def make(s: Subject) -> Call:
        from torchxai.methods.rise import RISE

        method = RISE(s.net, n_masks=masks, batch_size=16)
        prepare = s.normalised()
        return lambda images, classes: torch.from_numpy(method(prepare(images[:1]), classes[0]))[None]

    return make


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """`package` must be installed; None is saywhy's own or torch's."""

    make: Callable[[Subject], Call]
    package: str | None = None


MASKS = 200
CONTESTANTS: dict[str, dict[str, Contestant]] = {
    "grad-cam": {
        "plain forward": Contestant(plain),
        "saywhy": Contestant(ours("grad-cam")),
        "grad-cam": Contestant(grad_cam("GradCAM"), "grad-cam"),
        "torchcam": Contestant(torchcam("GradCAM"), "torchcam"),
        "captum": Contestant(captum, "captum"),
    },
    "ablation-cam": {
        "plain forward": Contestant(plain),
        "saywhy": Contestant(ours("ablation-cam")),
        "grad-cam": Contestant(grad_cam("AblationCAM"), "grad-cam"),
    },
    "score-cam": {
        "plain forward": Contestant(plain),
        "saywhy": Contestant(ours("score-cam")),
        "grad-cam": Contestant(grad_cam("ScoreCAM"), "grad-cam"),
        "torchcam": Contestant(torchcam("ScoreCAM"), "torchcam"),
    },
    "rise": {
        "plain forward": Contestant(plain),
        "saywhy": Contestant(ours("rise", masks=MASKS)),
        "dianna": Contestant(dianna(MASKS), "dianna"),
        "torchxai-explain": Contestant(torchxai(MASKS), "torchxai-explain"),
    },
}


def shown(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps of any contestant as display maps (N, H, W), to compare them."""
    return display(maps.detach().float(), size)[0]
