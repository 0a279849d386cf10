"""Pictures of an explanation: a table of functions `(Explanation) -> bytes`. No torch in here.

To add one, write the function and give it a row in `RENDERERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from saywhy.explanation import Explanation, json_text
from saywhy.render.html import fragment, html
from saywhy.render.png import png
from saywhy.render.text import text


@dataclass(frozen=True)
class Renderer:
    """A row of the table: the function, the suffix of its files, their media type, and what it gives.

    `inline`, where there is one, gives the same for a place inside somebody else's page: a notebook's cell.
    """

    function: Callable[[Explanation], bytes]
    suffix: str
    media_type: str
    summary: str
    inline: Callable[[Explanation], str] | None = None


def _json(explanation: Explanation) -> bytes:
    return json_text(explanation).encode()


RENDERERS: dict[str, Renderer] = {
    "text": Renderer(text, ".txt", "text/plain; charset=utf-8", "the answer, the sentences, a small table"),
    "json": Renderer(_json, ".json", "application/json", "the whole record, as docs/explanation.schema.json says"),
    "png": Renderer(png, ".png", "image/png", "a panel: photo, saliency, contributions, sentences"),
    "html": Renderer(html, ".html", "text/html; charset=utf-8", "one self-contained page", fragment),
}
