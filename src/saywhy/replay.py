"""Replay of what comes after a layer: the network's own `forward`, with stubs for all that had finished before.

N images, M replayed rows. Whether anything of the stubbed part leaks into the scores (a skip connection around the
layer) is not guessed but tested once, by stubs that return other numbers each time. It needs no tracing, hence no luck
with tracers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saywhy.calls import Blank, Call, Pass, Random, Survey, alike
from saywhy.hooks import set_random_state, stubs, untouched
from saywhy.outputs import Read, logits_of, map_tensors, replace_first

Fill = Callable[[tuple[int, ...], torch.dtype], Tensor]


@dataclass(frozen=True, eq=False)
class Tail:
    """What replay needs: the calls of each module before the layer, in order; None where one is run.

    `clean` is False where something else than the layer reaches the scores; then the whole forward is run with the
    layer's output replaced. `writes` is True where what follows writes into the layer's output (an in-place ReLU),
    `solid` where it writes into what the stubs return, so that they need memory of their own.
    """

    net: nn.Module
    call: Call
    stubbed: Mapping[nn.Module, tuple[Call | None, ...]]
    batch: int
    picture: Tensor
    draws: bool
    clean: bool = True
    writes: bool = True
    solid: bool = False
    scores_of: Read = logits_of

    def __call__(self, raw: Tensor, random: Random | None = None) -> Tensor:
        """Scores (M, C) of the layer's outputs `raw`, through the tail alone; may write into `raw`.

        `random` is the state that torch's random numbers had behind the layer, for a network that draws some.
        """

        def nothing(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros((), dtype=dtype, device=raw.device).expand(shape)  # of any shape, it costs one number

        return self._run(raw, random, self.picture, nothing, self.solid)

    def _run(self, raw: Tensor, random: Random | None, picture: Tensor, fill: Fill, solid: bool) -> Tensor:
        M = raw.shape[self.batch]
        counts: dict[nn.Module, int] = {}

        def blank(form: Blank) -> Tensor:
            values = fill(tuple(size.of(M) for size in form.sizes), form.dtype)
            return values.clone(memory_format=torch.contiguous_format) if solid else values

        def stub(module: nn.Module, calls: tuple[Call | None, ...], own: Callable[..., Any]) -> Callable[..., Any]:
            def stand_in(*args: Any, **kwargs: Any) -> Any:
                count = counts[module] = counts.get(module, -1) + 1
                call = calls[count] if count < len(calls) else None
                if call is None:
                    return own(*args, **kwargs)
                forms = iter(call.blanks)
                output = map_tensors(lambda _: blank(next(forms)), call.output)
                if call is not self.call:
                    return output
                if random is not None and self.draws:
                    set_random_state(random, raw.device)
                return replace_first(output, raw)

            return stand_in

        images = picture.expand(M, *picture.shape[1:])
        with stubs({m: stub(m, calls, m._compiled_call_impl or m._call_impl) for m, calls in self.stubbed.items()}):
            return self.scores_of(self.net(images.clone() if solid else images))


def make_tail(net: nn.Module, call: Call, found: Survey, inputs: Tensor, read: Pass) -> Tail:
    """The tail behind one call of the dry run, tested on a pass that was cut there.

    It is clean where it gives the pass's own scores, and bit by bit the same ones when the stubs' numbers and the
    picture are others; where a picture's scores do not depend on its batch, also in another order and number.
    """
    (batch,) = call.blanks[0].batch
    tail = Tail(
        net, call, _before(call, found.calls), batch, inputs[:1].detach(), found.draws, scores_of=found.scores_of
    )
    raw, random, expected = read.raws[call.end].detach(), read.random[call.end], read.scores.detach()
    picked = torch.tensor([1, 0, 1], device=raw.device)
    noise = torch.Generator(raw.device).manual_seed(0)

    def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype, device=raw.device)
        return torch.rand(shape, generator=noise, device=raw.device).to(dtype)

    with untouched(net), torch.inference_mode(False), torch.no_grad():
        for tried in (tail, replace(tail, solid=True)):
            try:
                given = raw.clone()
                version = given._version
                again = tried(given, random)
                other = tried._run(raw.clone(), random, inputs[1:2], drawn, True)
                more = tried(raw.index_select(batch, picked)) if found.alone and not found.draws else None
            except Exception:  # the network's own code cannot digest such stubs: others may do, or none
                continue
            same = torch.equal if raw.device.type == "cpu" else alike  # a GPU may add in another order
            clean = alike(again, expected) and same(again, other)
            clean = clean and (more is None or alike(more, expected[picked]))
            return replace(tried, clean=clean, writes=given._version != version)
    return replace(tail, clean=False)


def _before(call: Call, calls: Sequence[Call]) -> dict[nn.Module, tuple[Call | None, ...]]:
    """By module, in order, the calls that had ended when `call` did and that replay comes by.

    What gives nothing that grows with the images (a table of positions) is no picture's: it is run, not stubbed.
    """
    by: set[int | None] = {None} | {c.start for c in calls if c.start < call.start and c.end > call.end}
    found: dict[nn.Module, tuple[Call | None, ...]] = {}
    for c in sorted(calls, key=lambda c: c.start):
        if c.parent in by and c.end <= call.end:
            run = c is not call and not any(blank.batch for blank in c.blanks)
            if run:
                by.add(c.start)
            found[c.module] = (*found.get(c.module, ()), None if run else c)
    return found
