"""The calls of a network's modules in a forward pass: surveyed once by a dry run, and a pass cut at some of them.

N images. A *call* is one execution of a module in a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.errors import ModelError
from saywhy.hooks import hooks, random_state, untouched
from saywhy.outputs import Read, first_tensor, logits_of, map_tensors, replace_first
from saywhy.probe import Echo, read_echo

Random = tuple[Tensor, ...]


@dataclass(frozen=True)
class Size:
    """The length of one axis of an output: `fixed` and `each` for every image of the batch."""

    fixed: int
    each: int

    def of(self, images: int) -> int:
        """The length for so many images."""
        return self.fixed + self.each * images


@dataclass(frozen=True)
class Blank:
    """The form of a tensor that a module gave, for any number of images."""

    sizes: tuple[Size, ...]
    dtype: torch.dtype

    @property
    def batch(self) -> list[int]:
        """The axes that grow with the number of images."""
        return [i for i, size in enumerate(self.sizes) if size.each]

    @property
    def each_image(self) -> tuple[int, ...]:
        """The lengths of the axes that do not grow."""
        return tuple(size.fixed for size in self.sizes if not size.each)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: its `count`-th; `start` and `end` order the events, `parent` is the enclosing call.

    `output` is what came, its tensors as a list of Blanks in their order (`blanks`); `answer` is how its first tensor
    follows the probe pictures, None where its form is no grid's.
    """

    path: str
    module: nn.Module
    count: int
    start: int
    end: int
    parent: int | None
    output: Any
    blanks: tuple[Blank, ...]
    answer: Echo | None

    def holds(self, other: Call) -> bool:
        """Whether the other call ran within this one."""
        return self.start < other.start and other.end < self.end


@dataclass(frozen=True, eq=False)
class Survey:
    """What a dry run showed of a network: its calls in order of their end, and the scores of two probe pictures.

    `draws`: it draws random numbers. `alone`: it answers a picture alike in batches of two and of four. `scores_of`
    reads the scores from what it returns.
    """

    calls: tuple[Call, ...]
    scores: Tensor
    draws: bool
    alone: bool
    scores_of: Read = logits_of


def survey(net: nn.Module, inputs: Tensor, scores_of: Read = logits_of) -> Survey:
    """Runs the network on the first two of the four probe pictures, then on all.

    Two batch sizes tell which axes of an output grow with the images, and the four pictures which lie in the picture.
    No output is kept: each is read where it comes, and let go.
    """
    seen: dict[tuple[str, int], Any] = {}

    def form(path: str, count: int, output: Any) -> tuple[Any, Echo | None]:
        seen[path, count] = output = map_tensors(lambda t: t.to("meta"), output)
        return output, None

    def probed(path: str, count: int, output: Any) -> tuple[Any, Echo | None]:
        first, small = first_tensor(output), first_tensor(seen.get((path, count)))
        axes = [] if first is None or small is None else _growing(small, first)
        answer = read_echo(first, axes[0]) if first is not None and len(axes) == 1 else None
        return map_tensors(lambda t: t.to("meta"), output), answer

    few, scores, draws = _watched(net, inputs[:2], form, scores_of)
    all_, of_all, _ = _watched(net, inputs, probed, scores_of)
    found = {(c.path, c.count): c for c in all_}
    calls = tuple(_joined(c, found.get((c.path, c.count))) for c in few)
    alone = of_all.shape[1:] == scores.shape[1:] and alike(of_all[:2], scores)
    return Survey(calls, scores, draws, alone, scores_of)


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two answers to the same pictures are the same but for rounding."""
    if not b.numel() or not bool(torch.isfinite(b).all()):  # of which the caller tells
        return False
    tolerance = 1e-5 if b.dtype in (torch.float32, torch.float64) else 1e-2
    scale = float(b.detach().abs().max() + 1)
    return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def _growing(small: Tensor, large: Tensor) -> list[int]:
    pairs = zip(small.shape, large.shape, strict=True) if small.dim() == large.dim() else ()
    return [i for i, (s, t) in enumerate(pairs) if s != t]


def _joined(two: Call, four: Call | None) -> Call:
    """A call as two batch sizes showed it; where the larger batch took another path, nothing of it grows."""
    small = _tensors(two.output)
    large = _tensors(four.output) if four is not None else []
    same = [s.dim() for s in small] == [t.dim() for t in large]
    blanks = tuple(_blank(s, t) for s, t in zip(small, large if same else small, strict=True))
    return replace(two, blanks=blanks, answer=four.answer if four is not None and same else None)


def _blank(two: Tensor, four: Tensor) -> Blank:
    each = [(t - s) // 2 for s, t in zip(two.shape, four.shape, strict=True)]
    return Blank(tuple(Size(s - 2 * e, e) for s, e in zip(two.shape, each, strict=True)), two.dtype)


def _tensors(output: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, output)
    return found


def _watched(
    net: nn.Module, inputs: Tensor, read: Callable[[str, int, Any], tuple[Any, Echo | None]], scores_of: Read
) -> tuple[list[Call], Tensor, bool]:
    """One forward pass: its calls in order of their end, the scores, and whether random numbers were drawn."""
    calls: list[Call] = []
    open_calls: list[int] = []
    counts: dict[nn.Module, int] = {}
    clock = iter(range(10**9))

    def before(_: nn.Module, __: Any) -> None:
        open_calls.append(next(clock))

    def after(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            start = open_calls.pop()
            count = counts[module] = counts.get(module, 0) + 1
            parent = open_calls[-1] if open_calls else None
            kept, answer = read(path, count, output)
            calls.append(Call(path, module, count, start, next(clock), parent, kept, (), answer))

        return hook

    pairs: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
    for path, module in net.named_modules():
        if path and not isinstance(module, torch.jit.ScriptModule):  # a program's insides cannot be watched
            pairs += [(module.register_forward_pre_hook, before), (module.register_forward_hook, after(path))]
    with untouched(net), torch.inference_mode(False), torch.no_grad(), hooks(pairs):
        state = random_state(inputs.device)
        scores = scores_of(net(inputs.clone()))
        drawn = not all(map(torch.equal, state, random_state(inputs.device)))
    return calls, scores, drawn


# --------------------------------------------------------------------------------------------------
# A pass that is cut.


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass that is differentiable from the earliest of some calls on: scores, and by a call's `end` the
    raw output and the random state found then."""

    scores: Tensor
    raws: dict[int, Tensor]
    random: dict[int, Random]


def cut(
    net: nn.Module, inputs: Tensor, calls: Sequence[Call], recorded: bool = False, scores_of: Read = logits_of
) -> Pass:
    """A forward pass, cut at some calls; with `recorded` all of it keeps a graph.

    Before the earliest one nothing is recorded: its output is detached and made a leaf, as is every one that has no
    graph (behind a frozen stem under no_grad). It is cloned, because an in-place ReLU behind it would write into it.
    """
    raws: dict[int, Tensor] = {}
    random: dict[int, Random] = {}
    wanted = {(c.module, c.count): c for c in calls}
    seen: dict[nn.Module, int] = {}

    def hook(module: nn.Module, _: Any, output: Any) -> Any:
        seen[module] = seen.get(module, 0) + 1
        call = wanted.get((module, seen[module]))
        if call is None:
            return None
        raw = first_tensor(output)
        if raw is None:
            raise ModelError(f"layer {call.path!r} returned no tensor")
        torch.set_grad_enabled(True)
        if not raw.requires_grad:
            raw = raw.detach().requires_grad_()
        raws[call.end], random[call.end] = raw, random_state(raw.device)
        return replace_first(output, raw.clone())

    pairs = [(m.register_forward_hook, hook) for m in {c.module: None for c in calls}]
    with untouched(net), torch.inference_mode(False), torch.set_grad_enabled(recorded), hooks(pairs):
        scores = scores_of(net(inputs.clone() if inputs.is_inference() else inputs))
    missing = [c.path for c in calls if c.end not in raws]
    if missing:
        raise ModelError(f"the network took another path than in the dry run and never reached {missing}")
    return Pass(scores, raws, random)


def forward_with(net: nn.Module, inputs: Tensor, call: Call, raw: Tensor, scores_of: Read = logits_of) -> Tensor:
    """The whole forward pass with one call's output replaced by `raw`: replay where the tail is not clean."""
    seen = 0

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal seen
        seen += 1
        return replace_first(output, raw) if seen == call.count else None

    with hooks([(call.module.register_forward_hook, hook)]):
        return scores_of(net(inputs))
