"""Replay of what comes after a layer, from one dry run that says which module is called when.

N images, M replayed rows. A *call* is one execution of a module in a forward pass.

Replay runs the network's own `forward` with every module that had finished before the layer's output replaced by a
stub, so only the tail computes. Whether anything of the stubbed part leaks into the scores (a skip connection around
the layer) is not guessed but tested once, by stubs that return NaN. It needs no tracing, hence no luck with tracers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.hooks import forwards, hooks, untouched
from saywhy.outputs import first_tensor, logits_of, map_tensors, replace_first

KEPT_CALLS = 250  # outputs held in the dry run: those of the last calls, where the tapped layer is looked for


# --------------------------------------------------------------------------------------------------
# The dry run: which module was called when.


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: `start` and `end` order the events, `parent` is the enclosing call, `output` what came."""

    path: str
    module: nn.Module
    start: int
    end: int
    parent: int | None
    output: Any


def record_calls(net: nn.Module, inputs: Tensor, keep: Sequence[nn.Module] = ()) -> tuple[list[Call], Tensor]:
    """Runs the network once and returns its calls in order of their end, and its scores.

    Shapes are kept of every call's output (meta tensors), values of the last `KEPT_CALLS` and of `keep`.
    """
    calls: list[Call] = []
    open_calls: list[tuple[int, nn.Module]] = []
    clock = iter(range(10**9))
    kept = set(keep)

    def before(module: nn.Module, _: Any) -> None:
        open_calls.append((next(clock), module))

    def after(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            start, _m = open_calls.pop()
            parent = open_calls[-1][0] if open_calls else None
            calls.append(Call(path, module, start, next(clock), parent, map_tensors(Tensor.clone, output)))
            if len(calls) > KEPT_CALLS and calls[-KEPT_CALLS - 1].module not in kept:
                old = calls[-KEPT_CALLS - 1]
                calls[-KEPT_CALLS - 1] = replace(old, output=map_tensors(lambda t: t.to("meta"), old.output))

        return hook

    named = [(path, m) for path, m in net.named_modules() if path]
    pairs: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
    for path, module in named:
        pairs += [(module.register_forward_pre_hook, before), (module.register_forward_hook, after(path))]
    with untouched(net), torch.inference_mode(False), torch.no_grad(), hooks(pairs):
        scores = logits_of(net(inputs))
    return calls, scores


# --------------------------------------------------------------------------------------------------
# The tail: replay of what comes after a layer.


@dataclass(frozen=True, eq=False)
class Tail:
    """What replay needs: how often each module is stubbed before the layer, and the stubs' output shapes.

    `clean` is False where something else than the layer reaches the scores; then the whole forward is run with the
    layer's output replaced. `writes` is True where what follows writes into the layer's output (an in-place ReLU).
    """

    net: nn.Module
    module: nn.Module
    stubbed: Mapping[nn.Module, tuple[Any, ...]]
    output: Any
    rows: int
    image_shape: tuple[int, ...]
    clean: bool = True
    writes: bool = True

    def __call__(self, raw: Tensor, fill: float = 0.0) -> Tensor:
        """Scores (M, C) of the layer's outputs `raw` (M, ...), through the tail alone; may write into `raw`."""
        M = raw.shape[0]
        counts: dict[nn.Module, int] = {}

        def blank(t: Tensor) -> Tensor:
            # Stride 0: a stub of any shape costs one number. Its values never reach the scores (`clean`).
            shape = (t.shape[0] * M // self.rows, *t.shape[1:]) if t.dim() and t.shape[0] % self.rows == 0 else t.shape
            value = fill if t.is_floating_point() else 0
            return torch.full((), value, dtype=t.dtype, device=raw.device).expand(shape)

        def stub(module: nn.Module, outputs: tuple[Any, ...]) -> Callable[..., Any]:
            own = module.forward

            def forward(*args: Any, **kwargs: Any) -> Any:
                call = counts[module] = counts.get(module, -1) + 1
                if call >= len(outputs):
                    return own(*args, **kwargs)
                if module is self.module and call == len(outputs) - 1:
                    return replace_first(map_tensors(blank, outputs[call]), raw)
                return map_tensors(blank, outputs[call])

            return forward

        images = torch.full((), fill, dtype=raw.dtype, device=raw.device).expand(M, *self.image_shape)
        with forwards({m: stub(m, outputs) for m, outputs in self.stubbed.items()}):
            return logits_of(self.net(images))


def make_tail(net: nn.Module, call: Call, calls: Sequence[Call], inputs: Tensor, scores: Tensor) -> Tail:
    """The tail behind one call of the dry run, tested: equal scores at another batch size, and no NaN of a stub.

    Everything that ended before the call did, and whose enclosing call was still open then, is stubbed.
    """
    open_then = {None} | {c.start for c in calls if c.start < call.start and c.end > call.end}
    before = [c for c in sorted(calls, key=lambda c: c.start) if c.end <= call.end and c.parent in open_then]
    stubbed: dict[nn.Module, tuple[Any, ...]] = {}
    for c in before:
        shapes = map_tensors(lambda t: t.to("meta"), c.output)
        stubbed[c.module] = (*stubbed.get(c.module, ()), shapes)
    tail = Tail(net, call.module, stubbed, None, inputs.shape[0], tuple(inputs.shape[1:]))
    raw = first_tensor(call.output)
    assert raw is not None
    picked = torch.tensor([1, 0, 1]) % inputs.shape[0]
    with torch.inference_mode(False):  # the caller's inference mode would give a tensor without a version
        given = raw[picked]
    version = given._version
    try:
        with untouched(net), torch.inference_mode(False), torch.no_grad():
            again = tail(given, fill=float("nan"))
    except Exception:  # a stub that the network's own code cannot digest: not clean, the full forward serves
        return replace(tail, clean=False)
    expected = scores[picked]
    tolerance = 1e-5 if scores.dtype in (torch.float32, torch.float64) else 1e-2
    same = again.shape == expected.shape and torch.allclose(
        again, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max() + 1)
    )
    return replace(tail, clean=bool(same), writes=given._version != version)
