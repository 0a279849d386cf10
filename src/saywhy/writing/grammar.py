"""What may be written: patterns of clauses, and the tokens that may come next.

A pattern is words with slots. Names, numbers and places are no words but `Copy` tokens, which point to a thing of the
account: whoever writes never sees what stands in them. A clause begins with the stop that ends the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from saywhy.errors import UsageError
from saywhy.writing.account import BANDS, RELATIONS, Account, Telling, plan


@dataclass(frozen=True)
class Copy:
    """A token that stands for something of the account: a slot, and the place of its thing in the telling's order of
    things (or of its class among those that are said without something)."""

    slot: str
    number: int = 0


Token = str | Copy
THING_SLOTS = ("id", "name", "place", "amount")
CLASS_SLOTS = ("target", "percent", "versus", "rival")
Symbol = Token | tuple[tuple["Symbol", ...], ...]  # a token, or a choice of sequences
Stack = tuple[Symbol, ...]

# {ones}: the clause's things as a list; {one} and {other}: its first and second.
_END = "."
PATTERNS: dict[str, dict[str, tuple[str, ...]]] = {
    "full": {
        "says": (
            "the model says {target} ( {percent} )",
            "the model takes it for {target} , with a probability of {percent}",
            "to the model this is {target} ( {percent} )",
            "the answer of the model is {target} , at {percent}",
            "it is called {target} by the model , which gives it {percent}",
        ),
        "says against": (
            "the model says {target} ( {percent} ) , ahead of {versus} ( {rival} )",
            "the model takes it for {target} , with a probability of {percent} ; {versus} comes second with {rival}",
            "to the model this is {target} ( {percent} ) before {versus} ( {rival} )",
            "the answer of the model is {target} , at {percent} , and {versus} is next at {rival}",
            "between {target} ( {percent} ) and {versus} ( {rival} ) the model decides for the first",
        ),
        "most": (
            ". {ones} counted most for it",
            ". it rests most of all on {ones}",
            ". the main reason : {ones}",
            ". above all it was decided by {ones}",
            ". {ones} contributed most to this decision",
        ),
        "counts": (
            ". {ones} counted for it",
            ". it rests on {ones}",
            ". a reason : {ones}",
            ". {ones} contributed to this decision",
        ),
        "next": (
            ", followed by {ones}",
            ". next came {ones}",
            ", then {ones}",
            ". after that , {ones} weighed most",
            ". in second place there is {ones}",
        ),
        "too": (
            ". {ones} counted too",
            ". it was also helped by {ones}",
            ". {ones} played a part as well",
            ", with help from {ones}",
            ". further support came from {ones}",
        ),
        "against": (
            ". {ones} counted against it",
            ". on the other hand , {ones} spoke against it",
            ". what speaks against it : {ones}",
            "; against it stood {ones}",
        ),
        "need": (
            ". {one} lies {relation} {other} , and the two need each other",
            ". {one} and {other} add more together than one by one ; the first lies {relation} the second",
            ". seen together , {one} and {other} add more than alone , the first being {relation} the second",
            ". {one} needs {other} and the other way round ; it lies {relation} it",
        ),
        "spare": (
            ". {one} lies {relation} {other} , and each stands in for the other",
            ". {one} and {other} stand in for each other ; the first lies {relation} the second",
            ". {one} makes up for {other} and the other way round ; it lies {relation} it",
        ),
        "rather": (
            ". what speaks for this rather than {versus} : {ones}",
            ". {ones} told it from {versus}",
            ". for this and not for {versus} spoke {ones}",
            ". against {versus} above all spoke {ones}",
        ),
        "without": (
            ". without {ones} the model would say {class}",
            ". were {ones} not there , the answer would be {class}",
            ". take away {ones} and it becomes {class}",
        ),
        "nothing": (
            ". no part of the picture is known to count by itself",
            ". of no single part is it known that it counts",
        ),
        "key": (
            ". with each number stands what hiding it takes away",
            ". beside each number is what is lost when it is hidden",
            ". the second entry in brackets : what hiding takes away",
        ),
    },
    "short": {
        "says": (
            "the model says {target} , and is {band}",
            "it is taken for {target} ; the model is {band}",
            "this is {target} to the model , which is {band}",
        ),
        "most": (
            ", mostly because of {ones}",
            ". the main reason : {ones}",
            ", above all for {ones}",
        ),
        "counts": (
            ", also because of {ones}",
            ". a reason : {ones}",
            ", among other things for {ones}",
        ),
        "nothing": (
            ", for no single part that is known to count",
            ". no part is known to count by itself",
        ),
    },
    "layman": {
        "says": (
            "the computer thinks that this is {target} , and it is {band}",
            "this looks like {target} to the computer , which is {band}",
            "the computer is {band} that it sees {target} here",
            "asked what this is , the computer answers {target} and is {band}",
        ),
        "most": (
            ". what mattered most : {ones}",
            ". it decided mainly by {ones}",
            ". {ones} mattered most",
            ". above all it went by {ones}",
        ),
        "counts": (
            ". what mattered : {ones}",
            ". it decided among other things by {ones}",
            ". {ones} mattered",
        ),
        "next": (
            ". {ones} mattered next",
            ", and after that {ones}",
            ". then came {ones}",
        ),
        "too": (
            ". {ones} helped as well",
            ". a smaller part was played by {ones}",
            ", with help from {ones}",
        ),
        "against": (
            ". {ones} made it less sure",
            ". what made it doubt : {ones}",
            ". {ones} spoke against that",
        ),
        "need": (
            ". {one} and {other} help more together than one by one ; the first is {relation} the second",
            ". {one} , which is {relation} {other} , does more with it than alone",
        ),
        "spare": (
            ". {one} and {other} can stand in for each other ; the first is {relation} the second",
            ". {one} , which is {relation} {other} , makes up for it and the other way round",
        ),
        "rather": (
            ". what tells it from {versus} : {ones}",
            ". that it is not {versus} is told by {ones}",
            ". {ones} set it apart from {versus}",
        ),
        "without": (
            ". without {ones} it would say {class}",
            ". if {ones} were hidden , it would be {class} instead",
        ),
        "nothing": (
            ". no single part is known to have mattered",
            ". it is not known that any part mattered by itself",
        ),
    },
    "report": {
        "says": ("classification : {target} ( {percent} )", "result : {target} , probability {percent}"),
        "says against": (
            "classification : {target} ( {percent} ) ; second : {versus} ( {rival} )",
            "result : {target} , probability {percent} ; compared with {versus} , probability {rival}",
        ),
        "most": (". finding : {ones} contributed most", ". main finding : {ones}"),
        "counts": (". finding : {ones} contributed", ". contributing finding : {ones}"),
        "next": (". second finding : {ones}", ". finding of second weight : {ones}"),
        "too": (". further findings : {ones}", ". further contribution : {ones}"),
        "against": (". contrary finding : {ones}", ". evidence against : {ones}"),
        "need": (
            ". joint finding : {one} with {other} , {relation} which it lies",
            ". {one} , {relation} {other} , contributes more together with it",
        ),
        "spare": (
            ". interchangeable findings : {one} with {other} , {relation} which it lies",
            ". {one} , {relation} {other} , stands in for it",
        ),
        "rather": (". differential to {versus} : {ones}", ". less likely : {versus} , because of {ones}"),
        "without": (". without {ones} : {class}", ". dependence : without {ones} the result is {class}"),
        "nothing": (". no finding that is known to contribute", ". findings : none that is known to contribute"),
    },
}
# How a thing is named where it is first told, by the fields that a style tells, and later; [...] only where it is like
# something.
FIRST = {
    ("name", "place", "amount", "like"): (
        "the {name} ( {id} , {amount} [ , most like {like} ] ) {place}",
        "region {id} ( the {name} {place} , {amount} [ , most like {like} ] )",
        "the {name} {place} ( {id} , {amount} [ , by its look {like} ] )",
    ),
    ("name", "place", "like"): (
        "the {name} ( {id} [ , most like {like} ] ) {place}",
        "the {name} {place} ( {id} [ , perhaps {like} ] )",
        "number {id} ( the {name} {place} [ , most like {like} ] )",
    ),
    ("name", "place"): ("the {name} ( {id} ) {place}", "the {name} {place} ( {id} )"),
}
AGAIN = ("region {id}", "number {id}")


# --------------------------------------------------------------------------------------------------
# All ways to write a telling, as a stack of symbols.


def sentence_ways(telling: Telling, account: Account, style: str) -> Stack:
    """All texts of a telling: one symbol a clause, and the last stop.

    Raises:
        UsageError: a clause for which the style has no words.
    """
    order = tuple(telling.described)
    seen: set[str] = set()
    out: list[Symbol] = []
    for clause in telling.clauses:
        rows = PATTERNS[style].get(clause.kind)
        if rows is None:
            raise UsageError(f"the style {style} has no words for {clause.kind!r}")
        number = [w for ids, w in account.without].index(clause.words[0]) if clause.kind == "without" else 0
        names = {id: _named(order.index(id), telling.described[id], id in seen) for id in clause.things}
        slots = {
            "ones": _listed([names[id] for id in clause.things]),
            "band": tuple(clause.words[-1].split()) if clause.words else (),
            "relation": tuple(clause.words[0].split()) if clause.words else (),
            "class": (Copy("class", number),),
            "one": names[clause.things[0]] if clause.things else (),
            "other": names[clause.things[-1]] if clause.things else (),
        }
        out.append(tuple(_filled(row, slots) for row in rows))
        seen |= set(clause.things)
    return (*out, _END)


def _filled(pattern: str, slots: dict[str, Stack]) -> Stack:
    out: list[Symbol] = []
    for word in pattern.split(" "):
        if not word.startswith("{"):
            out.append(word)
        else:
            slot = word[1:-1]
            out += slots[slot] if slot in slots else (Copy(slot),)
    return tuple(out)


def _named(number: int, told: tuple[str, ...], again: bool) -> Stack:
    """A thing: all ways to name it."""
    own: dict[str, Stack] = {slot: (Copy(slot, number),) for slot in THING_SLOTS}
    if again:
        return (tuple(_filled(row, own) for row in AGAIN),)
    own["like"] = tuple(told[-1].split()) if len(told) > 2 else ()
    return (tuple(_filled(row, own) for row in first_rows(len(told), bool(own["like"]))),)


@cache
def first_rows(fields: int, like: bool) -> tuple[str, ...]:
    """The patterns of a thing that is told with so many fields, and is like something or not."""
    rows = next(rows for names, rows in FIRST.items() if len(names) == fields)
    return tuple(row.replace("[ ", "").replace(" ]", "") if like else re.sub(r" \[.*?\]", "", row) for row in rows)


def _listed(items: Sequence[Stack]) -> Stack:
    out: list[Symbol] = []
    for n, item in enumerate(items):
        out += [] if n == 0 else ["and"] if n == len(items) - 1 else [","]
        out += item
    return tuple(out)


# --------------------------------------------------------------------------------------------------
# One token after the other.

State = frozenset[Stack]


def begun(stack: Stack) -> State:
    """Where a text may begin."""
    return frozenset(_open(stack))


def _open(stack: Stack) -> Iterable[Stack]:
    """The stacks that it can be, each with a token on top."""
    if not stack or not isinstance(stack[0], tuple):
        yield stack
        return
    for way in stack[0]:
        yield from _open((*way, *stack[1:]))


def allowed(state: State) -> dict[Token, None]:
    """The tokens that may come next, in a fixed order; none at the end."""
    found = {stack[0] for stack in state if stack}
    return dict.fromkeys(sorted(found, key=repr))  # type: ignore[arg-type]


def step(state: State, token: Token) -> State:
    """Where a text is after a token."""
    return frozenset(s for stack in state if stack and stack[0] == token for s in _open(stack[1:]))


def ways(account: Account, style: str) -> tuple[Telling, Stack]:
    """What a text in this style says of an account, and all ways to write it."""
    telling = plan(account, style)
    return telling, sentence_ways(telling, account, style)


@cache
def words() -> frozenset[str]:
    """All words of the grammar: those of patterns, bands and relations. No name in a text is one of them."""
    rows = [row for style in PATTERNS.values() for some in style.values() for row in some]
    rows += [*(row for some in FIRST.values() for row in some), *AGAIN, *RELATIONS.values(), "and ,"]
    rows += [said for _, said in BANDS]
    return frozenset(w for row in rows for w in row.split(" ") if w[0] not in "{[]")


def every(symbols: Stack) -> Iterable[tuple[Token, ...]]:
    """All token sequences of a stack, one after the other: for tests and small grammars."""
    if not symbols:
        yield ()
        return
    head, rest = symbols[0], symbols[1:]
    heads = [t for way in head for t in every(way)] if isinstance(head, tuple) else [(head,)]
    for one, other in product(heads, list(every(rest))):
        yield (*one, *other)
