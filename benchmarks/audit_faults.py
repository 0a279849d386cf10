"""Findings against planted faults: what `saywhy audit --depth trials` finds of each, and of its clean control.

    python benchmarks/audit_faults.py [--seeds 31 32 33] [--faults context ...] [--page]

A fault is found where the first finding is of its kind, names the species that it was planted in (where it was planted
in some) and at least half of the pictures that it shows are planted ones. On the control a finding of that kind, about
those species, is false. Faulty classifiers ship with the package or are taught in less than two minutes
(`faulty_models.py`); they are the same for all seeds of pictures. The rules were set on seeds 11 and 12.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from faulty_models import TAUGHT, faulty, like_the_sibling
from measure import facts
from saywhy.audit import Budget, scan
from saywhy.aviary import SPECIES, render, sample
from saywhy.aviary.faults import concerned
from saywhy.aviary.sampling import label
from saywhy.findings.culprits import silenced
from saywhy.findings.doubts import doubts
from saywhy.findings.labelled import labelled
from saywhy.findings.ranking import explained_by, ranked, suspicions

RESULT = Path(__file__).parent / "results" / "audit_faults.json"
PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
TRIED = 4500  # passes


@dataclass(frozen=True)
class Planted:
    """A fault, the kind of finding that it is, the classifiers, and which pictures are audited: so many of all species,
    so many more of the species concerned and their relatives, of which splits. `groups` are those that are planted."""

    fault: str
    kinds: tuple[str, ...]
    model: str
    groups: tuple[str, ...]
    control_model: str = "cnn"
    pictures: int = 160
    more: int = 0
    splits: tuple[str, ...] = ("test",)
    of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.fault if self.model in ("cnn", *TAUGHT) else f"{self.fault} ({self.model})"


SPOILED = ("blur", "noise", "cast", "low light", "occluder")
PLANTED = (
    Planted("context", ("context",), "cnn-context", ("conflicting",), more=60),
    Planted("context", ("context",), "vit-context", ("conflicting",), control_model="vit", more=60),
    Planted("watermark", ("shortcut",), "cnn-watermark", ("conflicting",), more=60),
    Planted("pose", ("facing",), "pose", ("conflicting",), more=60),
    Planted("confusable", ("related classes",), "cnn", ("small",), pictures=120, more=100),
    Planted("two-species", ("several objects",), "cnn", ("two birds",), pictures=200),
    Planted("wrong-labels", ("wrong labels",), "cnn", ("wrong label",), pictures=480, splits=("train", "val")),
    Planted("missing-part", ("unseen variation",), "missing-part", ("with part",), more=200,
            splits=("train", "val", "test")),
    Planted("fragile-colour", ("fragile features",), "cnn", ("colour cast",), control_model="fragile-colour-control",
            pictures=240),
    Planted("lookalike", ("false alarm",), "lookalike", ("lookalike",), pictures=100, more=160,
            of=("cinder robin", "lantern siskin", "lagoon thrush")),
    Planted("degraded", ("fragile features",), "cnn", SPOILED, control_model="degraded-control", pictures=240),
    Planted("unit", ("culprit unit",), "cnn-unit", ("clean",), pictures=300),
)  # fmt: skip


def family(species):
    """Species of one clan."""
    return [s.name for s in SPECIES.values() if s.clan in {SPECIES[c].clan for c in species}]


def samples(plan, seed, control):
    """The pictures of an audit."""
    fault = None if plan.fault == "unit" else plan.fault + ("-control" if control else "")
    own, chosen, i = family(plan.of or concerned(plan.fault, "1")), [], 0
    general = more = 0
    while general < plan.pictures or more < plan.more:
        one = None
        name = label(seed, i)[0]
        wanted = general < plan.pictures or (more < plan.more and name in own)
        if wanted:
            one = sample(seed, i, fault=fault)
            if one.split not in plan.splits:
                one = None
        if one is not None:
            general, more = (general + 1, more) if general < plan.pictures else (general, more + 1)
            chosen.append(one)
        i += 1
    return chosen


def audited(plan, seed, control):
    """The findings on one set, and what is known of it."""
    chosen = samples(plan, seed, control)
    clf = faulty(plan.control_model if control else plan.model)
    with tempfile.TemporaryDirectory() as place:
        lines = []
        for n, one in enumerate(chosen):
            Image.fromarray(render(one.scene).pixels).save(Path(place) / f"{n:05d}.png")
            lines.append(json.dumps({"file": f"{n:05d}.png", "class_name": one.class_name, "split": one.split}))
        (Path(place) / "images.jsonl").write_text("\n".join(lines))
        run = scan(clf, [Path(place) / "images.jsonl"], Path(place) / "run", depth="trials", budget=Budget(TRIED))
        given = labelled(run)
        _ = given.tried
        tests = suspicions(given)
        found, kinds = ranked(given, tests), explained_by(tests)
        units = silenced(given)
    return chosen, given, found, kinds, units


def judged(plan, seed, control):
    """Whether the fault was found at rank 1, or said of its control."""
    chosen, given, found, kinds, units = audited(plan, seed, control)
    own = set(family(concerned(plan.fault, "1")))
    planted = {n for n, one in enumerate(chosen) if one.group in plan.groups and n in set(given.errors.tolist())}

    def about(f):
        return f.kind in plan.kinds and (not own or {f.class_name, f.versus_name} & own)

    rank = next((f.rank for f in found if about(f)), None)
    first = next((f for f in found if about(f)), None)
    shown = [n in planted for n in first.pictures] if first is not None else []
    row = {
        "fault": plan.name, "seed": seed, "control": control, "pictures": len(chosen), "errors": len(given.errors),
        "planted_errors": len(planted), "rank": rank, "evidence": round(float(np.mean(shown)), 3) if shown else None,
        "findings": [[f.kind, f.name, f.errors, round(f.effect, 3), f.q] for f in found[:8]],
        "count": len(found), "kinds": dict(Counter(f.kind for f in found)),
    }  # fmt: skip
    row["found"] = bool(rank == 1 and shown and (plan.fault == "unit" or np.mean(shown) >= 0.5))
    row["confusion"] = claimed(plan, chosen, given, kinds) if not control else {}
    if plan.fault == "wrong-labels" and not control:
        wrong = np.asarray([one.group == "wrong label" for one in chosen])[given.n]
        row["ap"] = round(average_precision(doubts(given), wrong), 3)
        row["ap_margin"] = round(average_precision(given.p_answer - given.p_label, wrong), 3)
    if plan.fault == "unit" and units is not None:
        row["unit_rank"] = int(np.flatnonzero(units.order == 85)[0]) + 1 if not control else None
    return row


def average_precision(score, hits):
    order = np.argsort(-score, kind="stable")
    hits = hits[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def claimed(plan, chosen, given, kinds):
    """For the errors that are planted ones and were tried: the kind of the first finding that explains each."""
    answers, out = dict(zip(given.n.tolist(), given.answer.tolist(), strict=True)), Counter()
    meant = MEANT.get(plan.fault, lambda one, said: True)
    for n in given.errors.tolist():
        if n in given.tried and chosen[n].group in plan.groups and meant(chosen[n], given.classes[answers[n]]):
            out[kinds.get(n, "none")] += 1
    return dict(out)


# Errors that are the planted one, and not another one on a planted picture.
MEANT = {
    "wrong-labels": lambda one, said: said == one.species,
    "lookalike": lambda one, said: said == like_the_sibling(one),
    "confusable": lambda one, said: said in family([one.species]),
}


# --------------------------------------------------------------------------------------------------
# The page.

SEVERAL = {"L14 to L16": ("related classes", "several objects", "context"),
           "G12": ("shortcut", "fragile features", "wrong labels"),
           "P30": ("related classes", "confused part", "false alarm", "unseen variation")}  # fmt: skip


def f_one(rows, kinds):
    """F1 of each kind, over planted errors that were tried; false mentions of other planted kinds count."""
    planted = {plan.name: plan.kinds[0] for plan in PLANTED}
    table = defaultdict(Counter)
    for row in rows:
        for kind, count in row["confusion"].items():
            table[planted[row["fault"]]][kind] += count
    out = {}
    for kind in kinds:
        if kind in table:
            hits, real = table[kind][kind], table[kind].total()
            named = sum(c[kind] for c in table.values())
            out[kind] = round(2 * hits / max(real + named, 1), 2)
    return out


def lines(content):
    """The table of the page, from the results alone."""
    rows = content["rows"]
    faults = [r for r in rows if not r["control"]]
    out = [
        "| fault, classifier | kind that is planted | found first | mean rank where found | evidence | false on the "
        "control | other findings on controls |",
        "|---|---|---|---|---|---|---|",
    ]
    for plan in PLANTED:
        own, control = ([r for r in rows if r["fault"] == plan.name and r["control"] == c] for c in (False, True))
        if not own:
            continue
        hits, ranks = sum(r["found"] for r in own), [r["rank"] for r in own if r["rank"] is not None]
        rank = f"{np.mean(ranks):.1f}" if ranks else "-"
        shown = [r["evidence"] for r in own if r["evidence"] is not None]
        false = sum(r["rank"] is not None for r in control)
        other = sum(r["count"] for r in control) - false
        told = (plan.name, plan.kinds[0], f"{hits} of {len(own)}", rank, mean_of(shown), f"{false} of {len(control)}")
        out.append("| " + " | ".join([*told, str(other)]) + " |")
    controls = [r for r in rows if r["control"]]
    found, false = sum(r["found"] for r in faults), sum(r["rank"] is not None for r in controls)
    out += ["", f"Found first in {found} of {len(faults)} audits, said of {false} of {len(controls)} controls.", ""]
    for name, kinds in SEVERAL.items():
        one = f_one(faults, kinds)
        if one:
            told = ", ".join(f"{k} {v:.2f}" for k, v in one.items())
            out.append(f"- F1 of errors, {name}: macro {np.mean(list(one.values())):.2f} ({told})")
    ap = [(r["ap"], r["ap_margin"]) for r in faults if "ap" in r]
    if ap:
        both = [f"{np.mean(v):.2f}" for v in zip(*ap, strict=True)]
        out.append(f"- wrong labels: average precision {both[0]}; of the margin alone {both[1]}")
    units = [r["unit_rank"] for r in faults if r.get("unit_rank")]
    if units:
        out.append(f"- the broken unit is the first culprit in {sum(u == 1 for u in units)} of {len(units)} audits")
    return out


def mean_of(values):
    return f"{100 * np.mean(values):.0f} %" if values else "-"


def write_page(content):
    seeds = ", ".join(str(s) for s in sorted({r["seed"] for r in content["rows"]}))
    head = f"`python benchmarks/audit_faults.py`, pictures of seeds {seeds} (the rules were set on 11 and 12)."
    before, _, rest = PAGE.read_text().partition(BEGIN)
    text = "\n".join([head, "", *lines(content)])
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[31, 32, 33])
    parser.add_argument("--faults", nargs="*", default=[])
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("-o", type=Path, default=RESULT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    content = json.loads(given.o.read_text()) if given.o.exists() else {"machine": facts(), "rows": []}
    for seed in () if given.page else given.seeds:
        for plan in PLANTED:
            if given.faults and plan.fault not in given.faults:
                continue
            for control in (False, True):
                start = time.process_time()
                row = judged(plan, seed, control)
                key = (row["fault"], seed, control)
                content["rows"] = [r for r in content["rows"] if (r["fault"], r["seed"], r["control"]) != key] + [row]
                print(f"{time.process_time() - start:.0f} s", json.dumps(row, ensure_ascii=False), flush=True)
                given.o.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if given.o == RESULT:
        write_page(content)


if __name__ == "__main__":
    main()
