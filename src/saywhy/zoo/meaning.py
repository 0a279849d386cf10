"""What a model's scores are: logits, probabilities of classes, or of labels each for itself; and does it repeat itself?

A few plain and noisy images are asked, twice and by themselves; the last operator says the rest where it can be seen.
N images; scores (N, C).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.classifier import Activation, Classifier
from saywhy.errors import UsageError
from saywhy.framing import Preprocess
from saywhy.hooks import untouched
from saywhy.locking import seeded

ROUNDED = 0.02  # probabilities that a server rounds sum to 1 up to this
SAME = 2e-3  # of a probability, or of the scores' range: rounding in batches of other sizes
FEWER = 3  # images that are asked again, with others missing beside them
SAY = "say activation=softmax, sigmoid or none if that is wrong"

# What the last operator makes of scores, by the names of autograd's nodes and of ONNX operators in lower case.
KINDS = {
    "probabilities": ("softmax", "softmin", "sigmoid", "hardsigmoid"),
    "log-probabilities": ("logsoftmax",),
    "log-sigmoid": ("logsigmoid",),
    "tanh": ("tanh",),
    "logits": (
        "addmm", "mm", "bmm", "addmv", "matmul", "gemm", "einsum", "linear", "mkldnnlinear", "convolution", "conv",
        "relu", "leakyrelu", "prelu", "gelu", "silu", "elu", "avgpool2d", "adaptiveavgpool2d", "averagepool",
        "globalaveragepool", "maxpool2dwithindices", "nativebatchnorm", "cudnnbatchnorm", "batchnormalization",
        "nativelayernorm",
    ),
}  # fmt: skip
LAST = {name: kind for kind, names in KINDS.items() for name in names}
# What hands scores on: sums and means of several models' probabilities are probabilities.
THROUGH = frozenset({
    "squeeze", "unsqueeze", "view", "reshape", "unsafeview", "reshapealias", "t", "transpose", "permute", "clone",
    "tocopy", "alias", "slice", "select", "index", "expand", "mean", "sum", "add", "div", "mul", "stack", "cat",
    "concat",
    "identity", "cast", "flatten", "copyslices", "asstrided", "contiguous", "dropout", "split", "unbind",
    "nativedropout", "reducemean", "gather",
})  # fmt: skip
DEPTH = 40


@dataclass(frozen=True)
class Meaning:
    """What makes probabilities of the scores, and the words that say how that is known."""

    activation: Activation
    note: str


def probes(how: Preprocess) -> Tensor:
    """Eight images (8, planes, H, W): black, white, grey, two ramps, soft colours and noise."""
    (H, W), C = how.size, how.planes
    dice = torch.Generator().manual_seed(0)
    plain = [torch.full((C, H, W), v) for v in (0.0, 1.0, 0.5)]
    across = torch.linspace(0, 1, W).expand(C, H, W)
    down = torch.linspace(1, 0, H)[:, None].expand(C, H, W)
    soft = F.interpolate(torch.rand(2, C, 3, 3, generator=dice), (H, W), mode="bilinear", align_corners=False)
    return torch.stack([*plain, across, down, *soft, torch.rand(C, H, W, generator=dice)])


# --------------------------------------------------------------------------------------------------
# The last operator.


def last_of_module(clf: Classifier) -> str | None:
    """What the last operators of a network make of scores, a value of LAST; None where they tell nothing."""
    net = clf.net
    assert isinstance(net, nn.Module)
    image = probes(clf.preprocess)[:1].requires_grad_(True)
    try:
        with untouched(net), torch.inference_mode(False), torch.enable_grad():
            scores = clf.scores_of(net(clf.inputs(image)))
    except Exception:  # it is told by whoever asks the network in earnest
        return None
    return None if scores.grad_fn is None else _one({LAST.get(name) for name in _ends(scores.grad_fn)})


def _one(found: set[str | None]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


def _ends(node: Any) -> Iterable[str]:
    """Names of the operators that scores come from, behind those that hand them on; weights are no such thing."""
    nodes, seen = [(node, 0)], set()
    while nodes:
        at, depth = nodes.pop()
        if at is None or at in seen:
            continue
        seen.add(at)
        name = type(at).__name__.rstrip("0123456789").removesuffix("Backward").lower()
        if name == "accumulategrad":
            continue
        if name in THROUGH and depth < DEPTH:
            nodes += [(source, depth + 1) for source, _ in at.next_functions]
        else:
            yield name


def last_of_onnx(path: Path, output: str | None) -> str | None:
    """The same of an ONNX file, of the output of that name (the first by default)."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    graph = onnx.load(str(path), load_external_data=False).graph
    made = {name: node for node in graph.node for name in node.output}
    known = {i.name for i in graph.initializer} | {n for n, node in made.items() if node.op_type == "Constant"}
    names, ends = [output or graph.output[0].name], set()
    for _ in range(DEPTH):
        node = made.get(names.pop()) if names else None
        if node is None:
            break
        kind = node.op_type.lower()
        if kind in THROUGH:
            names += [n for n in node.input if n and n not in known]
        else:
            ends.add(LAST.get(kind))
    return _one(ends) if not names else None


# --------------------------------------------------------------------------------------------------
# The scores.


def meaning_of(scores: Tensor, last: str | None) -> Meaning:
    """What scores (N, C) of several images are, by the last operator where it is known and by their values.

    Raises:
        UsageError: they can be read in more than one way, or in none; the message names the option.
    """
    low, high = (float(v) for v in scores.aminmax())
    sums, one = scores.sum(dim=1), scores.shape[1] == 1
    inside = low >= -1e-6 and high <= 1 + 1e-6
    to_one = inside and not one and bool(((sums - 1).abs() <= max(1e-3, min(ROUNDED, scores.shape[1] / 500))).all())
    ends = f"the network ends in {_ENDS[last]}" if last in _ENDS else ""
    if last == "tanh" or last == "log-sigmoid":
        raise UsageError(
            f"{ends}: its scores are neither logits nor probabilities. Leave that operator out, or say "
            "activation=softmax, sigmoid or none if you know better"
        )
    if last == "log-probabilities":
        return Meaning("softmax", f"scores are log-probabilities: {ends}")
    if to_one:
        return Meaning("none", f"scores are probabilities already: {ends or 'they lie in [0, 1] and sum to 1'}")
    if last == "probabilities" and not inside:
        raise UsageError(
            f"{ends}, and yet its scores reach from {low:.3g} to {high:.3g}; say activation=softmax, sigmoid or none"
        )
    if not one and not inside and low >= 0 and bool(((sums - 100).abs() <= 1).all()):
        raise UsageError("the scores sum to 100: they are per cent; divide them by 100, so that they are probabilities")
    kind = "the probability of one class" if one else "one probability for each label"
    if last == "probabilities":
        return Meaning("none", f"each score is {kind}: {ends}")
    if inside and last is None and high > low:
        return Meaning("none", f"each score is read as {kind}, because all lie in [0, 1]; {SAY}")
    known = "" if last == "logits" else f"; {SAY}"
    if one:
        return Meaning("sigmoid", f"the one score is read as the logit of a sigmoid{known or f'; {SAY}'}")
    return Meaning("softmax", f"scores are read as logits of a softmax (one class an image); {SAY}")


_ENDS = {
    "probabilities": "a sigmoid or softmax",
    "log-probabilities": "a log-softmax",
    "log-sigmoid": "a log-sigmoid",
    "tanh": "a tanh",
}


def check_said(activation: Activation, scores: Tensor, last: str | None) -> str:
    """The note about an activation that the user named.

    Raises:
        UsageError: the network ends in a sigmoid or softmax, and another one was asked for on top of it.
    """
    if last == "probabilities" and activation != "none":
        raise UsageError(
            f"the network ends in a sigmoid or softmax itself, so activation={activation} would apply it twice; leave "
            'it out, or say activation="none"'
        )
    inside = bool(((scores >= -1e-6) & (scores <= 1 + 1e-6)).all())
    if activation == "none" and not inside:
        low, high = (float(v) for v in scores.aminmax())
        raise UsageError(
            f'activation="none" says that scores are probabilities, and they reach from {low:.3g} to {high:.3g}'
        )
    twice = inside and activation != "none" and last != "logits" and len(scores) > 1
    warning = ", although they all lie in [0, 1] and may be probabilities already" if twice else ""
    return f"activation {activation}, as said{warning}"


# --------------------------------------------------------------------------------------------------
# Does it repeat itself?


def asked(clf: Classifier, name: str, *, once: bool = False) -> Tensor:
    """The scores (8, C) of the probes; some are asked again, with other random numbers and alone (unless `once`).

    Raises:
        UsageError: the answers differ: something in the model draws random numbers, or one image changes the answer
            to another.
    """
    images = probes(clf.preprocess)
    if clf.batch_size:
        images = images[: max(2, min(len(images), clf.batch_size))]
    first = _asked(clf, images, 0)
    if once or first.dim() != 2:
        return first
    fewer = images[:FEWER]
    off = max(_apart(first, _asked(clf, part, 1)) for part in (fewer, fewer[:1]))
    if off <= SAME:
        return first
    if _apart(first, _asked(clf, images, 1)) > SAME:
        raise UsageError(
            f"{name} does not repeat itself: asked again about the same images, its scores differ by {off:.2g} of "
            "their range. Switch off what draws random numbers (dropout in a functional call: training=self.training), "
            "or say average=N to take the mean of N answers as the model"
        )
    raise UsageError(
        f"{name} answers otherwise about an image alone than beside others (by {off:.2g} of the scores' range): what "
        "is computed over the batch (a softmax over the wrong axis, statistics of the batch) must be computed for each "
        "image; if it has to stay, give a callable that asks one image at a time"
    )


def _asked(clf: Classifier, images: Tensor, seed: int) -> Tensor:
    with seeded(seed):
        return clf.logits(images, batch_size=len(images))


def _apart(first: Tensor, second: Tensor) -> float:
    """How far the first answers and these lie apart, of the range of all."""
    spread = float(first.max() - first.min())
    return float((first[: len(second)] - second).abs().max()) / max(spread, 1e-3 * float(first.abs().max()), 1e-6)


@dataclass(frozen=True, eq=False)
class Averaged:
    """The mean probabilities of `times` answers of a classifier that does not repeat itself; seeded, so that it does.

    A black box: what is inside differs from one answer to the next.
    """

    clf: Classifier
    times: int

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities (N, C), each image asked by itself: its random numbers do not hang on its neighbours."""
        return torch.stack([self._mean(image[None]) for image in images])

    def _mean(self, image: Tensor) -> Tensor:
        answers = []
        for seed in range(self.times):
            with seeded(seed), _others_seeded(seed):
                answers.append(self.clf.probabilities(image)[0])
        return torch.stack(answers).mean(dim=0)


@contextmanager
def _others_seeded(seed: int) -> Iterator[None]:
    """The same for the global random numbers of numpy and of Python, which callables draw."""
    states = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])


def averaged(clf: Classifier, times: int) -> Classifier:
    """The black box of the mean of `times` answers."""
    note = f"the mean of {times} answers of a model that need not repeat itself, as asked"
    return replace(
        clf, net=Averaged(clf, times), layer=None, activation="none", notes=(*clf.notes, note), grid=None,
        prefix_tokens=None, channels_last=False, black_box_fingerprint=f"{clf.fingerprint} {times}", _points={},
    )  # fmt: skip
