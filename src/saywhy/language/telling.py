"""From confirmed claims, whatever part they come from, to the statements that are said: limited, ordered, read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saywhy.explanation import NEAR, PRESENT, ClassScore, Effect, Span, Statement
from saywhy.language.claims import Claim, kinds
from saywhy.language.sentences import Written, written_all
from saywhy.language.verify import points

MOST_SENTENCES = 10


@dataclass(frozen=True)
class Found:
    """A claim, the ids that it rests on, what was measured for it, the indices of its classes; `confirmed` is false of
    one that says that nothing was."""

    claim: Claim
    evidence: tuple[str, ...]
    effect: Effect | None
    classes: tuple[int, ...] = ()
    confirmed: bool = True


def prediction(predicted: ClassScore, target: ClassScore, versus: ClassScore | None) -> Found:
    """What the model says, and of the classes that were asked about."""
    asked = target.class_index != predicted.class_index
    # Asked about another class than the predicted, versus is often the predicted one, which is told anyway.
    known = (target.class_index, predicted.class_index if asked else None)
    others = [versus] if versus and versus.class_index not in known else []
    told = [target, *others, *([predicted] if asked else [])]
    claim = Claim(
        "asked" if asked else "prediction",
        classes=tuple(c.class_name for c in told),
        percents=tuple(points(c.probability) for c in told),
    )
    return Found(claim, ("prediction",), None, tuple(c.class_index for c in told))


def labelled(target: ClassScore, versus: ClassScore | None) -> list[Found]:
    """What the model says of a label that excludes no other, and of one that it is compared with."""
    p = target.probability
    kind = ("hardly_" if abs(p - PRESENT) < NEAR else "") + ("present" if p >= PRESENT else "absent")
    told = [(kind, target), *([("compared", versus)] if versus else [])]
    return [
        Found(Claim(kind, classes=(c.class_name,), percents=(points(c.probability),)), ("prediction",), None,
              (c.class_index,))
        for kind, c in told
    ]  # fmt: skip


def tell(found: Sequence[Found], *, limit: int = MOST_SENTENCES) -> list[Statement]:
    """The statements in reading order, at most `limit`; where there are more, the lightest stay unsaid.

    Raises:
        UsageError: a claim that no sentence says, or a region id that no sentence can carry.
    """
    chosen = _fit(found, limit)
    # written_all reads its own text back and refuses a text that does not give the same records.
    sentences = written_all(f.claim for f in chosen)
    return [_statement(f, sentence) for f, sentence in zip(chosen, sentences, strict=True)]


def _statement(f: Found, sentence: Written) -> Statement:
    spans = tuple(
        Span(start=m.start, end=m.end, region=m.region, class_index=None if m.number is None else f.classes[m.number])
        for m in sentence.marks
    )
    return Statement(
        text=sentence.text, kind=f.claim.kind, spans=spans, evidence=f.evidence, effect=f.effect, verified=f.confirmed
    )


def _fit(found: Sequence[Found], limit: int) -> list[Found]:
    known = kinds()
    order = list(known)
    reading = sorted(found, key=lambda f: order.index(f.claim.kind))
    kept = sorted(range(len(reading)), key=lambda n: (-known[reading[n].claim.kind].weight, n))[:limit]
    return [reading[n] for n in sorted(kept)]
