"""What the verbs share in speaking: notes and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

notes = Console(stderr=True)
NAMED = 20  # failed pictures on the screen
SILENT = 60.0  # seconds without a line where no terminal shows the current step


def tell_skipped(images: Sequence[str], quiet: bool) -> None:
    """Counts and names what lies in the given folders and is not looked at."""
    from saywhy.collection import skipped

    if not quiet and (told := skipped(images)):
        notes.print(f"skipped: {told}", markup=False, highlight=False, soft_wrap=True)


def tell_failed(failed: Sequence[tuple[str, str]], count: int, where: str) -> None:
    """Names the first of the `count` pictures that could not be used, path and error, and where the others are."""
    for path, error in failed[:NAMED]:
        text = error if path in error else f"{path}: {error}"
        notes.print(f"failed: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    if count > NAMED:
        notes.print(f"failed: {count - NAMED} more, see {where}", style="red", markup=False, soft_wrap=True)


@contextmanager
def progress(quiet: bool, total: int) -> Iterator[Callable[[int, str], None]]:
    """Tells the current step on standard error, unless --quiet is given: in one place where somebody watches, and in a
    line for each input, and for each minute of one, where a file does."""
    if quiet:
        yield lambda done, text: None
        return
    if not notes.is_terminal:
        yield _lines(total)
        return
    with notes.status("loading") as status:
        yield lambda done, text: status.update(f"[{done + 1}/{total}] {text}" if total > 1 else text)


def _lines(total: int) -> Callable[[int, str], None]:
    """Writes a line when the next of several inputs begins, and when nothing was told for a minute."""
    last, spoke = (0 if total == 1 else -1), time.monotonic()

    def tell(done: int, text: str) -> None:
        nonlocal last, spoke
        if done == last and time.monotonic() - spoke < SILENT:
            return
        last, spoke = done, time.monotonic()
        text = f"[{done + 1}/{total}] {text}" if total > 1 else text
        notes.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell
