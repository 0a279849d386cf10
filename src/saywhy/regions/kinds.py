"""What may be said of regions: the sentences, in the order of reading, each with its weight."""

from __future__ import annotations

from saywhy.parts import Kind

KINDS: dict[str, Kind] = {
    "unsteady": Kind(
        (
            "The model does not repeat itself: asked again, its probability of {class0} moves by "
            "{reach} (standard deviation).",
        ),
        9,
        0,
    ),
    "nothing": Kind(
        ("No part of the picture counts by itself: hiding any one changes the probability of {class0} by {limit}.",),
        8,
    ),
    "unconfirmed": Kind(
        (
            "No part of the picture is known to count for {class0} by itself: "
            "what hiding one does depends here on the way it is hidden.",
        ),
        8,
    ),
    "counted_most": Kind(
        (
            "{region} counted most for {class0}: hiding it lowers the probability by {points, whichever}.",
            "{region} counted most for {class0}: "
            "hiding it makes the evidence fall by {factor, whichever}; the answer stays at {percent0}.",
            "{region} counted most for {class0}: hiding it makes the evidence fall by {factor, whichever}.",
        ),
        9,
    ),
    "counted": Kind(
        (
            "{region} counted for {class0}: hiding it lowers the probability by {points, whichever}.",
            "{region} counted for {class0}: "
            "hiding it makes the evidence fall by {factor, whichever}; the answer stays at {percent0}.",
            "{region} counted for {class0}: hiding it makes the evidence fall by {factor, whichever}.",
        ),
        9,
    ),
    "came_next": Kind(
        (
            "{region} came next: hiding it costs {points}.",
            "{region} came next: hiding it makes the evidence fall by {factor}.",
        ),
        6,
    ),
    "counted_too": Kind(
        (
            "{region} counted too: hiding it costs {points}.",
            "{region} counted too: hiding it makes the evidence fall by {factor}.",
            "{regions} counted too: hiding {any} costs {reach}.",
        ),
        5,
    ),
    "against": Kind(
        (
            "{region} counted against {class0}: hiding it raises the probability by {points, whichever}.",
            "{region} counted against {class0}: hiding it makes the evidence grow by {factor, whichever}.",
        ),
        6,
    ),
    "contrast": Kind(
        (
            "{region} speaks for {class0} rather than {class1}: "
            "hiding it moves the difference by {points} towards {class1}.",
            "{region} speaks for {class0} rather than {class1}: "
            "hiding it moves the evidence between them by {factor} towards {class1}.",
        ),
        6,
    ),
    "flip": Kind(
        ("Without {region,} the model would say {class0}.",),
        7,
    ),
    "no_longer": Kind(
        ("Without {region,} the model would no longer say {class0}.",),
        7,
    ),
    "absent_without": Kind(
        ("Without {region,} {class0} would be absent.",),
        7,
    ),
    "needs": Kind(
        (
            "{both} need each other: seen together they add {points} more than one by one.",
            "{both} need each other: seen together they add {factor} to the evidence beyond one by one.",
        ),
        4,
    ),
    "stands_in": Kind(
        (
            "{both} stand in for each other: hiding both costs {points} more than hiding each by itself, added up.",
            "{both} stand in for each other: hiding both costs {factor} of evidence beyond hiding each by itself.",
        ),
        4,
    ),
    "text": Kind(
        ("Alone, what these sentences name keeps {class0} at {share0}; without it, {share1} is left.",),
        8,
        2,
    ),
}
