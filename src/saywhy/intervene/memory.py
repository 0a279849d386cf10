"""What was asked once is not asked again: answers of a classifier, remembered while a block is open.

An answer is kept under the classifier, the content of the image and of the mask, the fill, and the seed where the fill
is drawn. A remembered answer costs no pass and counts as none. The classifier is known by being the same object: two
networks can share all weights, and so their fingerprint, and answer differently. One whose weights are changed in place
needs a new block.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 32 * 2**20


class Memory:
    """Answers by key, `most` bytes of them; the ones that were needed least recently are forgotten first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._answers: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, keys: Sequence[Hashable], ask: Callable[[list[int]], Tensor]) -> Tensor:
        """The answer (m, ...) of each key; `ask(places)` gives those that are not known, equal ones once."""
        known = {key: answer for key in keys if (answer := self._get(key)) is not None}
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
        if new:
            places = sorted(new.values())
            for place, answer in zip(places, ask(places), strict=True):
                with torch.inference_mode(False):  # a remembered tensor outlives its maker's mode
                    known[keys[place]] = answer.detach().clone()
                self._put(keys[place], known[keys[place]])
        return torch.stack([known[key] for key in keys])

    def _get(self, key: Hashable) -> Tensor | None:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def _put(self, key: Hashable, answer: Tensor) -> None:
        with self._lock:
            if key in self._answers:  # another thread was faster
                return
            self._answers[key] = answer
            self.bytes += answer.nbytes
            while self.bytes > self.most:
                self.bytes -= self._answers.popitem(last=False)[1].nbytes


_MEMORY: ContextVar[Memory | None] = ContextVar("memory", default=None)


@contextmanager
def remembering(memory: Memory | None = None) -> Iterator[Memory]:
    """Within the block, what the engine has asked before, in this thread, is answered from memory.

    Without `memory` an open block's is used on, or a new one is begun; give one to go on with it later.
    """
    open_one = _MEMORY.get() if memory is None else memory  # an empty Memory is false
    chosen = Memory() if open_one is None else open_one
    token = _MEMORY.set(chosen)
    try:
        yield chosen
    finally:
        _MEMORY.reset(token)


def in_use() -> Memory | None:
    """The memory of the innermost open block."""
    return _MEMORY.get()


def content(values: Tensor) -> bytes:
    """A digest of a tensor's shape and values; masks of only 0 and 1, the most frequent, are packed first."""
    array = values.detach().cpu().numpy()
    bits = array.astype(bool)
    packed = np.packbits(bits) if (bits == array).all() else array
    told = f"{array.shape} {packed.dtype}".encode()
    return hashlib.sha256(told + packed.tobytes()).digest()
