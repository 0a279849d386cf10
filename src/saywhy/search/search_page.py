"""A search for people: as text, and as a page of thumbnails with boxes; no network, no script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from saywhy.image import Picture
from saywhy.render import wording
from saywhy.render.pages import jpeg, templates
from saywhy.search.hits import SearchHit, SearchRecord, SearchTerm

SIDE = 260
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")  # Okabe and Ito


def text(found: SearchRecord) -> str:
    """A line a picture, the best first, and where each phrase is."""
    lines = [f"{asked(found)}: {found.pictures:,} pictures compared, by {found.answered_by}"]
    for rank, hit in enumerate(found.hits, start=1):
        said = "; ".join(map(told, hit.terms))
        lines.append(f"{rank:3}. {hit.score:.3f} {wording.clean(hit.path)}: {answer(hit)}{'; ' + said if said else ''}")
    return "\n".join([*lines, *(f"- {wording.clean(n)}" for n in found.notes)])


def asked(found: SearchRecord) -> str:
    """What was asked for."""
    like = f"like {found.like}" if found.like is not None else ""
    return wording.clean(", but ".join(part for part in (like, found.query or "") if part))


def answer(hit: SearchHit) -> str:
    """What the classifier says, and the label where it is another."""
    other = f", labelled {hit.label}" if hit.label is not None and hit.label != hit.answer else ""
    return wording.clean(f"{hit.answer}{other}")


def told(term: SearchTerm) -> str:
    """A phrase, how likely it is there, and where."""
    where = f", {term.place}" if term.place else ""
    return f"{'' if term.wanted else 'not '}{wording.clean(term.phrase)} {term.likely:.2f}{where}"


def page(found: SearchRecord, pictures: Mapping[int, Picture]) -> str:
    """The page; `pictures` by number are those that could be read."""
    env = templates("failures.css", Path(__file__).parent / "templates")
    return env.get_template("search.html").render(
        title=asked(found),
        found=found,
        hits=[_card(rank, hit, pictures.get(hit.n)) for rank, hit in enumerate(found.hits, start=1)],
    )


def _card(rank: int, hit: SearchHit, picture: Picture | None) -> dict[str, Any]:
    return {
        "rank": rank, "score": f"{hit.score:.3f}", "file": wording.clean(Path(hit.path).name), "answer": answer(hit),
        "src": None if picture is None else jpeg(_boxed(picture, hit), SIDE),
        "terms": [{"told": told(t), "colour": COLOURS[i % len(COLOURS)] if t.box else None}
                  for i, t in enumerate(hit.terms)],
    }  # fmt: skip


def _boxed(picture: Picture, hit: SearchHit) -> Image.Image:
    image = Image.fromarray(picture.pixels)
    draw, width = ImageDraw.Draw(image), max(1, round(max(image.size) / 100))
    for i, term in enumerate(hit.terms):
        if term.box is not None:
            x0, y0, x1, y1 = term.box
            draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=COLOURS[i % len(COLOURS)], width=width)
    return image
