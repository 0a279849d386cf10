"""What may be said: the record of a claim, and the table of the sentences that say it.

A kind of claim is the sentence itself with slots in it; `saywhy.language.sentences` writes and reads them. Parts bring
kinds of their own (`saywhy.parts.Sections`).
"""

from __future__ import annotations

from dataclasses import dataclass

from saywhy.errors import UsageError
from saywhy.explanation import Beside, Unit
from saywhy.parts import PARTS, Kind


@dataclass(frozen=True)
class Region:
    """A region as a sentence names it; all but the id is empty where an earlier sentence introduced it.

    It is called by its `name`, or else by its `look`. `beside` (above region 1) tells it from another one that is
    called the same and lies at the same place.
    """

    id: str
    look: str = ""
    place: str = ""
    beside: Beside | None = None
    name: str = ""

    @property
    def described(self) -> bool:
        """Whether it says more than its id."""
        return bool(self.look or self.name)


@dataclass(frozen=True)
class Claim:
    """What a sentence says. Numbers are whole points or per cents, None where the sentence has no such number.

    `classes` are class names and `percents` probabilities, in the order of the sentence; `value` lies between `low` and
    `high`. In the unit "log-odds" they are factors of the evidence, in tenths.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    classes: tuple[str, ...] = ()
    percents: tuple[int, ...] = ()
    value: int | None = None
    low: int | None = None
    high: int | None = None
    unit: Unit = "probability"


MOST_FACTOR = 10**8  # evidence that changes by more is told as "over 100 million": nobody measures it more closely

GENERAL: dict[str, Kind] = {
    "prediction": Kind(
        (
            "The model {says} {class0} ({percent0}).",
            "The model {says} {class0} ({percent0}), {ahead} {class1} ({percent1}).",
        ),
        9,
        place=0,
    ),
    # Of labels that exclude nothing.
    "present": Kind(("The model says: {class0} is present ({percent0}).",), 9, place=0),
    "hardly_present": Kind(
        ("The model says: {class0} is present, next to the threshold of 50 % ({percent0}).",), 9, place=0
    ),
    "hardly_absent": Kind(
        ("The model says: {class0} is absent, next to the threshold of 50 % ({percent0}).",), 9, place=0
    ),
    "absent": Kind(("The model says: {class0} is absent ({percent0}).",), 9, place=0),
    "compared": Kind(("Of {class0}, with which you compare it, it says {percent0}.",), 9, place=0),
    "asked": Kind(
        (
            "You asked about {class0} ({percent0}); the model itself says {class1} ({percent1}).",
            "You asked about {class0} ({percent0}) against {class1} ({percent1}); "
            "the model itself says {class2} ({percent2}).",
        ),
        9,
        place=0,
    ),
}


def kinds() -> dict[str, Kind]:
    """All kinds of claims in the order of reading: what is said of every image, and what each part brings.

    Raises:
        UsageError: two parts bring kinds of one name.
    """
    known = dict(GENERAL)
    for name, part in PARTS.items():
        own = part.sections().kinds
        if twice := sorted(known.keys() & own.keys()):
            raise UsageError(f"the part {name} brings kinds of claims that there are already: {', '.join(twice)}")
        known |= own
    return dict(sorted(known.items(), key=lambda row: row[1].place))
