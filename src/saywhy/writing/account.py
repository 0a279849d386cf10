"""What a text may say: an account, taken from the confirmed statements of an explanation and from nothing else.

A style tells a part of it. `plan` gives this part as clauses in order; a text that was written is read back into such
clauses, and both must be the same (`saywhy.writing.proof`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from saywhy.errors import UsageError
from saywhy.explanation import ConceptRecord, Explanation
from saywhy.language import Claim, parse_all
from saywhy.language.appearance import at
from saywhy.language.claims import MOST_FACTOR
from saywhy.language.verify import points, tenths

# How a thing counted: clearly most, first but not clearly, next, too, or against the class.
Role = Literal["most", "counts", "next", "too", "against"]
ROLES: tuple[Role, ...] = get_args(Role)
_ROLE_OF: dict[str, Role] = {
    "counted_most": "most", "counted": "counts", "came_next": "next", "counted_too": "too", "against": "against",
}  # fmt: skip
RELATIONS = {
    "left of": "left of", "right of": "right of", "above": "above", "below": "below", "at": "in the same place as",
}  # fmt: skip
BANDS = ((95, "almost sure"), (75, "fairly sure"), (50, "not very sure"), (0, "only guessing"))


@dataclass(frozen=True)
class Thing:
    """A concept or region: its number in the picture, what it is called, where it is ("at the top left"), how it
    counted, what hiding it takes away in words, and, if the joint space is sure, the phrase that it is most like."""

    id: str
    name: str
    place: str
    role: Role
    amount: str
    like: str = ""


@dataclass(frozen=True)
class Link:
    """Two things that "need" each other or of which either can "spare" the other, and how the first lies to the second
    (a key of RELATIONS)."""

    kind: Literal["need", "spare"]
    one: str
    other: str
    relation: str


@dataclass(frozen=True)
class Account:
    """The answer, the class that came second ("" if none was told), what counted, in order, what belongs together, what
    speaks for the target rather than that other class, and which class is said without what."""

    target: str
    percent: int
    versus: str = ""
    rival: int = 0
    things: tuple[Thing, ...] = ()
    links: tuple[Link, ...] = ()
    rather: tuple[str, ...] = ()
    without: tuple[tuple[tuple[str, ...], str], ...] = ()
    untold: tuple[str, ...] = ()

    def thing(self, id: str) -> Thing:
        """The thing of that number."""
        return next(t for t in self.things if t.id == id)


@dataclass(frozen=True)
class Clause:
    """One thing that is said: its kind, the numbers of the things that it names in order, and its words (classes,
    per cents, a relation)."""

    kind: str
    things: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Telling:
    """What a text says: its clauses in order, and of every thing how it is described where it is first named."""

    clauses: tuple[Clause, ...]
    described: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------
# From the record.


def account_of(explanation: Explanation, likes: Mapping[str, str] | None = None) -> Account:
    """The account of an explanation; `likes` are phrases for things, by number.

    Raises:
        UsageError: an answer for which the writers have no words: a class that was asked about and not predicted,
            labels that exclude nothing.
    """
    claims = parse_all("\n".join(s.text for s in explanation.statements))
    first = claims[0] if claims else None
    if first is None or first.kind != "prediction":
        raise UsageError(f"no words for an answer of the kind {first.kind if first else 'none'}")
    concepts = {c.id: c for c in explanation.concepts}
    named = {r.id: (r.name or f"{r.look} patch", r.place) for c in claims for r in c.regions if r.described}
    found = likes or {}
    things = tuple(
        Thing(r.id, *_described(named[r.id]), role, amount_of(concepts[r.id]), found.get(r.id, ""))
        for claim in claims
        if (role := _ROLE_OF.get(claim.kind))
        for r in claim.regions
    )
    known = {t.id for t in things}
    told = [c for c in claims if {r.id for r in c.regions} <= known]
    relations = {(e.source, e.target): e.relation for e in (explanation.graph.edges if explanation.graph else ())}
    account = Account(
        first.classes[0], first.percents[0], *_second(first), things,
        tuple(_link(c, relations) for c in told if c.kind in ("needs", "stands_in")),
        tuple(r.id for c in told if c.kind == "contrast" and c.classes[1] == _second(first)[0] for r in c.regions),
        tuple((tuple(r.id for r in c.regions), c.classes[0]) for c in told if c.kind == "flip"),
    )  # fmt: skip
    return _with_untold(account, claims)


def _with_untold(account: Account, claims: Sequence[Claim]) -> Account:
    said = {"prediction", "needs", "stands_in", "flip", "contrast", *_ROLE_OF}
    untold = tuple(dict.fromkeys(c.kind for c in claims if c.kind not in said and c.kind not in _NOTHING))
    return Account(**{**account.__dict__, "untold": untold})


_NOTHING = ("nothing", "unconfirmed")


def _second(first: Claim) -> tuple[str, int]:
    return (first.classes[1], first.percents[1]) if len(first.classes) > 1 else ("", 0)


def _described(told: tuple[str, str]) -> tuple[str, str]:
    return told[0], at(told[1])


def _link(claim: Claim, relations: Mapping[tuple[str, str], str]) -> Link:
    one, other = (r.id for r in claim.regions[:2])
    if (one, other) not in relations:
        one, other = other, one
    return Link("need" if claim.kind == "needs" else "spare", one, other, relations.get((one, other), "at"))


def amount_of(concept: ConceptRecord) -> str:
    """What hiding it takes away (or adds), without a sign: "30 points", "a factor of 2.5"."""
    size = abs(concept.contribution)
    if concept.effect.unit == "probability":
        n = points(size)
        return "under 1 point" if n == 0 else "1 point" if n == 1 else f"{n} points"
    n = tenths(size)
    if n >= 10 * MOST_FACTOR:
        return "a factor of over 100 million"
    return f"a factor of {n // 10 if n % 10 == 0 else n / 10}"


# --------------------------------------------------------------------------------------------------
# What a style tells of it.


@dataclass(frozen=True)
class Style:
    """A row of STYLES: what it is, which fields of a thing it tells, whether it gives per cents, and what it leaves
    out: clauses of these kinds."""

    summary: str
    fields: tuple[str, ...]
    numbers: bool
    leaves: tuple[str, ...] = ()


STYLES: dict[str, Style] = {
    "full": Style("everything that counted, with numbers", ("name", "place", "amount", "like"), True),
    "short": Style(
        "one sentence: the answer and what counted most", ("name", "place"), False,
        ("next", "too", "against", "need", "spare", "rather", "without", "key", "versus"),
    ),
    "layman": Style("plain words without numbers", ("name", "place", "like"), False, ("key", "versus")),
    "report": Style(
        "findings one by one; as JSON with evidence and limits", ("name", "place", "amount", "like"), True, ("key",)
    ),
}  # fmt: skip


def plan(account: Account, style: str) -> Telling:
    """What a text in this style says of the account, clause by clause."""
    row = STYLES[style]
    clauses = [c for c in _clauses(account, row) if c.kind not in row.leaves]
    named = dict.fromkeys(id for c in clauses for id in c.things)
    described = {id: tuple(getattr(account.thing(id), f) for f in row.fields) for id in named}
    return Telling(tuple(clauses), described)


def _clauses(account: Account, row: Style) -> list[Clause]:
    versus = bool(account.versus) and "versus" not in row.leaves
    numbers = (account.target, f"{account.percent}", *((account.versus, f"{account.rival}") if versus else ()))
    says = numbers if row.numbers else (account.target, band_of(account.percent))
    out = [Clause("says against" if row.numbers and versus else "says", (), says)]
    for role in ROLES:
        own = tuple(t.id for t in account.things if t.role == role)
        out += [Clause(role, own)] if own else []
    out += [] if account.things else [Clause("nothing")]
    out += [Clause(link.kind, (link.one, link.other), (RELATIONS[link.relation],)) for link in account.links]
    out += [Clause("rather", account.rather, (account.versus,))] if account.rather else []
    out += [Clause("without", ids, (name,)) for ids, name in account.without]
    return [*out, *([Clause("key")] if account.things else [])]


def band_of(percent: int) -> str:
    """How sure the model is, in words."""
    return next(words for least, words in BANDS if percent >= least)
