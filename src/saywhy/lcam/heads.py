"""L-CAM: a learned linear map from a layer's channels to where a class is seen; one forward pass explains any class.

N images, K channels of h x w cells, R classes, m classes asked of an image, r the rank. A (N, K, h, w) the tapped
layer's activations, B (N, J, H', W') those of a finer layer, L (N, m, h, w) the raw maps.

Forms. "rows", as published: one trained row a class, L = sum_k w_ck A_k + b_c. "shared": the class's row is a
low-rank function of the classifier's own row, the same for all classes, so classes without a picture are explained
too. Both equal CAM before training, up to one positive factor that brings the raw map into the sigmoid's range.
A third form, "refined" (see `refine`), puts CAM and other maps of the same pass together by a small network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from saywhy import files
from saywhy.classifier import Classifier
from saywhy.errors import InputError, UsageError, unknown
from saywhy.layers import Point
from saywhy.lcam.refine import Refined, principal
from saywhy.tap import Tap

FORMAT = 1  # of the file
OWN_IMAGES = 8  # whose gradients give the classifier's own rows where these differ between images


# --------------------------------------------------------------------------------------------------
# Forms.


class Rows(nn.Module):
    """The published form: `weight` (R, K) and `bias` (R), R (K + 1) numbers. Source: L-CAM, equations 2 and 3."""

    def __init__(self, own: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(own.clone() * gain)
        self.bias = nn.Parameter(own.new_zeros(len(own)))

    def forward(self, features: Sequence[Tensor], classes: Tensor, scores: Tensor) -> Tensor:
        """L (N, m, h, w) of features [A] for classes (N, m); the images' scores do not matter."""
        L = torch.einsum("nmk,nkhw->nmhw", self.weight[classes], features[0])
        return L + self.bias[classes][..., None, None]


class Shared(nn.Module):
    """The classifier's own row plus what a low-rank map makes of it plus a row for all classes ("an object is here").

    row_c = own_c + V U own_c + o over normalised channels (each divided by its `spread`). With a finer layer B a
    second such row, V' U own_c + o', adds detail. V, V', o, o' start at 0: before training L is `gain` times CAM.
    """

    own: Tensor
    spread: Tensor
    fine_spread: Tensor

    def __init__(
        self, own: Tensor, gain: float = 1.0, *, rank: int = 32, spread: Tensor | None = None,
        fine_spread: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        K = own.shape[1]
        spread = own.new_ones(K) if spread is None else spread
        fine = own.new_ones(0) if fine_spread is None else fine_spread
        self.register_buffer("own", own * spread * gain)
        self.register_buffer("spread", spread)
        self.register_buffer("fine_spread", fine)
        start = torch.randn(rank, K, generator=torch.Generator().manual_seed(0)).to(own)
        self.down = nn.Parameter(start / self.own.norm(dim=1).mean().clamp_min(1e-12))
        self.up = nn.Parameter(own.new_zeros(K, rank))
        self.all_classes = nn.Parameter(own.new_zeros(K))
        self.bias = nn.Parameter(own.new_zeros(1))
        if len(fine):
            self.fine_up = nn.Parameter(own.new_zeros(len(fine), rank))
            self.fine_all_classes = nn.Parameter(own.new_zeros(len(fine)))

    def forward(self, features: Sequence[Tensor], classes: Tensor, scores: Tensor) -> Tensor:
        """L (N, m, h, w) of features [A] or [A, B] for classes (N, m), at B's resolution where B is used; the images'
        scores do not matter."""
        own = self.own[classes]
        code = own @ self.down.T
        rows = own + code @ self.up.T + self.all_classes
        L = torch.einsum("nmk,nkhw->nmhw", rows / self.spread, features[0])
        if len(self.fine_spread):
            B = features[1]
            detail = torch.einsum(
                "nmk,nkhw->nmhw", (code @ self.fine_up.T + self.fine_all_classes) / self.fine_spread, B
            )
            L = F.interpolate(L, B.shape[2:], mode="bilinear", align_corners=False) + detail
        return L + self.bias


Head = Rows | Shared | Refined
FORMS: dict[str, type[Head]] = {"rows": Rows, "shared": Shared, "refined": Refined}


# --------------------------------------------------------------------------------------------------
# A head and the classifier that it belongs to.


@dataclass(frozen=True, eq=False)
class LCam:
    """A head for one classifier: its `form` (a row of FORMS), the `layers` that it reads (coarse, then fine), the
    classifier's `fingerprint`, and a `card` that says how it was made."""

    head: Head
    form: str
    layers: tuple[str, ...]
    fingerprint: str
    card: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        kind = self.card.get("kind", "not trained")
        return f"l-cam head ({self.form}, {kind}) for the classifier {self.fingerprint}"

    def maps(self, tap: Tap, classes: Tensor) -> Tensor:
        """Raw maps L (N, m, h, w) of classes (N, m), without min-max; a tap that lacks a layer costs one more pass."""
        if any(path not in tap.points for path in self.layers):
            tap = tap.clf.tap(tap.images, self.points(tap.clf))
        known = self.head.weight if isinstance(self.head, Rows) else self.head.own
        classes = classes.to(tap.logits.device)
        if int(classes.max()) >= len(known):
            raise UsageError(f"the head knows {len(known)} classes; class {int(classes.max())} is not among them")
        L: Tensor = self.head([tap.maps(path) for path in self.layers], classes, tap.logits)
        return L

    def points(self, clf: Classifier) -> list[Point]:
        """The layers of the classifier that the head reads.

        Raises:
            UsageError: the classifier is tapped elsewhere.
        """
        return points_of(clf, self.layers)

    def save(self, file: str | Path) -> Path:
        """Writes weights, fingerprint and card as one safetensors file; whole or not at all."""
        header = {
            "format": str(FORMAT), "form": self.form, "layers": json.dumps(self.layers),
            "fingerprint": self.fingerprint, "card": json.dumps(self.card, sort_keys=True),
        }  # fmt: skip
        state = {k: v.detach().cpu().contiguous() for k, v in self.head.state_dict().items()}
        return files.write(file, serialised(state, header))


def load(file: str | Path, clf: Classifier) -> LCam:
    """Reads a head that was saved for this classifier.

    Raises:
        InputError: the file cannot be read.
        UsageError: the head belongs to another classifier, or reads layers that this one is not tapped at.
    """
    try:
        with safe_open(file, "pt") as saved:
            header, state = saved.metadata() or {}, {k: saved.get_tensor(k) for k in saved.keys()}  # noqa: SIM118
        form, layers = header["form"], tuple(json.loads(header["layers"]))
        card, fingerprint = json.loads(header["card"]), header["fingerprint"]
        head = _empty(form, state)
    except Exception as e:
        raise InputError(f"{file}: no L-CAM head that can be read ({type(e).__name__}: {e})") from e
    if fingerprint != clf.fingerprint:
        raise UsageError(
            f"{file}: this head was fitted to the classifier {fingerprint}, not to {clf.name or 'this one'} "
            f"({clf.fingerprint}); its maps would mean nothing here. Fit one: saywhy fit IMAGES --parts lcam"
        )
    points_of(clf, layers)
    return LCam(head.to(clf.device), form, layers, fingerprint, card)


def _empty(form: str, state: Mapping[str, Tensor]) -> Head:
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    head: Head
    if form == "rows":
        head = Rows(state["weight"])
    elif form == "shared":
        fine = state["fine_spread"]
        finer = fine if len(fine) else None
        head = Shared(state["own"], rank=len(state["down"]), spread=state["spread"], fine_spread=finer)
    else:
        size = state["mixers.0.around.weight"].shape
        members = len({name.split(".")[1] for name in state if name.startswith("mixers.")})
        down, middle, white = (state[name] for name in ("down", "middle", "white"))
        head = Refined(
            state["own"], down=down, middle=middle, white=white, members=members, hidden=size[0], kernel=size[2]
        )
    head.load_state_dict(dict(state))
    return head.eval().requires_grad_(False)


def points_of(clf: Classifier, layers: Sequence[str]) -> list[Point]:
    """The tapped points of these names: the classifier's own layer and its finer one."""
    fine = clf.fine_point()
    known = {p.path: p for p in (clf.point, fine) if p is not None}
    for name in layers:
        if name not in known:
            raise UsageError(
                f"the head reads the layer {name!r}, but this classifier is tapped at {', '.join(known)}; load the "
                "classifier with the layer that the head was fitted to"
            )
    return [known[name] for name in layers]


# --------------------------------------------------------------------------------------------------
# The classifier's own rows, where every head starts.


def own_rows(tap: Tap, classes: int) -> Tensor:
    """The classifier's own row (R, K) of each class: h w times the mean gradient of its score at the layer.

    Behind global average pooling and one linear layer that is the layer's weight matrix, from any image. Elsewhere
    it depends on the image, and the mean over the tap's images (the first 8) is taken: it then equals Grad-CAM's
    weights on average.
    """
    graph = tap.scores_graph[:OWN_IMAGES]
    rows = [tap.grads_of(graph[:, c])[: len(graph)].sum(dim=(2, 3)).mean(dim=0) for c in range(classes)]
    return torch.stack(rows)


def start(tap: Tap, form: str = "shared", *, rank: int = 32, fine: bool = True) -> LCam:
    """An untrained head: CAM, scaled so that the maps of the tap's predicted classes have standard deviation 1.

    Raises:
        UsageError: an unknown form, a black box, a finer layer that was not tapped.
    """
    if form not in FORMS:
        raise unknown("form of the head", form, FORMS)
    classes = tap.logits.shape[1]
    paths = [p.path for p in sorted(tap.points.values(), key=lambda p: -p.order)]
    own, A = own_rows(tap, classes), tap.maps(paths[0])
    if form == "refined":
        paths = paths[: 2 if fine else 1]
        down, middle, white = principal(tap.maps(paths[-1]))
        refined = Refined(own, down=down, middle=middle, white=white).to(own.device)
        return LCam(refined.eval(), form, tuple(paths), tap.clf.fingerprint, {})
    cam = torch.einsum("nk,nkhw->nhw", own[tap.logits.argmax(dim=1)], A)
    gain = 1 / max(float(cam.std(dim=(1, 2)).mean()), 1e-12)
    head: Head
    if form == "rows":
        head, paths = Rows(own, gain), paths[:1]
    else:
        paths = paths[: 2 if fine else 1]
        finer = _spread(tap.maps(paths[1])) if len(paths) > 1 else None
        head = Shared(own, gain, rank=rank, spread=_spread(A), fine_spread=finer)
    return LCam(head.eval(), form, tuple(paths), tap.clf.fingerprint, {})


def _spread(maps: Tensor) -> Tensor:
    """The standard deviation (K,) of each channel; silent channels count as middling ones."""
    spread = maps.std(dim=(0, 2, 3)) if maps.numel() > maps.shape[1] else maps.abs().mean(dim=(0, 2, 3))
    return torch.maximum(spread, 0.1 * spread.mean()).clamp_min(1e-12)
