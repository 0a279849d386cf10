"""The templates of self-contained pages: everything from outside is escaped, and a name that is missing is an error."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from saywhy.explanation import Effect, Explanation, Run
from saywhy.render import wording
from saywhy.render.layout import Layout


@dataclass(frozen=True, eq=False)
class Drawing:
    """What the sections of one page share: the record, where things lie, the class names by which regions light up, and
    the prefix of the page's ids."""

    explanation: Explanation
    layout: Layout
    lights: Mapping[str, str]
    uid: str


@cache
def templates(style: str, *more: Path) -> Environment:
    """The templates, those of other folders too, with the sheet of that name as `css`."""
    folder = Path(__file__).parent / "templates"
    env = Environment(
        loader=FileSystemLoader([folder, *more], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals["css"] = Markup((folder / style).read_text("utf-8"))
    env.filters["clean"] = wording.clean
    return env


def checked(effect: Effect | None) -> str:
    """By what an effect was measured."""
    if effect is None:
        return "read from the model's output"
    runs = "1 run" if effect.runs == 1 else f"{effect.runs} runs"
    return f"{runs} with {wording.clean(effect.fill)}"


def run_row(r: Run) -> dict[str, Any]:
    """A run as a row of `runtable.html`."""
    return {
        "act": {"hide": "hidden", "keep": "kept alone"}[r.act] + (", mirrored" if r.mirrored else ""),
        "regions": wording.listed(r.regions) or "none",
        "fill": wording.clean(r.fill),
        "seed": r.seed,
        "score": f"{100 * r.score:.1f}\u00a0%",
    }


def jpeg(image: Image.Image, side: int) -> str:
    """A picture as data, with this longest side."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _data(small, "JPEG", "image/jpeg", quality=86, optimize=True)


def exemplars(e: Explanation, concept: str) -> tuple[bytes, ...]:
    """What a concept of the explainer's bank looks like in other pictures, as JPEGs; nothing where none are at hand."""
    pictures, found = e.pictures.get("concepts", ()), e.parts.get("concepts") or {}
    first, last = found.get("pictures", {}).get(concept, (0, 0))
    return tuple(pictures[first:last])


def elsewhere(e: Explanation, concept: str) -> list[str]:
    """The same as data."""
    return as_data(exemplars(e, concept))


def as_data(jpegs: Iterable[bytes]) -> list[str]:
    """JPEGs as data."""
    return [f"data:image/jpeg;base64,{base64.b64encode(p).decode()}" for p in jpegs]


def png(image: Image.Image) -> str:
    """A picture as data, with all its pixels and its transparency."""
    return _data(image, "PNG", "image/png", optimize=True)


def _data(image: Image.Image, kind: str, media_type: str, **how: Any) -> str:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return f"data:{media_type};base64,{base64.b64encode(out.getvalue()).decode()}"
