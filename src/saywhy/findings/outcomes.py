"""What came of the trials: of each picture that was tried, what was said after each change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from saywhy.audit.store import open_store

Box = tuple[float, float, float, float]
APART = 0.05  # overlap of two windows that show two places, at most
SEEN = 0.6  # probability from which a class is seen in a window


class AfterAct(NamedTuple):
    """What was said after one change (a row of the table `trials`)."""

    act: str
    of: str | None
    box: Box | None
    value: float | None
    said: int
    p_said: float
    p_answer: float
    p_versus: float


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All changes of one picture; `answer` was said, `versus` is the label of an error and else the runner-up."""

    n: int
    answer: int
    versus: int
    rows: Mapping[str, Sequence[AfterAct]]

    def share(self, act: str, said: int, of: str | None = None) -> float | None:
        """How often a class was said after an act (with surroundings `of` one side); None where it was not tried."""
        found = [r for r in self.rows.get(act, ()) if of is None or r.of == of]
        return sum(r.said == said for r in found) / len(found) if found else None

    def ever(self, act: str, said: int) -> bool:
        """Whether a class was said after any of an act's changes."""
        return any(r.said == said for r in self.rows.get(act, ()))

    @property
    def surroundings(self) -> float:
        """How much oftener `versus` is said before the surroundings of its class than before those of the answer's."""
        own, against = (self.share("placed", self.versus, of) for of in ("versus", "answer"))
        return 0.0 if own is None or against is None else own - against

    @property
    def planting(self) -> float:
        """How much oftener the answer is said with the patch that mends this error put in, than with other patches."""
        put, other = (self.share(act, self.answer) for act in ("planted", "patched"))
        return 0.0 if put is None or other is None else put - other

    @property
    def patch(self) -> AfterAct | None:
        """The patch that mends, if there is one."""
        return next(iter(self.rows.get("planted", ())), None)

    def places(self, own: int) -> bool:
        """Whether class `own` is seen in a window, and another class in one apart from it."""
        windows = [r for r in self.rows.get("closer", ()) if r.p_said >= SEEN]
        shown = [r.box for r in windows if r.said == own]
        return any(r.said != own and _overlap(r.box, box) <= APART for r in windows for box in shown)

    @property
    def mirror(self) -> float:
        """1 where the mirrored picture is said to be `versus`, minus how often the shifted one is."""
        turned, moved = self.share("mirrored", self.versus), self.share("shifted", self.versus)
        return 0.0 if turned is None or moved is None else turned - moved


def _overlap(a: Box | None, b: Box | None) -> float:
    """Intersection over union of two boxes."""
    if a is None or b is None:
        return 0.0
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def outcomes(run: Path) -> dict[int, Outcomes]:
    """Of every picture that was tried, by number."""
    with open_store(run) as store:
        found = store.execute(
            'SELECT n, answer, versus, act, "of", box, value, said, p_said, p_answer, p_versus FROM trials'
        ).fetchall()
    return grouped(found)


def grouped(found: Iterable[Sequence[Any]]) -> dict[int, Outcomes]:
    """Rows of the table `trials` by picture."""
    pairs: dict[int, tuple[int, int]] = {}
    rows: dict[int, dict[str, list[AfterAct]]] = defaultdict(lambda: defaultdict(list))
    for n, answer, versus, act, of, box, *rest in found:
        pairs[n] = answer, versus
        rows[n][act].append(AfterAct(act, of, None if box is None else tuple(box), *rest))
    return {n: Outcomes(n, *pairs[n], rows[n]) for n in sorted(rows)}
