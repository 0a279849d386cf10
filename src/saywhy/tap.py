"""One forward pass cut at a layer, and the replay of what comes after it. The only file that touches hooks.

N images, K channels, h x w the layer's grid, T tokens, M replayed rows. A *call* is one execution of a module in a
forward pass; a layer that the user names means its module's last call, so shared modules are fine.

Replay runs the network's own `forward` with every module that had finished before the layer's output replaced by a
stub, so only the tail computes. Whether anything of the stubbed part leaks into the scores (a skip connection around
the layer) is not guessed but tested once, by stubs that return NaN. It needs no tracing, hence no luck with tracers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.errors import ModelError, UsageError, unknown
from saywhy.grid import Grid, find_grid

KEPT_CALLS = 250  # outputs held in the dry run: those of the last calls, where the tapped layer is looked for
MAX_CANDIDATES = 80


# --------------------------------------------------------------------------------------------------
# Courtesy to the caller's model.


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Runs in eval mode with a forked RNG, and leaves every submodule's mode and the RNG as found, also on error."""
    modules = list(net.modules())
    modes = [m.training for m in modules]
    cuda = torch.cuda.is_available() and {p.device.index or 0 for p in net.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(cuda or ())):
        try:
            if any(modes):
                net.eval()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                if module.training is not mode:
                    module.training = mode


@contextmanager
def _hooks(pairs: Sequence[tuple[Callable[..., Any], Callable[..., Any]]]) -> Iterator[None]:
    """Registers (register, hook) pairs and removes them, also on error."""
    handles: list[Any] = []
    try:
        handles.extend(register(hook) for register, hook in pairs)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _forwards(stubs: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Puts stubs in place of modules' forward and restores them, also on error."""
    before = {m: m.__dict__.get("forward") for m in stubs}
    try:
        for module, stub in stubs.items():
            module.__dict__["forward"] = stub
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


# --------------------------------------------------------------------------------------------------
# Outputs may be tensors, tuples, dicts or Hugging Face ModelOutputs.


def map_tensors(f: Callable[[Tensor], Any], value: Any) -> Any:
    """Applies f to every tensor in nested tuples, lists and dicts, keeping their types."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, Mapping):
        return type(value)(**{k: map_tensors(f, v) for k, v in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(f, v) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(f, v) for v in value)
    return value


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a nested output."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((t for t in map(first_tensor, items) if t is not None), None)


def _replace_first(value: Any, new: Tensor) -> Any:
    done: list[bool] = []

    def swap(t: Tensor) -> Tensor:
        if done:
            return t
        done.append(True)
        return new

    return map_tensors(swap, value)


def logits_of(output: Any) -> Tensor:
    """The class scores in whatever the network returned.

    Raises:
        ModelError: no tensor of shape (N, C), or (N, C, H, W) of a segmentation model, is in it.
    """
    named = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for key in ("logits", "out", "scores", "output"):
        if isinstance(named.get(key), Tensor):
            output = named[key]
            break
    tensor = first_tensor(output)
    if tensor is not None and tensor.dim() == 1:
        tensor = tensor[:, None]  # one score an image
    if tensor is None or tensor.dim() not in (2, 4) or not tensor.is_floating_point():
        shape = "nothing" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
        raise ModelError(
            f"the model returned {type(output).__name__} with {shape}; expected class scores (N, C). Wrap the model: "
            "class Wrapped(torch.nn.Module) whose forward(images) returns that tensor"
        )
    return tensor


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
    with untouched(net), torch.inference_mode(False), torch.no_grad(), _hooks(pairs):
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
                    return _replace_first(map_tensors(blank, outputs[call]), raw)
                return map_tensors(blank, outputs[call])

            return forward

        images = torch.full((), fill, dtype=raw.dtype, device=raw.device).expand(M, *self.image_shape)
        with _forwards({m: stub(m, outputs) for m, outputs in self.stubbed.items()}):
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


def _reaches(tail: Tail, grid: Grid, raw: Tensor, image_size: tuple[int, int]) -> bool:
    """Whether the positions of the grid have any gradient; a class-token network reads none of its last block."""
    with untouched(tail.net), torch.inference_mode(False), torch.enable_grad():
        leaf = raw.detach().clone().requires_grad_()
        scores = tail(leaf.clone())
        if not scores.requires_grad:
            return False
        (grad,) = torch.autograd.grad(scores.flatten(1).max(dim=1).values.sum(), leaf)
    return bool((grid.to_maps(grad, image_size) != 0).any())


# --------------------------------------------------------------------------------------------------
# Layers.


@dataclass(frozen=True, eq=False)
class Point:
    """A layer that can be tapped: the `calls`-th call of its module, its grid, its tail, and why it was chosen."""

    path: str
    module: nn.Module
    calls: int
    order: int
    grid: Grid
    size: tuple[int, int]
    channels: int
    tail: Tail
    reason: str


class Layers:
    """The layers of a network that can be tapped, found by one dry run on two noise images."""

    def __init__(self, net: nn.Module, inputs: Tensor, keep: Sequence[nn.Module] = ()) -> None:
        self.net, self.inputs = net, inputs
        self.image_size = (int(inputs.shape[-2]), int(inputs.shape[-1]))
        self.calls, self.scores = record_calls(net, inputs, keep)
        if len(self.scores) != len(inputs) or not torch.isfinite(self.scores).all():
            raise ModelError(
                f"for {len(inputs)} images the network gave scores {tuple(self.scores.shape)}, "
                + ("not one row an image" if len(self.scores) != len(inputs) else "with NaN or infinite values in them")
            )
        self.patch_grids = [
            (int(t.shape[2]), int(t.shape[3]))
            for c in self.calls
            if isinstance(c.module, nn.Conv2d) and (t := first_tensor(c.output)) is not None and t.dim() == 4
        ]

    def point(self, call: Call, reason: str, grid: Grid | None = None) -> Point | None:
        """The tap point of a call, or None where its output has no grid."""
        raw = first_tensor(call.output)
        grid = grid or (find_grid(raw, self.image_size, self.patch_grids) if raw is not None else None)
        if raw is None or grid is None:
            return None
        maps = grid.to_maps(raw.to("meta"), self.image_size)
        tail = make_tail(self.net, call, self.calls, self.inputs, self.scores)
        count = sum(c.module is call.module and c.end <= call.end for c in self.calls)
        size = (int(maps.shape[2]), int(maps.shape[3]))
        return Point(call.path, call.module, count, call.end, grid, size, int(maps.shape[1]), tail, reason)

    def named(self, name: str | nn.Module, grid: Grid | None = None) -> Point:
        """The point of a layer that the user named, by dotted name or module."""
        paths = {m: p for p, m in self.net.named_modules()}
        if isinstance(name, str):
            try:
                module = self.net.get_submodule(name)
            except AttributeError:
                raise unknown("layer", name, [p for p in paths.values() if p]) from None
        else:
            module = name
        if module not in paths:
            raise UsageError("the given layer is not a module of this network")
        label = name if isinstance(name, str) else paths[module]
        call = next((c for c in reversed(self.calls) if c.module is module), None)
        if call is None:
            raise UsageError(f"layer {label!r} is never called in a forward pass")
        point = self.point(call, f"{label}, as asked", grid)
        if point is None:
            shape = getattr(first_tensor(call.output), "shape", None)
            raise UsageError(f"layer {label!r} gives {shape}, which is no grid over the image; name a spatial layer")
        size = f"{point.size[0]} x {point.size[1]}"
        around = "" if point.tail.clean else "; other paths lead around it, so replays run the whole network"
        return replace(point, path=label, reason=f"{label} ({size}), as asked{around}")

    def last(self, at_least: int = 2) -> Point | None:
        """The last layer through which all information flows, whose positions reach the scores, grid >= at_least."""
        skipped: list[str] = []
        unread: Point | None = None
        tried: set[int] = set()
        for call in sorted(self.calls, key=lambda c: -c.end):
            raw = first_tensor(call.output)
            padded = "Pad" in type(call.module).__name__  # a border of zeros is no place in the image
            if raw is None or raw.is_meta or padded or len(tried) >= MAX_CANDIDATES:
                continue
            grid = find_grid(raw, self.image_size, self.patch_grids)
            if grid is None or min(grid.to_maps(raw, self.image_size).shape[2:]) < at_least:
                continue
            tried.add(call.end)
            point = self.point(call, "", grid)
            if point is None or not point.tail.clean:
                continue
            if not _reaches(point.tail, grid, raw, self.image_size):
                skipped.append(call.path)
                unread = unread or point
                continue
            size = f"{point.size[0]} x {point.size[1]}"
            why = f"{call.path} ({size}), the last layer with a grid that everything flows through"
            if skipped:
                why += f"; {skipped[-1]} comes later, but the scores read no position of it"
            return replace(point, reason=why)
        if unread is not None and torch.equal(self.scores[:1], self.scores[1:2]):  # a head of zeros: not yet trained
            size = f"{unread.size[0]} x {unread.size[1]}"
            why = f"{unread.path} ({size}), the last layer with a grid; the scores depend on no layer"
            return replace(unread, reason=why)
        return None


# --------------------------------------------------------------------------------------------------
# The cut.


def cut(net: nn.Module, inputs: Tensor, points: Sequence[Point]) -> tuple[Tensor, dict[str, Tensor]]:
    """One forward pass that is differentiable from the earliest point on, and the points' raw outputs.

    Before the earliest point nothing is recorded: its output is detached and made a leaf, then cloned, because an
    in-place ReLU behind it would otherwise write into the leaf.
    """
    raws: dict[str, Tensor] = {}
    first = min(points, key=lambda p: p.order)
    seen: dict[str, int] = {}

    def catcher(point: Point) -> Callable[..., Any]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            seen[point.path] = seen.get(point.path, 0) + 1
            if seen[point.path] != point.calls:
                return None
            raw = first_tensor(output)
            if raw is None:
                raise ModelError(f"layer {point.path!r} returned no tensor")
            if point is first:
                torch.set_grad_enabled(True)
                raw = raw.detach().requires_grad_()
            raws[point.path] = raw
            return _replace_first(output, raw.clone())

        return hook

    pairs = [(p.module.register_forward_hook, catcher(p)) for p in points]
    with untouched(net), torch.inference_mode(False), torch.no_grad(), _hooks(pairs):
        images = inputs.clone() if inputs.is_inference() else inputs
        scores = logits_of(net(images))
    missing = [p.path for p in points if p.path not in raws]
    if missing:
        raise ModelError(f"the network took another path than in the dry run and never reached {missing}")
    return scores, raws


def forward_with(net: nn.Module, inputs: Tensor, point: Point, raw: Tensor) -> Tensor:
    """The whole forward pass with one layer's output replaced by `raw`: replay where the tail is not clean."""
    seen = 0

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal seen
        seen += 1
        return _replace_first(output, raw) if seen == point.calls else None

    with _hooks([(point.module.register_forward_hook, hook)]):
        return logits_of(net(inputs))
