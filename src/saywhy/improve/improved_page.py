"""An improvement for people: as text, and as a page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from saywhy.improve.improved import Compared, Estimate, Group, Improved
from saywhy.render import wording
from saywhy.render.pages import jpeg, templates

GROUPS = 24  # rows that are shown
SIDE = 240


def text(made: Improved) -> str:
    """What an improvement did, in a line for each measure."""
    lines = [f"{made.how}: {made.what}"]
    lines += [f"{name}: {between(value)}" for name, value in measures(made)]
    lines += [f"- {wording.clean(note)}" for note in made.notes]
    return "\n".join(lines)


def measures(made: Improved) -> list[tuple[str, Compared]]:
    """What was measured before and after, by name."""
    worst = f"{made.worst_before}; now {made.worst_after}"
    culprit, said = wording.clean(made.culprit), wording.clean(_class(made))
    rows = [
        (f"right, of {made.parts['judge']} pictures that taught nothing", made.accuracy),
        (f"right, in the worst group ({wording.clean(worst)})", made.worst),
        (f"what {culprit} gives {said}, by experiment", made.contribution),
        (f"what {said} has more with {culprit} than without, within labels", made.linked),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value is not None]


def _class(made: Improved) -> str:
    named = [g.class_name for g in made.groups if g.class_index == made.finding.class_index]
    return named[0] if named else f"class {made.finding.class_index}"


def between(value: Compared) -> str:
    """ "91.2 to 96.1, +4.9 points (+3.0 to +6.8)"."""
    return f"{_number(value.before)} to {_number(value.after)} %, {points(value.difference)}"


def points(level: Estimate) -> str:
    """A difference in points with its interval."""
    ends = "" if level.low is None or level.high is None else f" ({100 * level.low:+.1f} to {100 * level.high:+.1f})"
    return f"{100 * level.mean:+.1f} points{ends}"


def _number(level: Estimate) -> str:
    return f"{100 * level.mean:.1f}"


def page(made: Improved, maps: Sequence[tuple[Image.Image, Image.Image]]) -> str:
    """The page; `maps` are the pictures of `made.again`, before and after."""
    env = templates("failures.css", Path(__file__).parent / "templates")
    return env.get_template("improved.html").render(
        made=made,
        title=f"{made.how}: {wording.clean(made.culprit)}",
        measures=[{"name": name, **_row(value)} for name, value in measures(made)],
        groups=[_group(g) for g in made.groups[:GROUPS]],
        more=max(0, len(made.groups) - GROUPS),
        pictures=[_picture(a, both) for a, both in zip(made.again, maps, strict=True)],
        training=_training(made),
    )


def _row(value: Compared) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for name, level in (("before", value.before), ("after", value.after)):
        ends = "" if level.low is None or level.high is None else f"{100 * level.low:.1f} to {100 * level.high:.1f}"
        sides |= {name: f"{_number(level)} %", f"{name}_ends": ends}
    return {**sides, "difference": points(value.difference), "count": value.before.count}


def _group(group: Group) -> dict[str, Any]:
    having = "with it" if group.present else "without it"
    return {"name": f"{wording.clean(group.class_name)}, {having}", **_row(group.accuracy)}


def _picture(again: Any, both: tuple[Image.Image, Image.Image]) -> dict[str, Any]:
    sides = zip(
        ("before", "after"), (again.before, again.after), (again.p_before, again.p_after),
        (again.said_before, again.said_after), both, strict=True,
    )  # fmt: skip
    return {
        "file": wording.clean(Path(again.path).name),
        "label": wording.clean(again.label),
        "sides": [
            {
                "when": when, "answer": wording.clean(answer), "p": wording.percent(p), "said": wording.clean(said),
                "src": jpeg(image, SIDE),
            }
            for when, answer, p, said, image in sides
        ],
    }  # fmt: skip


def _training(made: Improved) -> str:
    if made.training is None:
        return "Nothing was trained by saywhy's loop."
    t = made.training
    ended = f"Training ended after {len(t.history)} epochs, {t.steps} steps ({t.stopped})"
    return f"{ended}; kept is epoch {t.best_epoch + 1}."
