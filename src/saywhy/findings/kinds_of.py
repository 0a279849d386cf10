"""The kinds of findings, as a table; what those before a row explain it need not explain again."""

from __future__ import annotations

from saywhy.findings import causes, culprits, doubts, mixups, slices, sturdiness, unseen
from saywhy.findings.suspicion import FindingKind

GAIN = "share of errors that a change mends, minus what the change beside it mends"

KINDS: dict[str, FindingKind] = {
    "shortcut": FindingKind(
        "a mark beside the object makes one answer",
        "share of recognised pictures that are lost with the mark put in, minus with another patch put there",
        "Take the mark out of the pictures, or put it into all classes alike; then train the model again.",
        0, causes.shortcut,
    ),
    "context": FindingKind(
        "the surroundings decide",
        "share of surroundings before which the label is said: its own class's, minus the answer's",
        "Give the classes pictures before each other's surroundings, photographed or exchanged.",
        0, causes.context,
    ),
    "several objects": FindingKind(
        "another class is in the picture too",
        "share of errors in which the label and another class are seen apart, minus that of right answers",
        "Cut the pictures to one object, or give them all the labels that they show.",
        0, causes.several,
    ),
    "facing": FindingKind(
        "the side that the object faces decides", GAIN,
        "Mirror pictures in training, if a mirrored object is of the same class.",
        0, causes.facing,
    ),
    "fragile features": FindingKind(
        "answers do not survive what cameras do to pictures",
        "share of errors that are mended where it is undone, minus where it is made worse",
        "Train with pictures that are changed like that, or turn such pictures away.",
        0, sturdiness.look,
    ),
    "unseen variation": FindingKind(
        "a class is missed where its pictures differ from those that training showed",
        "share of errors in other splits, minus in train",
        "Look what these pictures show and those of training do not, and take such pictures into training.",
        1, unseen.look,
    ),
    "false alarm": FindingKind(
        "something beside the object is taken for a part",
        "share of recognised pictures that are lost with it put in, minus with another patch put there",
        "Give pictures with such things of all classes.",
        0, causes.false_alarm,
    ),
    "confused part": FindingKind(
        "one part is what two classes are confused by",
        "share of recognised pictures that are lost with the part put in, minus with another patch put there",
        "Give more pictures in which that part differs, larger or sharper.",
        0, causes.confused,
    ),
    "culprit unit": FindingKind(
        "one unit of the layer is behind errors",
        "share of errors that are mended with the unit switched off, minus what units mend on average",
        "See what it answers to; retrain the last layer without it.",
        0, culprits.look,
    ),
    "related classes": FindingKind(
        "two classes are said for each other, and are near for the model",
        "share of the errors of both classes that fall between them, minus what falls between any two",
        "Look whether people tell them apart in these pictures; give more pictures in which they can, or make one "
        "class of both.",
        1, mixups.look,
    ),
    "wrong labels": FindingKind(
        "labels are doubtful: the answer is sure, and hardly anything brings the label",
        "share of errors that look like that, minus one in ten",
        "Look at these labels first.",
        1, doubts.look,
    ),
    "slice": FindingKind(
        "errors go with what pictures have or lack",
        "share of errors with it, minus without it",
        "Take more pictures of this kind into training, or test whether it is the cause.",
        2, slices.look,
    ),
}  # fmt: skip
