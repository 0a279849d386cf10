"""The templates of self-contained pages: everything from outside is escaped, and a name that is missing is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from saywhy.render import wording


@cache
def templates(style: str) -> Environment:
    """The templates, with the sheet of that name as `css`."""
    folder = Path(__file__).parent / "templates"
    env = Environment(
        loader=FileSystemLoader(folder, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals["css"] = Markup((folder / style).read_text("utf-8"))
    env.filters["clean"] = wording.clean
    return env
