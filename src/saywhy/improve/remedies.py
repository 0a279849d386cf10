"""How a classifier is improved: rows of REMEDIES, each a function that changes the copy of a classifier in a workshop.

N pictures, n of them in a batch, D features of the last layer, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.errors import UsageError
from saywhy.improve.edits import wider
from saywhy.improve.last_layer import features, given_of, last_layer
from saywhy.improve.lessons import Ints
from saywhy.improve.workshop import Calm, Workshop, cross_entropy
from saywhy.train.loop import Config, Fitted

REFIT = Config(epochs=60, batch_size=64, lr=3e-3, weight_decay=0.0, patience=10, schedule="cosine")
TUNE = Config(epochs=5, batch_size=32, lr=5e-4, weight_decay=0.01, patience=2)
ANCHOR = 1e-3  # how strongly a re-fitted last layer is held where it was
PENALTY = 1.0  # of the cross-entropy: what the penalty is as large as at the beginning
MEASURED = 256  # pictures by which that is found
DIRECTIONS = 4  # that are taken out at most
STRIDE = 7919  # a prime: which donor a picture gets where nothing is drawn
EXPLAINED = 0.8  # of what edits do to the features that they explain


@dataclass(frozen=True)
class Applied:
    """What came of a remedy: how training ended (None: nothing was trained, or a loop of the user's did), tensors to be
    kept beside the weights, by name, and what is to be said of it."""

    ended: Fitted | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remedy:
    """One way to improve a classifier: `place`: it must be known where the culprit is."""

    what: str
    apply: Callable[[Workshop], Applied]
    place: bool = False
    source: str = ""


# --------------------------------------------------------------------------------------------------
# The last layer alone.


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Features (N, D), labels and weights (N,): what a last layer learns from."""

    features: Tensor
    labels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.features[rows], self.labels[rows], self.weights[rows]


def reweight(shop: Workshop) -> Applied:
    """Fits the last layer again, on pictures that weigh as much with the culprit as without it in every class."""
    layer = last_layer(shop.clf)
    seen = [features(shop.clf, layer, shop.frames, rows) for rows in (shop.parts.teach, shop.parts.check)]
    ended = _fitted_again(shop, layer, seen, [shop.weights(rows) for rows in (shop.parts.teach, shop.parts.check)])
    return Applied(ended, notes=_thin(shop))


def _fitted_again(shop: Workshop, layer: nn.Linear, seen: Sequence[Tensor], weights: Sequence[Tensor]) -> Fitted | None:
    """Fits a last layer to features (N, D) of the pictures that teach, and of those that choose when to stop.

    It is fitted to features of mean 0 and variance 1, and held near to what it was.
    """
    mean, spread = seen[0].mean(0), seen[0].std(0).clamp_min(1e-6)
    teach, check = (
        FeatureRows((rows - mean) / spread, shop.labels(of), weight)
        for rows, of, weight in zip(seen, (shop.parts.teach, shop.parts.check), weights, strict=True)
    )
    weight, bias = layer.weight.detach().float().cpu(), _bias(layer)
    head = nn.Linear(layer.in_features, layer.out_features)
    before = {"weight": weight * spread, "bias": bias + weight @ mean}
    head.load_state_dict(before)

    def step(batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        rows, labels, weights = batch
        fits = cross_entropy(head(rows), labels, weights)
        moved = (head.weight - before["weight"]).square().sum()
        return {"loss": fits + ANCHOR * moved, "cross-entropy": fits}

    ended = shop.trained(head, step, teach, check, REFIT)
    again = head.weight.detach() / spread
    _put(layer, again, head.bias.detach() - again @ mean)
    return ended


def _bias(layer: nn.Linear) -> Tensor:
    if layer.bias is None:
        raise UsageError(
            "the last layer has no bias, and what takes the culprit out needs one: use augment or penalise"
        )
    return layer.bias.detach().float().cpu()


@torch.no_grad()
def _put(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Gives a layer its weights."""
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _thin(shop: Workshop) -> tuple[str, ...]:
    """What to say where a group has hardly a picture to learn from."""
    kinds = [(shop.shots[r].label, bool(shop.culprit.present[r])) for r in shop.parts.teach]
    thin = sorted({k for k in set(kinds) if kinds.count(k) < 5} | ({(label, True) for label, _ in kinds} - set(kinds)))
    if not thin:
        return ()
    names = shop.clf.class_names
    label, having = thin[0]
    first = f"{names[label]} {'with' if having else 'without'} it"
    return (
        f"{len(thin)} groups have fewer than 5 pictures to learn from ({first} first): weights cannot make up for that",
    )


def ablate(shop: Workshop) -> Applied:
    """Takes out of what the last layer is given the directions in which the culprit changes it, by one projection, and
    fits the layer again to what is left: it has learned to wait for the culprit.

    The projection is the one that changes the features least, by their covariance within classes, and it is folded
    into the last layer's weights. Source: Belrose et al., LEACE, 2023; directions are those of edited pictures where it
    is known where the culprit is, else of the means with and without it.
    """
    layer, parts = last_layer(shop.clf), (shop.parts.teach, shop.parts.check)
    seen, held = (features(shop.clf, layer, shop.frames, rows).double() for rows in parts)
    labels, present = shop.labels(parts[0]), torch.from_numpy(shop.culprit.present[parts[0]])
    middle = seen[~present].mean(0)  # what has no culprit shall stay as it is, on average
    directions = _edited(shop, layer, parts[0], seen) if shop.edits is not None else _between(seen, labels, present)
    out = projection(seen - _class_means(seen, labels), directions)
    left = [((rows - middle) @ out.T + middle).float() for rows in (seen, held)]
    ended = _fitted_again(shop, layer, left, [torch.ones(len(rows)) for rows in parts])
    weight, bias = layer.weight.detach().double().cpu(), _bias(layer)
    _put(layer, weight @ out, bias + weight @ (middle - out @ middle))
    kept = {"projection": out.float(), "mean": middle.float(), "directions": directions.float()}
    return Applied(ended, kept, (f"{directions.shape[1]} of {seen.shape[1]} directions are taken out",))


def projection(within: Tensor, directions: Tensor) -> Tensor:
    """The P (D, D) with P @ directions (D, k) = 0 that moves features least, measured by their spread (N, D)."""
    spread = within.T @ within / len(within)
    spread = spread + 1e-3 * spread.diagonal().mean() * torch.eye(len(spread), dtype=spread.dtype)
    sharp = torch.linalg.solve(spread, directions)
    onto: Tensor = directions @ torch.linalg.solve(directions.T @ sharp, sharp.T)
    return torch.eye(len(spread), dtype=spread.dtype) - onto


def _class_means(seen: Tensor, labels: Tensor) -> Tensor:
    out = torch.zeros_like(seen)
    for label in set(labels.tolist()):
        out[labels == label] = seen[labels == label].mean(0)
    return out


def _between(seen: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """The mean difference (D, 1) that the culprit makes within classes that have it both ways."""
    found = [
        seen[(labels == c) & present].mean(0) - seen[(labels == c) & ~present].mean(0)
        for c in sorted(set(labels.tolist()))
        if 0 < int(((labels == c) & present).sum()) < int((labels == c).sum())
    ]
    if not found:
        raise UsageError("no class has pictures with the culprit and without it: nothing says what it does by itself")
    return torch.stack(found).mean(0)[:, None]


def _edited(shop: Workshop, layer: nn.Linear, rows: Ints, seen: Tensor) -> Tensor:
    """The directions (D, k) in which taking the culprit away, or putting it in, changes the features of pictures."""
    assert shop.edits is not None
    chosen = np.random.default_rng(shop.seed).permutation(len(rows))[: 2 * MEASURED]
    parts = [rows[chosen[i : i + shop.clf.rows]].tolist() for i in range(0, len(chosen), shop.clf.rows)]
    after = (shop.edits.turned(some, [STRIDE * row for row in some]) for some in parts)
    sign = torch.from_numpy(np.where(shop.culprit.present[rows[chosen]], 1.0, -1.0))
    moved = (seen[chosen] - given_of(shop.clf, layer, after).double()) * sign[:, None]
    mean = moved.mean(0)
    _, size, axes = torch.linalg.svd(moved, full_matrices=False)
    share = size.square().cumsum(0) / size.square().sum()
    count = min(DIRECTIONS, int((share < EXPLAINED).sum()) + 1)
    basis: Tensor = torch.linalg.qr(torch.cat([mean[:, None], axes[:count].T], dim=1)[:, :count]).Q
    return basis


# --------------------------------------------------------------------------------------------------
# The whole network.


@dataclass(frozen=True, eq=False)
class Turned:
    """Pictures of which some, drawn anew each time, have the culprit turned: images (n, 3, H, W), labels (n,)."""

    shop: Workshop
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        numbers = self.rows[rows.numpy()]
        images = self.shop.frames[numbers.tolist()].clone()
        draws = torch.randint(1 << 30, (len(rows),))
        some = (draws % 2).bool()
        if bool(some.any()):
            assert self.shop.edits is not None
            images[some] = self.shop.edits.turned(numbers[some.numpy()].tolist(), (draws[some] // 2).tolist())
        return images, self.shop.labels(numbers)


@dataclass(frozen=True, eq=False)
class Both:
    """The same pictures, each once as it is and once turned; nothing is drawn."""

    shop: Workshop
    rows: Ints

    def __len__(self) -> int:
        return 2 * len(self.rows)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        numbers, turn = self.rows[(rows // 2).numpy()], rows % 2 == 1
        images = self.shop.frames[numbers.tolist()].clone()
        if bool(turn.any()):
            assert self.shop.edits is not None
            images[turn] = self.shop.edits.turned(numbers[turn.numpy()].tolist(), (STRIDE * rows[turn]).tolist())
        return images, self.shop.labels(numbers)


def augment(shop: Workshop) -> Applied:
    """Trains on with pictures of which every second has the culprit taken away or put in; labels stay."""
    part = _opened(shop)

    def step(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, labels = batch
        return {"loss": cross_entropy(shop.clf.forward(images), labels)}

    ended = shop.trained(part, step, Turned(shop, shop.parts.teach), Both(shop, shop.parts.check), TUNE)
    shop.net.requires_grad_(False)
    return Applied(ended)


def _opened(shop: Workshop) -> Calm:
    """The network with weights that ask for gradients."""
    shop.net.requires_grad_(True)
    return Calm(shop.net)


@dataclass(frozen=True, eq=False)
class Pointed:
    """Images (n, 3, H, W), labels (n,), where the culprit is (n, H, W; nowhere where it is not), weights (n,)."""

    shop: Workshop
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        numbers = self.rows[rows.numpy()]
        images = self.shop.frames[numbers.tolist()]
        places = torch.stack([self._place(int(n), images.shape[-2:]) for n in numbers])
        return images, self.shop.labels(numbers), places, self.shop.weights(self.rows)[rows]

    def _place(self, row: int, size: tuple[int, ...]) -> Tensor:
        assert self.shop.edits is not None
        having = self.shop.culprit.behind or bool(self.shop.culprit.present[row])
        return wider(self.shop.edits.place(row), 1) if having else torch.zeros(size, dtype=torch.bool)


def penalise(shop: Workshop) -> Applied:
    """Trains on with a penalty on what the answer owes to pixels of the culprit.

    The penalty is the squared gradient of the sum of all log-probabilities there, and is made as large as the
    cross-entropy on some pictures before. Source: Ross et al., Right for the Right Reasons, 2017.
    """
    part = _opened(shop)
    teach = Pointed(shop, shop.parts.teach)
    first = teach[torch.arange(len(teach))[:: max(1, len(teach) // MEASURED)]]
    with torch.enable_grad():
        fits, owed = _owing(shop, first)
    strength = PENALTY * fits.detach().item() / max(owed.detach().item(), 1e-12)

    def step(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        with torch.enable_grad():
            fits, owed = _owing(shop, batch)
        return {"loss": fits + strength * owed, "cross-entropy": fits, "owed": owed}

    ended = shop.trained(part, step, teach, Pointed(shop, shop.parts.check), TUNE)
    shop.net.requires_grad_(False)
    return Applied(ended, notes=(f"the penalty's weight is {strength:.3g}",))


def _owing(shop: Workshop, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The cross-entropy of a batch, and the squared gradient at the culprit."""
    images, labels, places, weights = batch
    images = images.clone().requires_grad_(True)
    scores = shop.clf.forward(images)
    told = scores.float().log_softmax(1).sum()
    (slope,) = torch.autograd.grad(told, images, create_graph=True)
    owed = (slope.square() * places[:, None]).sum((1, 2, 3)).mean()
    return cross_entropy(scores, labels, weights), owed


REMEDIES: dict[str, Remedy] = {
    "reweight": Remedy(
        "the last layer fitted again, on pictures that weigh as much with the culprit as without it", reweight,
        source="Kirichenko et al., Last Layer Re-Training, 2023",
    ),
    "ablate": Remedy(
        "the directions of the culprit taken out of what the last layer is given, by one projection, and the layer "
        "fitted again to what is left", ablate,
        source="Belrose et al., LEACE, 2023",
    ),
    "augment": Remedy(
        "training with pictures that the culprit was taken away from, or put into", augment, place=True
    ),
    "penalise": Remedy(
        "training with a penalty on what the answer owes to the culprit's pixels", penalise, place=True,
        source="Ross et al., Right for the Right Reasons, 2017",
    ),
}  # fmt: skip
