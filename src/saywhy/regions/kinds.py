"""What may be said of regions: the sentences, in the order of reading, each with its weight."""

from __future__ import annotations

from saywhy.parts import Kind

KINDS: dict[str, Kind] = {
    "nothing": Kind(
        ("No region counts noticeably by itself: hiding any one changes the probability of {class0} by {limit}.",),
        8,
    ),
    "unconfirmed": Kind(
        ("No claim about a single region was confirmed.",),
        5,
    ),
    "counted_most": Kind(
        (
            "{region} counted most for {class0}: hiding it lowers the probability by {points}.",
            "{regions} counted most for {class0}: hiding {any} lowers the probability by {reach}.",
        ),
        9,
    ),
    "came_next": Kind(
        (
            "{region} came next: hiding it costs {points}.",
            "{regions} came next: hiding {any} costs {reach}.",
        ),
        5,
    ),
    "counted": Kind(
        (
            "{region} counted for {class0}: hiding it costs {points}.",
            "{regions} counted for {class0}: hiding {any} costs {reach}.",
        ),
        3,
    ),
    "against": Kind(
        ("{region} counted against {class0}: hiding it raises the probability by {points}.",),
        6,
    ),
    "alone": Kind(
        ("With everything else hidden, {region} alone still gives {class0} {share}.",),
        4,
    ),
    "contrast": Kind(
        (
            "{region} speaks for {class0} rather than {class1}: "
            "hiding it moves the difference by {points} towards {class1}.",
        ),
        6,
    ),
    "flip": Kind(
        (
            "Without {region,} the model would say {class0} ({runs}).",
            "Without {both,} the model would say {class0} ({runs}).",
        ),
        7,
    ),
    "no_longer": Kind(
        (
            "Without {region,} the model would no longer say {class0} ({runs}).",
            "Without {both,} the model would no longer say {class0} ({runs}).",
        ),
        5,
    ),
    "needs": Kind(
        ("{both} need each other: seen together they add {points} more than one by one.",),
        4,
    ),
    "stands_in": Kind(
        ("{both} stand in for each other: hiding both costs {points} more than hiding each by itself, added up.",),
        4,
    ),
    "context_suffices": Kind(
        ("With every region hidden, {class0} still gets {share}: the rest of the picture alone suffices.",),
        8,
    ),
    "context_part": Kind(
        ("With every region hidden, {class0} still gets {share}: the rest of the picture gives part of it.",),
        4,
    ),
    "context_little": Kind(
        ("With every region hidden, {class0} falls to {share}: it is the regions that count.",),
        5,
    ),
}
