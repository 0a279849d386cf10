"""The layers of a network that can be tapped, found by a dry run on noise, and why the one that is taken is taken.

K channels, h x w the layer's grid. A layer that the user names means its module's last call, so shared modules are
fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from saywhy.errors import ModelError, UsageError, unknown
from saywhy.grid import Grid, find_grid
from saywhy.hooks import untouched
from saywhy.outputs import first_tensor
from saywhy.replay import Call, Tail, make_tail, record_calls

MAX_CANDIDATES = 80


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


def _reaches(tail: Tail, grid: Grid, raw: Tensor, image_size: tuple[int, int]) -> bool:
    """Whether the positions of the grid have any gradient; a class-token network reads none of its last block."""
    with untouched(tail.net), torch.inference_mode(False), torch.enable_grad():
        leaf = raw.detach().clone().requires_grad_()
        scores = tail(leaf.clone())
        if not scores.requires_grad:
            return False
        (grad,) = torch.autograd.grad(scores.flatten(1).max(dim=1).values.sum(), leaf)
    return bool((grid.to_maps(grad, image_size) != 0).any())
