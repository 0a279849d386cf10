"""The layers of a network that can be tapped, found by a dry run on probe pictures, and why the one taken is taken.

K channels, h x w the layer's grid. A layer that the user names means its module's last call, so shared modules are
fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from saywhy.calls import Blank, Call, Pass, cut, survey
from saywhy.errors import ModelError, UsageError, unknown
from saywhy.grid import Grid
from saywhy.probe import Given, find_grid, grid_of
from saywhy.replay import Tail, make_tail

MAX_CANDIDATES = 80
GROUP = 8  # candidates that are cut in one pass, from the last on: what is held at once
AROUND = "other paths lead around it, so replays run the whole network"
ANYTHING = Given()


@dataclass(frozen=True, eq=False)
class Point:
    """A layer that can be tapped: the call of its module, its grid, its tail, and why it was chosen."""

    path: str
    call: Call
    grid: Grid
    size: tuple[int, int]
    channels: int
    tail: Tail
    reason: str

    @property
    def order(self) -> int:
        """Its place in a forward pass: a later layer's is larger."""
        return self.call.end


class Layers:
    """The layers of a network that can be tapped, found by one dry run on the four probe pictures (4, ...)."""

    def __init__(self, net: nn.Module, inputs: Tensor) -> None:
        self.net, self.inputs = net, inputs[:2]
        self.found = survey(net, inputs)
        self.scores = self.found.scores
        if len(self.scores) != 2 or not torch.isfinite(self.scores).all():
            raise ModelError(
                f"for 2 images the network gave scores {tuple(self.scores.shape)}, "
                + ("not one row an image" if len(self.scores) != 2 else "with NaN or infinite values in them")
            )

    # -- by name -----------------------------------------------------------------------------------

    def named(self, name: str | nn.Module, given: Given = ANYTHING) -> Point:
        """The point of a layer that the user named, by dotted name or module; `given` overrules the probe's grid.

        Raises:
            UsageError: no such layer, one without a grid over the image, or a grid that its output cannot hold.
        """
        label, call = self._call(name)
        point = self._point(call, _named_grid(label, call, given))
        size = f"{point.size[0]} x {point.size[1]}"
        probed = find_grid(call.answer) if call.answer is not None else None
        doubt = f", the grid as given (the probe sees {probed.shape})" if given and probed != point.grid else ""
        around = "" if point.tail.clean else f"; {AROUND}"
        return replace(point, path=label, reason=f"{label} ({size}), as asked{doubt}{around}{self._warning()}")

    def _call(self, name: str | nn.Module) -> tuple[str, Call]:
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
        call = next((c for c in reversed(self.found.calls) if c.module is module), None)
        if call is None:
            raise UsageError(f"layer {label!r} is never called in a forward pass")
        return label, call

    def _point(self, call: Call, grid: Grid, read: Pass | None = None) -> Point:
        read = read or cut(self.net, self.inputs, [call])
        maps = grid.to_maps(read.raws[call.end].to("meta"))
        tail = make_tail(self.net, call, self.found, self.inputs, read)
        return Point(call.path, call, grid, (int(maps.shape[2]), int(maps.shape[3])), int(maps.shape[1]), tail, "")

    def _warning(self) -> str:
        """What the user has to know of a network that does not repeat its answers."""
        if self.found.draws:
            return "; the network draws random numbers whenever it is asked, so no two passes agree"
        return "" if self.found.alone else "; the network answers a picture differently in another batch"

    # -- by search ---------------------------------------------------------------------------------

    def last(self, at_least: int = 2, given: Given = ANYTHING) -> Point | None:
        """The last layer through which all information flows, whose positions reach the scores, grid >= at_least.

        Where other paths lead around every layer, it is the last one that the scores read, and the reason says so.
        """
        unread: list[tuple[Call, Grid]] = []
        around: list[Point] = []
        for group in _grouped(self._candidates(at_least, given)):
            for call, grid, read, reached in self._read(group):
                if not reached:
                    unread.append((call, grid))
                    continue
                point = self._point(call, grid, read)
                if point.tail.clean:
                    return self._chosen(point, "the last layer with a grid that everything flows through", unread, around)
                around.append(point)
        if around:
            why = f"the last layer with a grid that the scores read; {AROUND}"
            return self._chosen(around[0], why, [u for u in unread if u[0].end > around[0].order], [])
        if unread and torch.equal(self.scores[:1], self.scores[1:2]):  # a head of zeros: not yet trained
            return self._chosen(
                self._point(*unread[0]), "the last layer with a grid; the scores depend on no layer", [], []
            )
        return None

    def _chosen(
        self, point: Point, why: str, unread: Sequence[tuple[Call, Grid]], around: Sequence[Point]
    ) -> Point:
        reason = f"{point.path} ({point.size[0]} x {point.size[1]}), {why}"
        if unread:
            reason += f"; {unread[-1][0].path} comes later, but the scores read no position of it"
        # A branch inside a layer that was looked at is no news; one that lies open in `forward` is.
        within = [(c.start, c.end) for c in (*(u[0] for u in unread), *(p.call for p in around))]
        loose = [p for p in around if not any(s < p.call.start and p.call.end < e for s, e in within)]
        if loose:
            reason += f"; {loose[0].path} comes later, but other paths lead around it (layer={loose[0].path!r} takes it)"
        return replace(point, reason=reason + self._warning())

    def _candidates(self, at_least: int, given: Given) -> list[tuple[Call, Grid]]:
        """Calls whose output lies on a grid, from the last on."""
        found: list[tuple[Call, Grid]] = []
        for call in sorted(self.found.calls, key=lambda c: -c.end):
            padded = "Pad" in type(call.module).__name__  # a border of zeros is no place in the image
            grid = None if padded or call.answer is None else find_grid(call.answer, given)
            if grid is not None and min(grid.shape) >= at_least:
                found.append((call, grid))
            if len(found) == MAX_CANDIDATES:
                break
        return found

    def _read(self, group: list[tuple[Call, Grid]]) -> Iterator[tuple[Call, Grid, Pass, bool]]:
        """A pass that is cut at each of a group, and whether the scores read any position there.

        A network that leaves the graph somewhere (by numpy, say) cannot be cut before that place: then one by one.
        """
        calls = [call for call, _ in group]
        try:
            read = cut(self.net, self.inputs, calls)
            reached = _reached(read, calls)
        except Exception:
            if len(group) == 1:
                yield *group[0], Pass(self.scores, {}, {}), False
                return
            for one in group:
                yield from self._read([one])
            return
        for (call, grid), whether in zip(group, reached, strict=True):
            yield call, grid, read, whether


def _grouped(found: list[tuple[Call, Grid]]) -> Iterator[list[tuple[Call, Grid]]]:
    for start in range(0, len(found), GROUP):
        yield found[start : start + GROUP]


def _reached(read: Pass, calls: Sequence[Call]) -> list[bool]:
    """Whether any score has a gradient at each call; a class-token network reads none of its last block.

    All scores are asked at once, each by a weight of its own: the highest one may be constant, and probabilities sum
    to 1 whatever happens.
    """
    if not read.scores.requires_grad:
        return [False] * len(calls)
    weights = torch.randn(read.scores.shape, generator=torch.Generator().manual_seed(0)).to(read.scores)
    raws = [read.raws[c.end] for c in calls]
    with torch.inference_mode(False):
        grads = torch.autograd.grad(read.scores, raws, weights, allow_unused=True)
    return [g is not None and bool((g != 0).any()) for g in grads]


# --------------------------------------------------------------------------------------------------
# The grid of a layer that was named.


def _named_grid(label: str, call: Call, given: Given) -> Grid:
    blank = call.blanks[0] if call.blanks else None
    if blank is None or len(blank.batch) != 1 or blank.sizes[blank.batch[0]].fixed:
        raise UsageError(f"layer {label!r} gives {_told(blank)}, not one output for each image; name a spatial layer")
    images = blank.sizes[blank.batch[0]].each
    if images != 1:
        raise UsageError(
            f"layer {label!r} gives {images} outputs for each image: it lives inside windows or heads, and has no map of "
            "the whole image; name a layer around it"
        )
    found = find_grid(call.answer, given) if call.answer is not None else None
    found = found or _said_grid(label, call, blank, given)
    if found is None:
        raise UsageError(
            f"layer {label!r} gives {_told(blank)}, which is no grid over the image: no two axes follow the picture's rows "
            "and columns; name a spatial layer, or say grid=(rows, columns) and prefix_tokens"
        )
    return found


def _told(blank: Blank | None) -> str:
    return "no tensor" if blank is None else str(tuple("N" if size.each else size.fixed for size in blank.sizes))


def _said_grid(label: str, call: Call, blank: Blank, given: Given) -> Grid | None:
    """The grid by what the user said, or by what the operation is, where the probe does not see it."""
    (batch,) = blank.batch
    sizes = [size.fixed for i, size in enumerate(blank.sizes) if i != batch]
    if len(sizes) == 3 and given.shape is None and not (call.answer and call.answer.differs) and _is_image(call.module):
        return grid_of(batch, {1: "h", 2: "w"}, sizes)
    if given.shape is None:
        return None
    h, w = given.shape
    if len(sizes) == 3 and not given.prefix and not given.suffix:
        fits = [p for p in ({1: "h", 2: "w"}, {0: "h", 1: "w"}) if grid_of(batch, p, sizes).shape == (h, w)]
        if fits:
            return grid_of(batch, fits[0], sizes)
    around = [T - h * w for T in sizes] if len(sizes) == 2 else []
    for axis, rest in enumerate(around):
        prefix = given.prefix if given.prefix is not None else rest - given.suffix if given.suffix is not None else rest
        if rest >= 0 and prefix >= 0 and given.suffix in (None, rest - prefix) and (given.prefix is not None or not rest):
            axes = ["c", "c"]
            axes[axis] = "t"
            axes.insert(batch, "n")
            return Grid("".join(axes), (h, w), prefix, rest - prefix)
    raise UsageError(
        f"layer {label!r} gives {_told(blank)}, which holds no grid of {h} x {w} with {given.prefix or 0} tokens before it "
        f"and {given.suffix or 0} after it; correct grid, prefix_tokens and suffix_tokens, or leave them out"
    )


def _is_image(module: nn.Module) -> bool:
    """Whether an operation of torch always gives (N, K, h, w)."""
    return type(module).__module__.startswith("torch.nn.modules.") and type(module).__name__.endswith("2d")
