"""Saliency: where in the image a score comes from. A method is one function and one row in METHODS.

N images (N, 3, H, W); raw maps (N, h, w) signed, at the method's own resolution; display maps (N, H, W) in [0, 1].
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from saywhy.classifier import Classifier, check_images, of_tensor
from saywhy.errors import UsageError, unknown, whole
from saywhy.heat import laid_on
from saywhy.image import Picture, Preprocess, Source, place_of, read, seen_box
from saywhy.layers import Point
from saywhy.passes import Meter, counting
from saywhy.saliency import adapters, attention, cam, fitted, perturb
from saywhy.tap import Tap
from saywhy.targets import Target, Targets
from saywhy.zoo import Model, classifier_of

Needs = Literal["maps", "gradients", "scores", "attention", "head", "extra:captum"]
Cost = Literal["few", "many"]
Status = Literal["ok", "flat", "all_negative", "not_finite"]
Progress = Callable[[int, int], None]
Images = Tensor | Source | Picture | Sequence[Source | Picture | Tensor]


@dataclass(frozen=True)
class Method:
    """A saliency method: `function(tap, targets, **options) -> (N, h, w)` raw and signed, and what is known of it.

    `needs` says what it takes from the classifier, `passes` what it costs an image in words, `cost` whether that is a
    "few" passes through the whole network or "many" (as many as there are channels, masks or squares), `approximate`
    that it stands in for another method, `flip_equivariant` that the map of a flipped photo is the flipped map whenever
    the network itself does not tell left from right.
    """

    function: Callable[..., Tensor]
    summary: str
    source: str
    needs: Needs
    passes: str
    cost: Cost
    approximate: bool = False
    flip_equivariant: bool = True

    @cached_property
    def options(self) -> dict[str, object]:
        """The method's options and their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


METHODS: dict[str, Method] = {
    "cam": Method(
        cam.cam,
        "the class's own weights of the last layer's channels",
        "Zhou et al. 2016",
        "gradients",
        "1 forward, 1 tail backward, 3 tails",
        "few",
    ),
    "grad-cam": Method(
        cam.grad_cam,
        "channels weighted by their mean gradient",
        "Selvaraju et al. 2017",
        "gradients",
        "1 forward, 1 tail backward",
        "few",
    ),
    "grad-cam++": Method(
        cam.grad_cam_pp,
        "channels weighted by their positive gradients, small ones raised",
        "Chattopadhay et al. 2018",
        "gradients",
        "1 forward, 1 tail backward",
        "few",
    ),
    "hires-cam": Method(
        cam.hires_cam,
        "gradient times activation, cell by cell",
        "Draelos and Carin 2020",
        "gradients",
        "1 forward, 1 tail backward",
        "few",
    ),
    "layer-cam": Method(
        cam.layer_cam,
        "positive gradient times activation, cell by cell",
        "Jiang et al. 2021",
        "gradients",
        "1 forward, 1 tail backward",
        "few",
    ),
    "eigen-cam": Method(
        cam.eigen_cam,
        "the layer's first principal component, whatever the class",
        "Muhammad and Yeasin 2020",
        "maps",
        "1 forward",
        "few",
    ),
    "ablation-cam": Method(
        cam.ablation_cam,
        "channels weighted by what the score loses without them",
        "Desai and Ramaswamy 2020",
        "maps",
        "1 forward, 1 tail a channel",
        "few",
    ),
    "score-cam": Method(
        perturb.score_cam,
        "channels weighted by the probability of the image seen through them",
        "Wang et al. 2020",
        "maps",
        "2 forward + 1 a channel",
        "many",
    ),
    "score-cam-grouped": Method(
        perturb.score_cam_grouped,
        "score-cam with one mask for a group of similar channels",
        "after Wang et al. 2020",
        "maps",
        "2 forward + 1 for ten channels",
        "many",
        approximate=True,
    ),
    "rise": Method(
        perturb.rise,
        "mean of random masks, weighted by the probability that they leave",
        "Petsiuk et al. 2018",
        "scores",
        "1 forward a mask (1000)",
        "many",
        flip_equivariant=False,
    ),
    "occlusion": Method(
        perturb.occlusion,
        "probability lost when a sliding square is hidden",
        "Zeiler and Fergus 2014",
        "scores",
        "1 forward + 1 a square",
        "many",
    ),
    "finer-cam": Method(
        cam.finer_cam,
        "grad-cam of the class minus its most similar classes",
        "Zhang et al. 2025",
        "gradients",
        "1 forward, 1 tail backward",
        "few",
    ),
    "attention-rollout": Method(
        attention.attention_rollout,
        "attention multiplied through the blocks, whatever the class",
        "Abnar and Zuidema 2020",
        "attention",
        "2 forward",
        "few",
    ),
    "legrad": Method(
        attention.legrad,
        "positive gradients of the score with respect to each block's attention",
        "Bousselham et al. 2024",
        "attention",
        "2 forward, 1 backward",
        "few",
    ),
    "l-cam": Method(
        fitted.l_cam,
        "a learned map from channels to the class's place; needs a fitted head",
        "Gkartzonika et al. 2022",
        "head",
        "1 forward",
        "few",
    ),
    **{
        name: Method(a.function, a.summary, a.source, "extra:captum", a.passes, "few", flip_equivariant=False)
        for name, a in adapters.ADAPTERS.items()
    },
}


@dataclass(frozen=True, eq=False, repr=False)
class Maps:
    """Saliency of N images: `raw` (N, h, w) signed, `display` (N, H, W) in [0, 1], a `status` for each image.

    A map is "flat" when it has one value everywhere, "all_negative" when nothing speaks for the target, and
    "not_finite" when the network's gradients are; those display as zeros and their status says why. `passes` counts
    the images sent through the network and through its tail, `framing` says how photos became images.
    """

    raw: Tensor
    display: Tensor
    status: tuple[Status, ...]
    method: str
    layer: str | None
    layer_reason: str
    passes: Meter
    framing: Preprocess = Preprocess()

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        shapes = f"raw {tuple(self.raw.shape)}, display {tuple(self.display.shape)}"
        return (
            f"<Maps by {self.method} of {self.layer or 'the scores'}: {shapes}, {', '.join(sorted(set(self.status)))}>"
        )

    def overlay(self, photo: Source | Picture | Tensor, number: int = 0) -> Image.Image:
        """A photo with the map that was made of it, the `number`-th of these: `maps.overlay(photo).save("map.png")`.

        The whole photo in its own size, the map over the part that the classifier sees; a tensor (3, H, W) in [0, 1]
        is the image itself. A map whose status is not "ok" colours nothing.

        Raises:
            UsageError: no such map, or a thing that is no picture.
            InputError: the photo cannot be read.
        """
        n, how = whole("number", number, high=len(self) - 1), self.framing
        H, W = (int(v) for v in self.display.shape[1:])
        how = replace(how, size=(H, W)) if isinstance(photo, Tensor) else how
        picture = of_tensor(photo, how) if isinstance(photo, Tensor) else read(photo, how)
        box = seen_box(place_of(picture, how), how.size)
        return laid_on(picture.pixels, self.display[n].float().cpu().numpy(), box)


def saliency(
    clf: Model,
    images: Images,
    targets: Target = None,
    *,
    method: str = "grad-cam",
    layer: str | nn.Module | Point | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: object,
) -> Maps:
    """Saliency maps of images (N, 3, H, W) in [0, 1], or of photos given as paths or Pictures, one or a list.

    `clf` is a Classifier, or what `saywhy.load_classifier` takes (for many calls, load it once).
    `targets` is a class index or name, "predicted" (default), a list with one for each image, or a callable
    scores -> (N,); `progress(done, all)` is called as images are done.

    Raises:
        UsageError: unknown method, option, layer or class; a method that the classifier cannot serve.
        ModelError: the network raises, or returns NaN or a wrong shape.
    """
    row, seed = _method(method), whole("seed", seed)
    clf = classifier_of(clf)
    batch = _tensor(clf, images)
    N, size = len(batch), clf.rows
    each = _split(targets, N)
    raws: list[Tensor] = []
    where: tuple[str | None, str] = (None, "none: only the scores are asked")
    with counting() as meter, torch.inference_mode(False):
        batch = batch.clone() if batch.is_inference() else batch
        for start in range(0, N, size):
            part = batch[start : start + size]
            tap = _tap_for(row, clf, part, layer, options)
            asked = tap.resolve(each(start, start + len(part)))
            given = _given(row, seed, progress if N == 1 else None)
            raws.append(saliency_of(tap, asked, method, **given, **options).to(batch.device))
            where = (tap.point().path, tap.point().reason) if tap.points else where
            if progress is not None and N > 1:
                progress(min(start + size, N), N)
    raw = torch.cat(raws)
    shown, status = display(raw, (int(batch.shape[2]), int(batch.shape[3])))
    return Maps(raw, shown, status, method, where[0], where[1], meter, clf.preprocess)


def saliency_of(tap: Tap, targets: Targets, method: str = "grad-cam", **options: object) -> Tensor:
    """Raw signed maps (N, h, w) from a Tap that is there already; no further plain forward pass where none is needed.

    Raises:
        UsageError: unknown method or option, or a method that the classifier cannot serve.
    """
    row = _method(method)
    for name in options:
        if name not in row.options:
            raise unknown(f"option of {method}", name, row.options)
    # A caller in inference mode would otherwise get gradients without a graph.
    with torch.inference_mode(False), torch.enable_grad():
        return row.function(tap, targets, **options).detach().float()


def display(raw: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, tuple[Status, ...]]:
    """Maps (N, H, W) in [0, 1] of raw maps (N, h, w), and each one's status. The one place that does this.

    Negative values are clipped at 0 (the papers' ReLU), the map is scaled up bilinearly, and its lowest and highest
    value become 0 and 1. An "all positive" map therefore starts at 0 as well.
    """
    status = tuple(_status(m) for m in raw)
    shown = F.interpolate(raw.clamp_min(0)[:, None], image_size, mode="bilinear", align_corners=False)[:, 0]
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown = shown.sub_(low).div_((high - low).clamp_min(torch.finfo(shown.dtype).tiny))
    if set(status) != {"ok"}:
        shown[[s != "ok" for s in status]] = 0.0
    return shown, status


def _status(raw: Tensor) -> Status:
    if not bool(torch.isfinite(raw).all()):
        return "not_finite"
    low, high = float(raw.min()), float(raw.max())
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return "flat"
    return "all_negative" if high <= 0 else "ok"


def _method(name: str) -> Method:
    if name not in METHODS:
        raise unknown("saliency method", name, METHODS)
    return METHODS[name]


def _given(row: Method, seed: int, progress: Progress | None) -> dict[str, object]:
    """Seed and progress, for the methods that take them."""
    return {k: v for k, v in (("seed", seed), ("progress", progress)) if k in row.options}


def _tensor(clf: Classifier, images: Images) -> Tensor:
    if isinstance(images, Tensor):
        check_images(images, clf.preprocess.planes)
        return images
    given: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
    if given and all(isinstance(i, Tensor) and i.is_floating_point() for i in given):
        if len({i.shape for i in given}) > 1:
            raise UsageError("a list of tensors must have images of one shape; give photos to have them framed")
        return _tensor(clf, torch.stack(given))
    photos = [clf.read(p) for p in given]
    if not photos:
        raise UsageError("no image was given")
    return clf.prepare(photos)[0]


def _tap(clf: Classifier, images: Tensor, layer: str | nn.Module | Point | None) -> Tap:
    return clf.tap(images) if layer is None else clf.tap(images, [layer])


def _tap_for(
    row: Method, clf: Classifier, images: Tensor, layer: str | nn.Module | Point | None, options: dict[str, object]
) -> Tap:
    if row.needs in ("scores", "extra:captum"):
        return _scores_only(clf, images)
    if row.needs == "head" and isinstance(head := options.get("head"), fitted.Head):
        return clf.tap(images, head.points(clf))
    return _tap(clf, images, layer)


def _scores_only(clf: Classifier, images: Tensor) -> Tap:
    images = clf.at_home(images)
    return Tap(clf, images, clf.logits(images), {})


def _split(targets: Target, N: int) -> Callable[[int, int], Target]:
    """The part of the targets that belongs to images start to stop; a wrong number is an error at once."""
    many = isinstance(targets, (Tensor, np.ndarray)) and targets.ndim == 1
    if not many and not isinstance(targets, (list, tuple)):
        return lambda start, stop: targets
    assert isinstance(targets, (Tensor, np.ndarray, list, tuple))
    if len(targets) != N:
        raise UsageError(f"{len(targets)} targets for {N} images; give one target for all, or one for each image")
    return lambda start, stop: targets[start:stop]


# The import system sets the attribute `saliency` of the package to this module whenever anything in the folder is
# imported first, so a plain function of that name would come and go with the order of imports; and both
# `saywhy.saliency(...)` and `from saywhy.saliency import METHODS` are promised. Either the module can be called, or one
# of the two names has to change.
class _CallableModule(ModuleType):
    """This folder as `saywhy.saliency`: a module whose call is the function of the same name."""

    def __call__(self, clf: Model, images: Images, targets: Target = None, **options: Any) -> Maps:
        return saliency(clf, images, targets, **options)


sys.modules[__name__].__class__ = _CallableModule
