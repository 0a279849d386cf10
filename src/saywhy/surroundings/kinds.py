"""What may be said of the surroundings."""

from __future__ import annotations

from saywhy.parts import Kind

WHAT = {False: "the model still says {class0}: it gets {percent0}, at least {percent1}.",
        True: "the model no longer says {class0}: it gets {percent0}, at most {percent1}, "
              "and before its own background, blurred, {percent2}."}  # fmt: skip
BEFORE = {
    ("", ""): "Before four other backgrounds",
    ("", "_mostly"): "Before three of four other backgrounds",
    ("_yours", ""): "Before four backgrounds of yours",
    ("_yours", "_mostly"): "Before three of four backgrounds of yours",
}
NAMES = {False: "surroundings_spared", True: "surroundings_decide"}
WEIGHTS = {False: 5, True: 9}


def kind_of(decide: bool, *, yours: bool, every: bool) -> str:
    """The kind of claim: do the surroundings decide, before whose backgrounds, every one or three of four."""
    return NAMES[decide] + ("_yours" if yours else "") + ("" if every else "_mostly")


KINDS: dict[str, Kind] = {
    NAMES[decide] + whose + how_many: Kind((f"{before} {what}",), WEIGHTS[decide], place=2)
    for decide, what in WHAT.items()
    for (whose, how_many), before in BEFORE.items()
}
