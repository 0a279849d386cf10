"""The bank as a page: every concept with its examples, and for every class what each counts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from saywhy.concepts.bank import ConceptBank
from saywhy.concepts.relevance import Relevance
from saywhy.render import wording
from saywhy.render.pages import templates

Row = dict[str, Any]

OF_A_CLASS = 10  # concepts that are shown of a class
BESIDE = 3  # exemplars beside a concept of a class


def gallery(bank: ConceptBank) -> str:
    """The page, self-contained: no network, no script. Every exemplar's picture is in it once, as a style."""
    env = templates("failures.css", Path(__file__).parent / "templates")
    return env.get_template("gallery.html").render(
        title=f"{len(bank)} concepts",
        model=wording.clean(bank.card["classifier"]["name"] or bank.fingerprint),
        facts=facts(bank),
        pictures={
            f"x{id}-{n}": base64.b64encode(one.jpeg).decode()
            for id, row in zip(bank.ids, bank.exemplars, strict=True)
            for n, one in enumerate(row)
        },
        concepts=[_concept(bank, j) for j in range(len(bank))],
        classes=[_class(bank, c) for c in bank.classes],
    )


def facts(bank: ConceptBank) -> list[str]:
    """How the bank was made and how far it can be trusted, a sentence each."""
    card = bank.card
    faithful = card["fidelity"][str(card["concepts"])]
    seeds, halves = card["stability"]["reseeded"], card["stability"]["halves"]
    shares = [f"another seed finds {wording.percent(seeds['alike'])} of them again"]
    shares += [] if halves is None else [f"the two halves of the pictures share {wording.percent(halves['alike'])}"]
    where = "held-out pictures" if card["held_out"] else "the pictures that they come from, as there were too few"
    told = (
        "whether they tell the model's answers cannot be measured: nothing in these places changes them"
        if faithful is None
        else f"told by them alone, {wording.percent(max(0.0, faithful))} of the model's answers survives on {where}"
    )
    return [
        f"Found by {card['discovery']} in the layer {bank.layer}, in {card['vectors']['kept']} of "
        f"{card['vectors']['of']} places of {card['pictures']} pictures, where the model sees the class that it says.",
        f"{told[0].upper()}{told[1:]}.",
        f"Of {len(bank)} concepts, {' and '.join(shares)}.",
    ]


def called(bank: ConceptBank, id: str) -> str:
    """What a concept is called: by the name that a person gave it, or as a pattern without a name."""
    name = bank.names.get(id)
    return "an unnamed pattern" if name is None else wording.clean(name)


def _concept(bank: ConceptBank, j: int) -> Row:
    id = bank.ids[j]
    mine = sorted((r for r in bank.relevance if r.concept == j and r.counts), key=lambda r: -abs(r.lost))
    return {
        "id": id,
        "name": called(bank, id),
        "exemplars": _exemplars(bank, j, len(bank.exemplars[j])),
        "classes": wording.listed([wording.clean(bank.classes[r.class_index]) for r in mine[:3]]),
        "more": max(0, len(mine) - 3),
    }


def _class(bank: ConceptBank, c: int) -> Row:
    rows = bank.of_class(c)
    present = [r for r in rows if r.present]
    return {
        "name": wording.clean(bank.classes[c]),
        "pictures": rows[0].pictures if rows else 0,
        "rows": [_counted(bank, r) for r in present[:OF_A_CLASS]],
        "more": max(0, len(present) - OF_A_CLASS),
    }


def _counted(bank: ConceptBank, r: Relevance) -> Row:
    id = bank.ids[r.concept]
    return {
        "id": id,
        "name": called(bank, id),
        "exemplars": _exemplars(bank, r.concept, BESIDE),
        "lost": points(r),
        "width": round(100 * min(1.0, max(0.0, r.lost))),
        "present": f"{r.present} of {r.pictures}",
        "counts": r.counts,
        "tcav": "–" if r.tcav is None else wording.percent(r.tcav),
        "tcav_counts": r.tcav_counts,
    }


def points(r: Relevance) -> str:
    """What taking a concept out costs a class, in points of probability, with its interval."""
    reach = "one picture" if r.low is None or r.high is None else f"{100 * r.low:.1f} to {100 * r.high:.1f}"
    return f"{100 * r.lost:.1f} ({reach})".replace("-", "−")


def _exemplars(bank: ConceptBank, j: int, most: int) -> list[Row]:
    return [
        {"style": f"x{bank.ids[j]}-{n}", "told": wording.clean(f"{one.file}, {one.class_name}")}
        for n, one in enumerate(bank.exemplars[j][:most])
    ]
