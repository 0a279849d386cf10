"""The kinds of findings, as a table; what those before a row explain it need not explain again."""

from __future__ import annotations

from saywhy.findings import mixups, slices
from saywhy.findings.suspicion import FindingKind

KINDS: dict[str, FindingKind] = {
    "related classes": FindingKind(
        "two classes are said for each other, and are near for the model",
        "share of the errors of both classes that fall between them, minus what falls between any two",
        "Look whether people tell them apart in these pictures; give more pictures in "
        "which they can, or make one class of both.",
        False, mixups.look,
    ),
    "slice": FindingKind(
        "errors go with what pictures have or lack",
        "share of errors with it, minus without it",
        "Take more pictures of this kind into training, or test whether it is the cause.",
        False, slices.look,
    ),
}  # fmt: skip
