"""The table of writers, and the one way from an explanation to a text that was proved.

An explanation gives an account, the account in a style what is to be said and all ways to say it, a writer chooses one
way, and the parser reads the text back. If it does not read the same, the sentences that saywhy writes by itself stand
in its place, and the record says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from saywhy.errors import UsageError, unknown
from saywhy.explanation import Explanation
from saywhy.image import Picture
from saywhy.writing.account import STYLES, Account, Telling, account_of
from saywhy.writing.casereport import case_report
from saywhy.writing.grammar import Stack, ways
from saywhy.writing.hands import Draft, Hand, decoded, first, of_the_hub
from saywhy.writing.mapping import Likeness, knows, likenesses
from saywhy.writing.proof import proved, spelled
from saywhy.writing.scribe import Source, load_scribe

RECORD = "writing"  # the key of what is recorded, in `Explanation.parts`


@dataclass(frozen=True)
class WriterRow:
    """A row of WRITERS: what it is, how its hand is had of what follows "NAME:", and whether it looks at pictures."""

    summary: str
    load: Callable[[str], Hand]
    looks: bool = False


def _plain(rest: str) -> Hand:
    _check_alone("template", rest)
    return first


def _own(rest: str) -> Hand:
    _check_alone("own", rest)
    net, _ = load_scribe()

    def hand(source: Source, stack: Stack, seed: int) -> Draft:
        return decoded(net, [source], [stack], [seed])[0]

    return hand


def _check_alone(name: str, rest: str) -> None:
    if rest:
        raise UsageError(f"the writer {name!r} takes nothing after its name, not {rest!r}")


def _hub(rest: str) -> Hand:
    if not rest:
        raise UsageError("the writer 'hf' needs a model: hf:ID or hf:FOLDER")
    return of_the_hub(rest)


WRITERS: dict[str, WriterRow] = {
    "template": WriterRow("the sentences that saywhy writes by itself", _plain),
    "own": WriterRow("a decoder that was trained here; it looks at the picture and its regions", _own, looks=True),
    "hf": WriterRow('"hf:ID": a causal language model of transformers, by hub id or folder', _hub),
}


@cache
def hand_of(writer: str) -> Hand:
    """The hand of a writer: a row of WRITERS, or "ROW:what it takes".

    Raises:
        UsageError: no such writer, or it cannot be had.
    """
    return _row(writer).load(writer.partition(":")[2])


def _row(writer: str) -> WriterRow:
    name = writer.partition(":")[0]
    if name not in WRITERS:
        raise unknown("writer", name, WRITERS)
    return WRITERS[name]


def check_writer(writer: str, style: str) -> None:
    """Looks whether there is such a writer and style, and loads the writer, before anything is explained.

    Raises:
        UsageError: no such writer or style, or a writer that cannot be had.
    """
    hand_of(writer)
    if style not in STYLES:
        raise unknown("style", style, STYLES)


def retold(
    explanation: Explanation, picture: Picture | None, writer: str = "own", style: str = "full", seed: int = 0
) -> Explanation:
    """The explanation with its text written by a writer in a style, and under `parts["writing"]` how that was done.

    `picture` is what was explained, for writers that look at it (None: they do without). Same seed, same text.

    Raises:
        UsageError: no such writer or style, or a writer that cannot be had.
    """
    check_writer(writer, style)
    hand, looks = hand_of(writer), _row(writer).looks
    if (writer, style) == ("template", "full"):
        return explanation
    try:
        text, how = _attempt(explanation, picture if looks else None, hand, style, seed)
    except UsageError as e:
        text, how = explanation.text, _switched(str(e))
    record = {"writer": writer, "style": style, "text": text, **how}
    if style == "report":
        record["report"] = case_report(explanation, text).model_dump(mode="json")
    return explanation.model_copy(update={"text": text, "parts": {**explanation.parts, RECORD: record}})


def _switched(why: str) -> dict[str, Any]:
    return {"switched": why, "proved": False, "untold": [], "concepts": [], "looked": []}


def _attempt(
    explanation: Explanation, picture: Picture | None, hand: Hand, style: str, seed: int
) -> tuple[str, dict[str, Any]]:
    """A text that was proved, and its record.

    Raises:
        UsageError: there are no words for it, or what was written reads otherwise.
    """
    account = account_of(explanation)
    why, whole, found = knows(explanation) if picture is not None else "", None, dict[str, Likeness]()
    if picture is not None and not why:
        whole, found = likenesses(explanation, picture, [t.id for t in account.things])
        account = account_of(explanation, {id: one.like for id, one in found.items()})
    telling, stack = ways(account, style)
    order = tuple(telling.described)
    source = Source(
        account, style, order, whole, {i: f.feature for i, f in found.items()}, {i: f.text for i, f in found.items()}
    )
    written = hand(source, stack, seed)
    text = spelled(written.tokens, account, order)
    if not proved(text, telling, style):
        raise UsageError("what was written is not read back as what was meant")
    return text, {
        "switched": None,
        "proved": True,
        "untold": list(account.untold),
        "mapped": why or None,
        "concepts": [_concept(account, found, id, telling) for id in order],
        "looked": _looked(written, account, order),
    }


def _concept(account: Account, found: Mapping[str, Likeness], id: str, telling: Telling) -> dict[str, Any]:
    """Of one concept: the nearest text features, the phrase that was chosen, and the words that came of it."""
    near = [list(row) for row in found[id].nearest] if id in found else []
    return {"id": id, "nearest": near, "like": account.thing(id).like, "told": list(telling.described[id])}


def _looked(written: Draft, account: Account, order: tuple[str, ...]) -> list[list[Any]]:
    """Each token's letters, and the number of the thing that it looked at most ("" for the picture or the rest)."""
    out: list[list[Any]] = []
    for token, shares in zip(written.tokens, written.looked, strict=False):
        most = max(range(len(shares)), key=lambda n: shares[n])
        out.append([spelled([token], account, order), order[most - 1] if 1 <= most <= len(order) else "", shares[most]])
    return out


def steps(explanation: Explanation) -> list[str]:
    """How the text came about, a line a concept: concept -> nearest text features -> words."""
    record = explanation.parts.get(RECORD) or {}
    lines = []
    for one in record.get("concepts", ()):
        near = ", ".join(f"{phrase} ({odds:+.1f})" for phrase, odds in one["nearest"]) or "no text feature"
        said = ", ".join(word for word in one["told"] if word)
        lines.append(f"concept {one['id']} -> {near} -> {said}")
    return lines
