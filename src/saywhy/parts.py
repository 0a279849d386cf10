"""The table of parts: what an explanation is made of.

A part is a folder of its own and one row here. It learns (`fit`, `save`, `load`), looks (`find`), asks (`propose`,
`confirm`) and shows (`text`, `panel`, `page`); what it does not do is left out. `saywhy fit`, the explainer, the
record, the sentences and the renderers walk this table and know no part by name.

The rows name their modules as text, so that reading the table loads neither torch nor a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL import Image
    from torch import Tensor

    from saywhy.classifier import Classifier
    from saywhy.collection import Item
    from saywhy.explanation import Explanation, Unit
    from saywhy.language import Confirming, Found
    from saywhy.render.pages import Drawing
    from saywhy.seen import Seen

What = Literal["hide", "keep"]
Act = tuple[What, tuple[int, ...]]
Column = Literal["photo", "words", "below"]


def _silent(step: str) -> None:
    pass


# --------------------------------------------------------------------------------------------------
# What goes into a part's functions, and what comes out.


@dataclass(frozen=True)
class Fitting:
    """How a part is fitted: its `preset`, a fitted part to start from, half precision (None: as the part sees fit), the
    file in which an unfinished run is kept, the seed, and who is told each step; for parts that speak, the text space
    and its phrases (none: those that the space brings); the `parts` that there are already, by name; for parts that
    read captions the `tagger`, and the `strangers` that a file of captions names and nobody gave."""

    preset: str
    init: Any = None
    amp: bool | None = None
    checkpoint: Path | None = None
    seed: int = 0
    tell: Callable[[str], None] = _silent
    space: str = "own"
    phrases: tuple[str, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)
    tagger: str = "lexicon"
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Made:
    """A part that was just fitted: the pictures that could not be read (path, reason), why it broke off if it did, one
    line that says what came of it, and the files of its unfinished run, which go when it is saved."""

    part: Any
    summary: str
    failures: tuple[tuple[str, str], ...] = ()
    broke_off: str | None = None
    leftovers: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Request:
    """What was asked of an explanation beyond its two classes: at most how many regions, the unit of contributions, the
    seed, whether it should be `fast` (fewer passes, less said), phrases that are looked for, and whether
    `relations` are to be found and pieces `substitute`d."""

    regions: int | None = None
    unit: Unit = "probability"
    seed: int = 0
    fast: bool = False
    tell: Callable[[str], None] = _silent
    phrases: tuple[str, ...] = ()
    relations: bool = False
    substitute: bool = False


@dataclass(frozen=True, eq=False)
class Proposal:
    """Experiments that would settle what a part has found: `players` (k, H, W) boolean masks of the model's view, each
    with an id, acts on some of them, and those of the acts that are carried out in the picture's mirror too. Acts of
    several parts that hide the same pixels are carried out once."""

    players: Tensor
    ids: tuple[str, ...]
    acts: Sequence[Act]
    mirrored: Sequence[Act] = ()


@dataclass(frozen=True, eq=False)
class Confirmed:
    """What the outcomes allow: what may be said, how many claims fell, the `fields` of the Explanation that the part
    owns, the `record` that goes as JSON under its name into `Explanation.parts` (None: nothing), JPEGs for its page
    that stay outside the JSON, and for the provenance what it did."""

    said: Sequence[Found] = ()
    skipped: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    record: Any = None
    made: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()


# --------------------------------------------------------------------------------------------------
# The faces of a part.


@dataclass(frozen=True)
class Face:
    """What a part does with a classifier; None for what it does not.

    `fit(clf, items, fitting)` learns from a stream of pictures. `save(part, folder)` writes its files and gives as JSON
    what the listing says of them, with a "card" that says how it was made; `load(folder, row, clf)` reads them.
    `serves(part)` gives options of saliency methods that only work with it, {"l-cam": {"head": ...}}; the first leads.
    `take(clf, given, seed)` makes the part of what the caller gives by its name (`Explainer.given`) instead of fitting.

    `find(part, seen, earlier, asked)` gives what it finds in one image (None: nothing), `part` being None where it was
    not fitted and `earlier` what the rows before it found, by name. `propose(found, seen)` gives the experiments,
    `confirm(found, seen, runs)` what their outcomes allow.
    """

    fit: Callable[[Classifier, Sequence[Item], Fitting], Made] | None = None
    save: Callable[[Any, Path], Mapping[str, Any]] | None = None
    load: Callable[[Path, Mapping[str, Any], Classifier], Any] | None = None
    serves: Callable[[Any], Mapping[str, Mapping[str, Any]]] | None = None
    take: Callable[[Classifier, Any, int], Any] | None = None
    find: Callable[[Any, Seen, Mapping[str, Any], Request], Any] | None = None
    propose: Callable[[Any, Seen], Proposal] | None = None
    confirm: Callable[[Any, Seen, tuple[Confirming, ...]], Confirmed] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of claim: its sentences with slots (see `saywhy.language.sentences`), its weight where there are too many
    sentences, and its place in the order of reading (regions are at 1)."""

    sentences: tuple[str, ...]
    weight: int
    place: int = 1


@dataclass(frozen=True)
class Sections:
    """How a part is shown, from the record alone; its module loads no torch.

    `text` gives lines for a terminal, `panel(canvas, explanation, y)` draws below y in the left column of the panel and
    gives the y below it, `below` the same over its whole width under both columns (y itself where it draws nothing),
    `page(drawing)` gives HTML by column. `kinds` are the claims that it brings.
    """

    text: Callable[[Explanation], str] | None = None
    panel: Callable[[Image.Image, Explanation, int], int] | None = None
    below: Callable[[Image.Image, Explanation, int], int] | None = None
    page: Callable[[Drawing], Mapping[Column, Markup]] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A row: what the part is, its two faces, loaded when they are first asked for, and the presets of its fit, the
    first of them the default (none: it learns nothing). What `needs` more than pictures is fitted only if asked for."""

    summary: str
    face: Callable[[], Face]
    sections: Callable[[], Sections]
    presets: tuple[str, ...] = ()
    needs: str = ""


def _row(folder: str, summary: str, presets: tuple[str, ...] = (), needs: str = "") -> Part:
    """The row of a part in this package: FACE of `part.py` and SECTIONS of `sections.py` in its folder."""

    def face() -> Face:
        found: Face = import_module(f"saywhy.{folder}.part").FACE
        return found

    def sections() -> Sections:
        found: Sections = import_module(f"saywhy.{folder}.sections").SECTIONS
        return found

    return Part(summary, face, sections, presets, needs)


# In the order in which they look, and are shown; a part knows what those before it found.
PARTS: dict[str, Part] = {
    "lcam": _row("lcam", "a saliency head that says where a class is seen, in one pass", ("refined", "fast", "paper")),
    "concepts": _row(
        "concepts",
        "visual concepts: what the model looks for in many pictures, and what each counts",
        ("kmeans", "nmf", "topk-sae", "superpixels"),
    ),
    "branch": _row(
        "branch",
        "any phrase of a text space: where it is in a picture, and what it counts",
        ("likeness", "vectors"),
        "a text space that speaks of such pictures",
    ),
    "graph": _row(
        "reasoning",
        "graphs of concepts, one for each class, and a student that decides by them as the classifier does",
        ("student",),
        "a bank of concepts",
    ),
    "attributes": _row(
        "attributes",
        "what filters mean in people's words, and the decision told in them",
        ("nnls", "lift", "published", "soft-wpmi"),
        "captions of the pictures",
    ),
    "language": _row(
        "writing",
        "what people say of such pictures: a joint space of the classifier's features and captions",
        ("pairs",),
        "captions of the pictures",
    ),
    "substitution": _row(
        "substitution",
        "what the classifier says with a good piece of another class in the place of the worst one",
        ("clearest",),
        "a bank of concepts",
    ),
    "baseline": _row("baseline", "what the classifier says of a blank picture"),
    "names": _row(
        "names", "what regions are called, learned from some that are shown", ("shown",), "regions with names"
    ),
    "lexical": _row("lexical", "what regions are called in ordinary words, where the classes are ImageNet's"),
    "regions": _row("regions", "the parts of the picture that count, what each counts, and how they work together"),
    "relations": _row("relations", "how two parts of the picture lie to each other, where that counts"),
    "surroundings": _row("surroundings", "whether the answer depends on what lies around the object"),
}
