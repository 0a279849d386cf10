"""The ways in which shards are done: here, by processes of this machine, or by an existing Ray cluster.

All map one function over the shards, `work(shard)`; each gives what it returned, in the order in which shards are done.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from saywhy.errors import ExtraMissing, InputError, UsageError

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 2  # shards that wait for each process: what is done next is known, and no more than that is kept


def here(work: Callable[[S], T], shards: Iterable[S]) -> Iterator[T]:
    """One after the other, in this process."""
    return map(work, shards)


def processes(work: Callable[[S], T], shards: Iterable[S], count: int) -> Iterator[T]:
    """By so many processes of this machine.

    Raises:
        InputError: one of them died.
        UsageError: what is to be done cannot be sent to them.
    """
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        raise UsageError(
            f"several workers need a model that can be sent to them ({e}): give a function of a module that loads it, "
            'as in functools.partial(load_classifier, "efficientnet-lite0"), or use one worker'
        ) from e
    rest = iter(shards)
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin) as pool:
        waiting: set[Future[T]] = set()
        try:
            while True:
                waiting |= {pool.submit(work, s) for s in islice(rest, AHEAD * count - len(waiting))}
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as e:
            raise InputError(
                "a process that did shards was ended from outside (out of memory?), or could not start (a script needs "
                'if __name__ == "__main__"); what is done is kept: the same call goes on, with fewer --workers'
            ) from e
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """What a process does first: from now on Ctrl-C ends it without a word, and so does the end of its parent, without
    which it would wait for shards for ever."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def cluster(work: Callable[[S], T], shards: Iterable[S], address: str) -> Iterator[T]:
    """By the Ray cluster at an address ("auto": the one that this machine is part of); Ray restarts what dies.

    The run's folder and the pictures must be the same files on all of its machines.
    """
    ray = _ray()
    rest, started = iter(shards), not ray.is_initialized()
    try:
        if started:
            ray.init(address=address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError) as e:
        raise UsageError(f"--ray {address}: no cluster there ({e})") from e
    try:
        task = ray.remote(max_retries=-1)(_done)
        room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: list[Any] = []
        while True:
            waiting += [task.remote(work, s) for s in islice(rest, room - len(waiting))]
            if not waiting:
                return
            done, waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(done[0])
    finally:
        if started:
            ray.shutdown()


def _done(work: Callable[[S], T], shard: S) -> T:
    """Ray sends functions, and no others that can be called."""
    return work(shard)


def _ray() -> Any:
    try:
        import ray
    except ImportError as e:
        raise ExtraMissing("ray", "ray", "--ray") from e
    return ray
