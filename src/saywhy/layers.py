"""The layers of a network that can be tapped, found by a dry run on probe pictures, and why the one taken is taken.

K channels, h x w the layer's grid. A layer that the user names means its module's last call, so shared modules are
fine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from saywhy.calls import Blank, Call, Pass, cut, forward_with, survey
from saywhy.errors import ModelError, UsageError, unknown
from saywhy.grid import Grid
from saywhy.hooks import untouched
from saywhy.outputs import Read, logits_of
from saywhy.probe import Echo, Given, find_grid, grid_of, on_average
from saywhy.replay import Tail, make_tail

MAX_CANDIDATES = 80
GROUP = 8  # candidates that are cut in one pass, from the last on: what is held at once
AROUND = "other paths lead around it, so replays run the whole network"
LAST = "the last layer with a grid that everything flows through"
READ = f"the last layer with a grid that the scores read; {AROUND}"
EARLY = 0.5  # of the calls with weights: with more after it, a layer sees little of what the network does,
SOME = 0.1  # and a later one is taken if it carries that much, though paths lead around it
ANYTHING = Given()

Found = tuple[Call, Grid]


@dataclass(frozen=True, eq=False)
class Point:
    """A layer that can be tapped: the call of its module, its grid, its tail, and why it was chosen.

    `recorded`: gradients reach it only if the whole pass keeps a graph, as behind a backbone that runs under no_grad.
    """

    path: str
    call: Call
    grid: Grid
    size: tuple[int, int]
    channels: int
    tail: Tail
    reason: str
    recorded: bool = False

    @property
    def order(self) -> int:
        """Its place in a forward pass: a later layer's is larger."""
        return self.call.end


class Layers:
    """The layers of a network that can be tapped, found by one dry run on the four probe pictures (4, ...)."""

    def __init__(self, net: nn.Module, inputs: Tensor, scores_of: Read = logits_of) -> None:
        self.net, self.inputs = net, inputs[:2]
        self.found = survey(net, inputs, scores_of)
        self.scores = self.found.scores
        if len(self.scores) != 2 or not torch.isfinite(self.scores).all():
            raise ModelError(
                f"for 2 images the network gave {len(self.scores)} rows of scores, {tuple(self.scores.shape)}, "
                + ("not one row an image" if len(self.scores) != 2 else "with NaN or infinite values in them")
            )

        # What torch's own operations on images give, (N, c, h, w): outputs of the same form are maps as well.
        ours = (c for c in self.found.calls if _is_image(c.module) and c.blanks and c.blanks[0].batch == [0])
        self.images = {c.blanks[0].each_image for c in ours}
        self._likely: dict[tuple[int, ...], Grid | None] = {}

    def grid(self, call: Call, given: Given = ANYTHING) -> Grid | None:
        """The grid of a call's output: by the operation, else seen by the probe, else by its form.

        Not by operation or form where the probe sees one axis of the picture clearly and not the other.
        """
        answer = call.answer
        if answer is None:
            return None
        form = call.blanks[0].each_image
        found = find_grid(answer, given, self._likely_of(answer))
        maps = answer.batch == 0 and form in self.images and min(form[1:]) >= 2 and not answer.one_sided
        if maps and (found is None or _is_image(call.module)):
            found = Grid("nchw", (form[1], form[2]))
        return found if found is not None and given.allows(found) else None

    def _likely_of(self, answer: Echo) -> Grid | None:
        """The grid that token sequences of this form have on average over the network."""
        if answer.shape not in self._likely:
            same = [c.answer for c in self.found.calls if c.answer is not None and c.answer.shape == answer.shape]
            alike = [a for a in same if a.batch == answer.batch]
            self._likely[answer.shape] = find_grid(on_average(alike)) if len(answer.shape) == 3 else None
        return self._likely[answer.shape]

    # -- by name -----------------------------------------------------------------------------------

    def named(self, name: str | nn.Module, given: Given = ANYTHING) -> Point:
        """The point of a layer that the user named, by dotted name or module; `given` overrules the probe's grid.

        Raises:
            UsageError: no such layer, one without a grid over the image, or a grid that its output cannot hold.
        """
        label, call = self._call(name)
        grid = self.grid(call, given)
        held = (call, grid or _said_grid(label, call, given))
        reads = (next(self._read([held], recorded)) for recorded in (False, True))
        recorded = next((i == 1 for i, read in enumerate(reads) if read[3]), False)
        point = replace(self._point(*held), recorded=recorded)
        size = f"{point.size[0]} x {point.size[1]}"
        doubt = "" if grid else ", on a grid as given that the probe does not see"
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
        read = read or cut(self.net, self.inputs, [call], scores_of=self.found.scores_of)
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
        candidates = self._candidates(at_least, given)
        point = self._searched(candidates, recorded=False) or self._searched(candidates, recorded=True)
        if point is None and candidates and torch.equal(self.scores[:1], self.scores[1:2]):  # a head not yet trained
            why = "the last layer with a grid; the scores depend on no layer"
            return self._chosen(self._point(*candidates[0]), why, [], [])
        return point

    def _searched(self, candidates: list[Found], recorded: bool) -> Point | None:
        unread: list[Found] = []
        around: list[Point] = []
        for group in _grouped(candidates):
            for call, grid, read, reached in self._read(group, recorded):
                if not reached:
                    unread.append((call, grid))
                    continue
                point = replace(self._point(call, grid, read), recorded=recorded)
                if point.tail.clean:
                    later = self._carrying(around) if self._after(point) > EARLY else None
                    return later or self._chosen(point, LAST, unread, around)
                around.append(point)
        return self._carrying(around) or (self._chosen(around[0], READ, [], []) if around else None)

    def _after(self, point: Point) -> float:
        """The share of the calls of modules with weights that come after a layer."""
        ends = [c.end for c in self.found.calls if any(p is not None for p in c.module._parameters.values())]
        return sum(end > point.order for end in ends) / max(len(ends), 1)

    def _carrying(self, around: Sequence[Point]) -> Point | None:
        """The last of some layers that paths lead around which carries some of what tells two pictures apart."""
        for point in around:
            share = self._carried(point)
            if share >= SOME:
                why = f"the last layer with a grid that the scores read: {share:.0%} of what tells two pictures apart"
                return self._chosen(point, f"{why}; {AROUND}", [], [])
        return None

    def _carried(self, point: Point) -> float:
        """How near two pictures' scores come to each other's when the layer's outputs are exchanged: 1 is equal."""
        read = cut(self.net, self.inputs, [point.call], scores_of=self.found.scores_of)
        scores, raw = read.scores.detach(), read.raws[point.order].detach()
        with untouched(self.net), torch.no_grad():
            exchanged = forward_with(
                self.net, self.inputs.clone(), point.call, raw.flip(point.grid.batch), self.found.scores_of
            )
        apart = (scores.flip(0) - scores).norm()
        return float(1 - (exchanged - scores.flip(0)).norm() / apart) if apart > 0 else 0.0

    def _chosen(self, point: Point, why: str, unread: Sequence[Found], around: Sequence[Point]) -> Point:
        reason = f"{point.path} ({point.size[0]} x {point.size[1]}), {why}"
        passed = [*(call for call, _ in unread), *(p.call for p in around)]
        # What lies within a layer that was passed over is no news, and what holds the chosen one comes no later.
        passed = [c for c in passed if not c.holds(point.call)]
        for call in reversed([c for c, _ in unread if c in passed and not any(o.holds(c) for o in passed)]):
            reason += f"; {call.path} comes later, but the scores read no position of it"
            break
        for call in (p.call for p in around if p.call in passed and not any(o.holds(p.call) for o in passed)):
            reason += f"; {call.path} comes later, but other paths lead around it (layer={call.path!r} takes it)"
            break
        return replace(point, reason=reason + self._warning())

    def _candidates(self, at_least: int, given: Given) -> list[Found]:
        """Calls whose output lies on a grid, from the last on."""
        found: list[Found] = []
        for call in sorted(self.found.calls, key=lambda c: -c.end):
            padded = "Pad" in type(call.module).__name__  # a border of zeros is no place in the image
            grid = None if padded else self.grid(call, given)
            if grid is not None and min(grid.shape) >= at_least:
                found.append((call, grid))
            if len(found) == MAX_CANDIDATES:
                break
        return found

    def _read(self, group: list[Found], recorded: bool) -> Iterator[tuple[Call, Grid, Pass, bool]]:
        """A pass that is cut at each of a group, and whether the scores read any position there.

        A network that leaves the graph somewhere (by numpy, say) cannot be cut before that place: then one by one.
        """
        try:
            read = cut(self.net, self.inputs, [call for call, _ in group], recorded, self.found.scores_of)
            with untouched(self.net):  # a network that checkpoints runs its modules again on the way back
                reached = _reached(read, group)
        except Exception:
            if len(group) == 1:
                yield *group[0], Pass(self.scores, {}, {}), False
                return
            for one in group:
                yield from self._read([one], recorded)
            return
        for (call, grid), whether in zip(group, reached, strict=True):
            yield call, grid, read, whether


def _grouped(found: list[Found]) -> Iterator[list[Found]]:
    for start in range(0, len(found), GROUP):
        yield found[start : start + GROUP]


def _reached(read: Pass, group: Sequence[Found]) -> list[bool]:
    """Whether any score has a gradient on each call's grid; a class-token network reads none of its last block's.

    All scores are asked at once, each by a weight of its own: the highest one may be constant, and probabilities sum
    to 1 whatever happens.
    """
    if not read.scores.requires_grad:
        return [False] * len(group)
    weights = torch.randn(read.scores.shape, generator=torch.Generator().manual_seed(0)).to(read.scores)
    raws = [read.raws[call.end] for call, _ in group]
    grads = torch.autograd.grad(read.scores, raws, weights, allow_unused=True)
    return [g is not None and bool((grid.to_maps(g) != 0).any()) for g, (_, grid) in zip(grads, group, strict=True)]


# --------------------------------------------------------------------------------------------------
# The grid of a layer that was named.


def _said_grid(label: str, call: Call, given: Given) -> Grid:
    """The grid that the user said of an output in which the probe does not see it.

    Raises:
        UsageError: the output holds no such grid, or nothing was said.
    """
    blank = call.blanks[0] if call.blanks else None
    if blank is None or len(blank.batch) != 1 or blank.sizes[blank.batch[0]].fixed:
        raise UsageError(f"layer {label!r} gives {_told(blank)}, not one output for each image; name a spatial layer")
    (batch,) = blank.batch
    if (each := blank.sizes[batch].each) != 1:
        raise UsageError(
            f"layer {label!r} gives {each} outputs for each image: it lives inside windows or heads, and has no map "
            "of the whole image; name a layer around it"
        )
    if not given:
        raise UsageError(
            f"layer {label!r} gives {_told(blank)}, which is no grid over the image: no two axes follow the picture's "
            "rows and columns; name a spatial layer, or say grid=(rows, columns) and prefix_tokens"
        )
    fits = [g for axes in ("chw", "hwc", "tc", "ct") if (g := _fitting(batch, axes, blank.each_image, given))]
    if not fits:
        raise UsageError(
            f"layer {label!r} gives {_told(blank)}, which does not hold a grid of {given}; correct grid, prefix_tokens "
            "and suffix_tokens, or leave them out"
        )
    return fits[0]


def _told(blank: Blank | None) -> str:
    return "no tensor" if blank is None else str(tuple("N" if size.each else size.fixed for size in blank.sizes))


def _fitting(batch: int, axes: str, sizes: Sequence[int], given: Given) -> Grid | None:
    """The grid that the user said, if an output whose axes but the images' are these holds just that."""
    if len(axes) != len(sizes) or given.shape is None:
        return None
    if "t" not in axes:
        grid = grid_of(batch, axes, sizes)
        return grid if grid.shape == given.shape and not given.prefix and not given.suffix else None
    rest = sizes[axes.index("t")] - given.shape[0] * given.shape[1]
    prefix = given.prefix if given.prefix is not None else rest - given.suffix if given.suffix is not None else 0
    suffix = given.suffix if given.suffix is not None else rest - prefix if given.prefix is not None else 0
    if min(prefix, suffix) < 0 or prefix + suffix != rest:
        return None
    return Grid(axes[:batch] + "n" + axes[batch:], given.shape, prefix, suffix)


def _is_image(module: nn.Module) -> bool:
    """Whether an operation of torch always gives (N, K, h, w)."""
    return type(module).__module__.startswith("torch.nn.modules.") and type(module).__name__.endswith("2d")
