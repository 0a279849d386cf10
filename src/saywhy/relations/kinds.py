"""What may be said of relations: a sentence for each row of `WORDS`."""

from __future__ import annotations

from dataclasses import dataclass

from saywhy.parts import Kind


@dataclass(frozen=True)
class Lying:
    """How a relation is said: how the piece `lies` to the other one, where it is `turned` to, and `what` this is."""

    lies: str
    turned: str
    what: str


WORDS: dict[str, Lying] = {
    "above": Lying("above", "below it", "order"),
    "below": Lying("below", "above it", "order"),
    "left": Lying("left of", "to the right of it", "order"),
    "right": Lying("right of", "to the left of it", "order"),
    "near": Lying("close to", "twice as far from it", "distance"),
    "far": Lying("away from", "half as far from it", "distance"),
}


def kind_of(relation: str) -> str:
    """The kind of claim that a relation speaks for a class."""
    return f"relation_{relation}"


KINDS: dict[str, Kind] = {
    kind_of(name): Kind(
        (
            f"{{region0}} lies {row.lies} {{region1,}} and that {row.what} speaks for {{class0}}: moved {row.turned}, "
            "{again0} costs {points}; with both moved as far, {percent0} is left.",
        ),
        6,
    )
    for name, row in WORDS.items()
}
