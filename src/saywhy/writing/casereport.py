"""The report of one case: findings, the evidence of each, and limits, as a record with a JSON Schema."""

from __future__ import annotations

from typing import Any, Literal

from saywhy.explanation import Effect, Explanation, Record

NOTICE = "Not a diagnosis: it tells what a model reacted to in one picture, and not whether the model is right."


class ReportedFinding(Record):
    """What was found: a checked sentence, its kind, the regions that it names and the ids of its evidence."""

    text: str
    kind: str
    concepts: tuple[str, ...]
    evidence: tuple[str, ...]


class ReportedEvidence(Record):
    """What a finding rests on: how many runs with which fills, and what they did to the score."""

    finding: int
    measured: Effect | None
    verified: bool


class CaseReport(Record):
    """Findings, evidence and limits of one picture; `summary` is the text that a writer made of them."""

    report: Literal[1] = 1
    notice: str
    picture: str | None
    sha256: str
    model: str
    summary: str
    findings: tuple[ReportedFinding, ...]
    evidence: tuple[ReportedEvidence, ...]
    limits: tuple[str, ...]


def case_report(explanation: Explanation, summary: str) -> CaseReport:
    """The report of an explanation."""
    said = explanation.statements
    return CaseReport(
        notice=NOTICE,
        picture=explanation.image.path,
        sha256=explanation.image.sha256,
        model=f"{explanation.model.name} ({explanation.model.fingerprint})",
        summary=summary,
        findings=tuple(
            ReportedFinding(
                text=s.text,
                kind=s.kind,
                concepts=tuple(dict.fromkeys(m.region for m in s.spans if m.region is not None)),
                evidence=s.evidence,
            )
            for s in said
        ),
        evidence=tuple(ReportedEvidence(finding=n, measured=s.effect, verified=s.verified) for n, s in enumerate(said)),
        limits=tuple(_limits(explanation)),
    )


def _limits(e: Explanation) -> list[str]:
    out = [NOTICE]
    if e.skipped_claims:
        out.append(f"Not confirmed by other experiments, and therefore not told: {e.skipped_claims} claims.")
    unknown = [c.id for c in e.concepts if not c.confirmed]
    if unknown:
        out.append(f"Regions of which it is not known that they count: {', '.join(unknown)}.")
    if e.game is not None:
        out.append(f"What is hidden was replaced by: {', '.join(e.game.fills)}; another fill may give other numbers.")
    return [*out, *e.model.notes, *e.image.notes]


def report_schema() -> dict[str, Any]:
    """The JSON Schema of a report."""
    return CaseReport.model_json_schema(mode="serialization")
