"""What is known of one image's regions, and the experiments that settle what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from saywhy.explanation import GUESSED, PRESENT, Beside, ClassScore, RegionName, Shade, Unit
from saywhy.language.appearance import Appearance
from saywhy.language.verify import Confirming, Measured, losses, runs_of
from saywhy.parts import Act
from saywhy.regions.noise import Noise
from saywhy.regions.verdict import STRICT, Rule, holds, multiples, signed

PAIRED = 3  # regions whose pairs are tried


@dataclass(frozen=True)
class RegionWords:
    """A region's id, its share of the picture, how it looks and its place word; `beside` as in `claims.Region`; its
    name, where one is known, and the id of the concept that it is of."""

    id: str
    area: float
    appearance: Appearance
    place: str
    shade: Shade | None = None
    beside: Beside | None = None
    name: RegionName | None = None
    concept: str | None = None

    @property
    def spoken(self) -> str:
        """The name that sentences call it by; "" without one, or where it is a guess."""
        return self.name.text if self.name and self.name.route not in GUESSED else ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about one image: its regions, what hiding costs here by itself, and the runs.

    `nulls` are those of the leading fills, `most` is the largest change of the target's probability that hiding any of
    the `tried` parts of the picture made, `dropped` counts the parts that were tried beside the regions and did not
    hold. `mirror`: whether the mirrored picture is the same thing to the model, and has a say. `names` gives the name
    of a class index. In the runs, `contrast` is target minus versus. `labels`: whether classes exclude nothing.
    """

    predicted: ClassScore
    target: ClassScore
    versus: ClassScore | None
    names: Sequence[str] | Mapping[int, str]
    regions: tuple[RegionWords, ...] = ()
    nulls: Mapping[str, float] = field(default_factory=lambda: {"inpaint": 1.0})
    most: float = 0.0
    tried: int = 1
    dropped: int = 0
    unit: Unit = "probability"
    how: Rule = STRICT
    noise: Noise = Noise()
    mirror: bool = False
    fast: bool = False
    labels: bool = False
    runs: tuple[Confirming, ...] = ()

    @property
    def said(self) -> bool:
        """Whether the model says the target."""
        if self.labels:
            return self.target.probability >= PRESENT
        return self.target.class_index == self.predicted.class_index

    def hidden(self, *which: int) -> list[Confirming]:
        """The runs in which exactly these regions were hidden."""
        return runs_of(self.runs, "hide", (self.regions[i].id for i in which))

    def lost(self, *which: int, unit: Unit | None = None, both: bool = False) -> Measured | None:
        """What hiding these together takes from the target, in the evidence's unit, in the picture or on average in it
        and its mirror (`both`); None if it was not tried."""
        return losses(self.hidden(*which), self.target.probability, unit or self.unit, both=both)


def verdict(e: Evidence, i: int) -> int:
    """1 if a region counts for the target, -1 if it counts against it, 0 if neither was confirmed."""
    here, lost, odds = e.lost(i), e.lost(i, both=True), e.lost(i, unit="log-odds", both=True)
    if here is None:
        return 0
    assert lost is not None and odds is not None, "what was tried in the picture was tried"
    if abs(here.value) <= e.noise.floor(len(here.values), e.unit):
        return 0
    by_fill = {fill: v for (fill, _), v in zip(odds.ways, odds.values, strict=True)}
    beyond = multiples(by_fill, e.nulls, e.regions[i].area)
    for sign in (1, -1):
        if signed(here.values, sign) and holds(
            [sign * v for v in lost.values], [sign * v for v in beyond], e.unit, sign, e.how
        ):
            return sign
    return 0


def counted(e: Evidence) -> list[int]:
    """The regions that count for the target, as numbered."""
    return [i for i in range(len(e.regions)) if verdict(e, i) == 1]


def wanted(e: Evidence, said: Sequence[int]) -> list[Act]:
    """The acts that settle what may be said where `said` count: each region hidden, the pairs of the strongest, and all
    that is said together, hidden and kept alone; no doubles."""
    acts: list[Act] = [("hide", (i,)) for i in range(len(e.regions))]
    if said and not e.fast:
        acts += [("hide", pair) for pair in combinations(said[:PAIRED], 2)]
        acts += [("hide", tuple(said)), ("keep", tuple(said))]
    return list(dict.fromkeys(acts))
