"""Numbers and short texts that all pictures share, so that the same value reads the same everywhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from saywhy.explanation import (
    GUESSED,
    NEAR,
    PRESENT,
    ClassScore,
    ConceptRecord,
    Explanation,
    ModelRecord,
    Run,
    SaliencyRecord,
)

# The rest of the picture "alone suffices" from this share of the full score on.
SURROUNDINGS_SUFFICE = 0.5
# A first and second class closer than this are a close race.
CLOSE_RACE = 0.1

# Bars of all pictures have one scale, so that a small number looks small.
BAR_ENDS = {"probability": 1.0, "log-odds": 10.0}

STATUS = {
    "flat": "is flat: it does not say where the model looked, so it is not drawn",
    "all_negative": "has no positive part: nothing in it speaks for the class, so it is not drawn",
    "not_finite": "came out with values that are not finite, so it is not drawn",
}


def told(e: Explanation) -> list[str]:
    """The lines of the text, each clean: what a writer made of the statements, or the statements."""
    lines = e.text.splitlines() if rewritten(e) or not e.statements else [s.text for s in e.statements]
    return [clean(line) for line in lines]


def rewritten(e: Explanation) -> bool:
    """Whether a writer put it in other words than those of the statements."""
    return bool(e.parts.get("writing", {}).get("proved"))


def not_rewritten(e: Explanation) -> str:
    """Why the sentences stand as they were although a writer was asked for other words; "" where that is not so."""
    how = e.parts.get("writing") or {}
    if not how.get("switched"):
        return ""
    asked = f"{clean(how['writer'])} ({clean(how['style'])})"
    return f"Not put in other words by the writer {asked}: {clean(how['switched'])}."


def clean(text: str) -> str:
    """One line without control characters: names come from outside, and a terminal obeys some of them."""
    return " ".join(letters(text).split())


def letters(text: str) -> str:
    """The text without control characters, letter for letter: a place in it stays where it was."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def percent(probability: float) -> str:
    """A probability as "39 %"; the ends are told as bounds, as the sentences tell them, never as certainty."""
    whole = round(100 * probability)
    return {0: "under 1", 100: "over 99"}.get(whole, str(whole)) + "\u00a0%"


def points(value: float, unit: str = "probability") -> str:
    """A signed difference: whole points of probability (tenths where that is none), or log-odds with two decimals."""
    if unit == "probability":
        value *= 100
        # The sentences round to whole points; tenths only keep the sign of what would read as nothing.
        text = str(round(abs(value))) if round(abs(value)) else f"{abs(value):.1f}"
    else:
        text = f"{abs(value):.2f}"
    if not text.strip("0."):
        return "0"
    return ("+" if value > 0 else "\u2212") + text


def measured(value: float, unit: str = "probability") -> str:
    """A signed difference with its unit: "+1 point", "−3 points", "−0.42 log-odds"."""
    text = points(value, unit)
    name = unit if unit != "probability" else "point" if text[1:] == "1" else "points"
    return f"{text} {name}"


def unit_name(unit: str) -> str:
    """The unit of contributions in words."""
    return "points of probability" if unit == "probability" else "log-odds"


def unit_of(explanation: Explanation) -> str:
    """The unit that contributions are in; probability where there are none."""
    return next((c.effect.unit for c in explanation.concepts), "probability")


def label_of(concept: ConceptRecord) -> str:
    """What a region is called, by its name or as the sentences do, and where it is: "orange patch, centre left"; and
    that it was not confirmed, if so."""
    beside = f", {concept.beside.relation} region {concept.beside.region}" if concept.beside else ""
    unsure = "" if concept.confirmed else " (not confirmed)"
    name = None if concept.name_route in GUESSED else concept.name
    return f"{clean(name or f'{concept.look} patch')}, {concept.place}{beside}{unsure}"


NAMED = {
    "given": "{sure} of it is of the concept that was given this name",
    "shown": "It is called so with {sure} certainty, as shown",
    "lexical": "Perhaps {name}: {sure} sure, by what the model makes of it alone and of the whole picture",
}


def name_sure(concept: ConceptRecord) -> str:
    """Where a region's name comes from and how sure it is, "" if it has none."""
    if concept.name_route is None or concept.name_confidence is None:
        return ""
    return NAMED[concept.name_route].format(sure=percent(concept.name_confidence), name=clean(concept.name or ""))


def file_name(explanation: Explanation) -> str:
    """The photo's name without its folders, or "the photo"."""
    path = explanation.image.path
    return clean(PurePath(path).name) if path else "the photo"


def title(explanation: Explanation) -> tuple[str, str]:
    """The target with its probability, and a line that sets it against the answer and the other class, or says whether
    it is present where classes exclude nothing."""
    target, versus = explanation.target, explanation.versus
    name, others = clean(target.class_name), []
    if not explanation.prediction.exclusive:
        return name, ", ".join([presence(target.probability), *([f"beside {_scored(versus)}"] if versus else [])])
    if target.class_index != explanation.prediction.class_index:
        others.append(f"the model's answer is {_scored(explanation.prediction)}")
    if versus is not None and versus.class_index != explanation.prediction.class_index:
        how = "ahead of" if target.probability >= versus.probability else "behind"
        others.append(f"{how} {_scored(versus)}")
    return name, ", ".join(others)


def presence(probability: float) -> str:
    """What a label that excludes no other is by its probability."""
    which = "present" if probability >= PRESENT else "absent"
    return which + (", next to the threshold of 50\u00a0%" if abs(probability - PRESENT) < NEAR else "")


def _scored(row: ClassScore) -> str:
    return f"{clean(row.class_name)} {percent(row.probability)}"


def headline(explanation: Explanation) -> str:
    """The prediction line: "tiger cat 39 %, ahead of Egyptian cat 36 %"."""
    name, rest = title(explanation)
    return f"{name} {percent(explanation.target.probability)}" + (f", {rest}" if rest else "")


def sufficiency(explanation: Explanation) -> dict[str, dict[str, float]] | None:
    """What all that counts keeps "alone" and what is left "without" it, each with value, low and high."""
    found: dict[str, dict[str, float]] | None = explanation.parts.get("regions", {}).get("sufficiency")
    return found


def together(explanation: Explanation) -> str:
    """The line that says what the regions that count keep alone, and what is left without them; empty if none do."""
    found = sufficiency(explanation)
    if found is None:
        return ""
    alone, without = (percent(found[how]["value"]) for how in ("alone", "without"))
    name = clean(explanation.target.class_name)
    return f"All that counts for {name} together: {alone} when it alone is seen, {without} without it."


def bars_are(explanation: Explanation) -> str:
    """What a bar shows."""
    ways = max((c.effect.runs for c in explanation.concepts), default=0)
    grey = " Grey: not confirmed." if not all(c.confirmed for c in explanation.concepts) else ""
    return f"Bars: what hiding each region by itself takes away, the mean of {ways} ways to hide it.{grey}"


def crop_is_whole(explanation: Explanation) -> bool:
    """Whether the model saw the whole photo."""
    image, (x0, y0, x1, y1) = explanation.image, explanation.image.seen
    return x0 <= 0 and y0 <= 0 and x1 >= image.width and y1 >= image.height


def cut_regions(explanation: Explanation) -> list[str]:
    """The ids of regions that touch a side of the crop where the photo goes on."""
    image = explanation.image
    x0, y0, x1, y1 = image.seen
    dx, dy = 0.02 * (x1 - x0), 0.02 * (y1 - y0)
    cut = []
    for c in explanation.concepts:
        left, top, right, bottom = c.box
        sides = (
            x0 > 0 and left <= x0 + dx,
            y0 > 0 and top <= y0 + dy,
            x1 < image.width and right >= x1 - dx,
            y1 < image.height and bottom >= y1 - dy,
        )
        if any(sides):
            cut.append(c.id)
    return cut


def surroundings_suffice(explanation: Explanation) -> bool:
    """Whether the score stays high with all that counts hidden."""
    found = sufficiency(explanation)
    return found is not None and found["without"]["value"] >= SURROUNDINGS_SUFFICE * explanation.target.probability


def listed(words: Sequence[str]) -> str:
    """Words as "1, 2 and 3"."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


def not_said(explanation: Explanation) -> list[str]:
    """What the explanation does not say, and why."""
    e, lines = explanation, []
    if e.skipped_claims:
        what = "1 part was" if e.skipped_claims == 1 else f"{e.skipped_claims} parts were"
        lines.append(f"{what} tried and not confirmed: what hiding did depended on the way, or was no more than usual.")
    else:
        lines.append("No claim was dropped: every one that was tried was confirmed.")
    if (found := sufficiency(e)) and surroundings_suffice(e):
        lines.append(
            f"That these regions are the whole reason: with all of them hidden {clean(e.target.class_name)} still has "
            f"{percent(found['without']['value'])}."
        )
    if e.saliency and e.saliency.status != "ok":
        lines.append(f"Where the model looked, by {clean(e.saliency.method)}: the map {status_of(e.saliency)}.")
    if not crop_is_whole(e):
        lines.append(f"Anything about what lies outside the frame: the model saw {_seen_share(e)} of the photo.")
    if cut := cut_regions(e):
        which = f"region {cut[0]} ends: it reaches" if len(cut) == 1 else f"regions {listed(cut)} end: they reach"
        lines.append(f"Where {which} the frame, and the crop may have cut the object.")
    lines += [why] if (why := not_rewritten(e)) else []
    if not e.concepts:
        lines.append("Which part of the photo counted: none is known to.")
    lines.append("What is right: these are the model's reasons, measured with parts hidden, not the world's.")
    return lines


def status_of(saliency: SaliencyRecord) -> str:
    """Why a map is not drawn."""
    return STATUS.get(saliency.status, STATUS["flat"])


def _seen_share(explanation: Explanation) -> str:
    image = explanation.image
    x0, y0, x1, y1 = image.seen
    wide, high = min(x1, image.width) - max(x0, 0), min(y1, image.height) - max(y0, 0)
    return percent(wide * high / (image.width * image.height))


def next_steps(explanation: Explanation) -> list[tuple[str, str]]:
    """What to do next, at most four, each with the command line or Python call that does it, or ""."""
    e, steps = explanation, []
    target, versus = e.target, e.versus
    known = {target.class_index} | ({versus.class_index} if versus else set())
    third = next((c for c in e.prediction.top if c.class_index not in known), None)
    if surroundings_suffice(e):
        steps.append(("Try the same object before another background.", ""))
    if cut_regions(e):
        steps.append(("Crop the photo so that the whole object lies inside the frame, and explain it again.", ""))
    if e.saliency and e.saliency.status != "ok":
        steps.append(("Try another saliency method.", _again(e, method=_another_method(e))))
    exclusive = e.prediction.exclusive
    if exclusive and versus and abs(target.probability - versus.probability) < CLOSE_RACE:
        swapped = _again(e, target=_spoken(versus, e), versus=_spoken(target, e))
        steps.append(("It is a close race: see what speaks for the other class.", swapped))
    if third is not None and not exclusive:
        steps.append((f"Ask about {clean(third.class_name)}.", _again(e, target=_spoken(third, e))))
    if third is not None and exclusive:
        other = _again(e, target=_spoken(target, e), versus=_spoken(third, e))
        steps.append((f"Ask why it is not {clean(third.class_name)}.", other))
    again = _again(e, seed=e.provenance.seed + 1)
    steps.append(("Explain it with another seed: what holds is no accident.", again))
    return steps[:4]


def _again(e: Explanation, **otherwise: str | int) -> str:
    """The command line that asks the same with other options, whole and quoted for a shell; of what Python asked, the
    call: its own arguments, which nobody here knows, are left to the reader."""
    asked = e.provenance.asked
    if asked is None:
        return f"explain(…, {', '.join(f'{name}={value!r}' for name, value in otherwise.items())})"
    options = {**asked, **{f"--{name}": (str(value),) for name, value in otherwise.items()}}
    words = [word for name, values in options.items() for word in (name, *values)]
    return shlex.join(["saywhy", "explain", _photo(e.image.path), *words])


def _photo(path: str | None) -> str:
    """A path as a word of a command; one that cannot be printed is left to the reader."""
    if not path or not path.isprintable():
        return "PHOTO"
    return f"./{path}" if path.startswith("-") else path


def _spoken(row: ClassScore, e: Explanation) -> str | int:
    """A class as one may be asked for: by its name, or by its number where the name does not tell it."""
    name, names = row.class_name, [c.class_name for c in e.prediction.top]
    plain = name.isprintable() and name.strip() not in ("", "predicted") and names.count(name) < 2
    return name if plain else row.class_index


def _another_method(e: Explanation) -> str:
    """A saliency method that serves the same model, and is not the one that was asked."""
    others = ("occlusion", "rise") if e.model.layer is None else ("hires-cam", "layer-cam")
    return next(name for name in others if e.saliency is None or name != e.saliency.method)


def cost_line(explanation: Explanation) -> str:
    """What the explanation cost and what made it."""
    cost, made, model = explanation.cost, explanation.provenance, explanation.model
    passes = f"{cost.forward_passes} forward passes"
    if cost.tail_passes:
        passes += f" and {cost.tail_passes} of the tail alone"
    took = "" if cost.seconds is None else f"{cost.seconds:.1f} s, "
    return f"{clean(model.name)}, {passes}, {took}seed {made.seed}, saywhy {made.saywhy}"


def read_as(explanation: Explanation) -> list[str]:
    """How the photo and the model were read: what was guessed, in words."""
    return [clean(note) for note in (*explanation.image.notes, *explanation.model.notes)]


def layer_line(model: ModelRecord) -> str:
    """The tapped layer and why that one; the reason may name the layer itself."""
    layer, reason = clean(model.layer or "none"), clean(model.layer_reason)
    return reason if reason.startswith(layer) else f"{layer}: {reason}"


def regions_of(evidence: Sequence[str], explanation: Explanation) -> list[str]:
    """The regions that evidence ids speak of: those of an edge are its two ends."""
    ids = [c.id for c in explanation.concepts]
    edges = explanation.graph.edges if explanation.graph else ()
    meant = {**{e.id: [e.source, e.target] for e in edges}, **{id: [id] for id in ids}}
    return list(dict.fromkeys(id for item in evidence for id in meant.get(item, []) if id in ids))


def mean_score(runs: Sequence[Run]) -> float | None:
    """The mean score of runs, None when there are none."""
    return sum(r.score for r in runs) / len(runs) if runs else None


def bar_limits(explanation: Explanation) -> tuple[float, float]:
    """The ends of the axis that all bars and ranges share, the same on every picture."""
    end = BAR_ENDS[unit_of(explanation)]
    return -end, end


def on_axis(value: float, limits: tuple[float, float]) -> float:
    """Where a value lies on the axis, 0 to 1; beyond an end it lies on it."""
    low, high = limits
    return (min(max(value, low), high) - low) / (high - low)
