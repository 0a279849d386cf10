"""What the verbs share in speaking: notes and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

notes = Console(stderr=True)


def tell_skipped(images: Sequence[str], quiet: bool) -> None:
    """Counts and names what lies in the given folders and is not looked at."""
    from saywhy.collection import skipped

    if not quiet and (told := skipped(images)):
        notes.print(f"skipped: {told}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(quiet: bool, total: int) -> Iterator[Callable[[int, str], None]]:
    """Tells the current step on standard error, when somebody watches and --quiet is not given."""
    if quiet or not notes.is_terminal:
        yield lambda done, text: None
        return
    with notes.status("loading") as status:
        yield lambda done, text: status.update(f"[{done + 1}/{total}] {text}" if total > 1 else text)
