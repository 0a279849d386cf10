"""The aviary's protocol for every saliency method and the coalition game, on its reference classifiers.

    python benchmarks/aviary_table.py aviary:cnn aviary:vit aviary:cnn-watermark

Writes results/aviary_table_NAME.json for each model and the page docs/aviary-benchmark.md from all result files that
there are, so that models can be measured one at a time. The row game-concepts needs an explainer of the model:

    saywhy aviary birds --images 240 --seed 4101
    saywhy fit birds --parts concepts --preset concepts=topk-sae --model aviary:cnn -o mine
    python benchmarks/aviary_table.py aviary:cnn --only game-concepts --explainer mine
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import torch

import saywhy
from saywhy.evaluate import BIRD_COLUMNS, Evaluation, evaluate_aviary
from saywhy.evaluate.result import from_dict, json_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "aviary-benchmark.md"
START, STOP = "<!-- tables -->", "<!-- end of tables -->"
OPTIONS = {"rise": {"masks": 300}}
GROUPS = {
    "Where": ["epg", "nra", "pointing", "null-share"],
    "How much, which two, why not the other": ["effect-rank", "effect-sign", "relation", "contrast"],
    "Planted shortcuts": ["watermark", "context"],
}


def measure(spec: str, pictures: int, spoiled: int, only: list[str], explainer: str | None) -> None:
    """Measures one model and writes its result file; with `only`, those methods' rows take the place of the old. The
    explainer's concepts are the players of game-concepts."""
    clf = saywhy.load_classifier(spec)
    bank = None if explainer is None else saywhy.Explainer.load(explainer, clf).parts["concepts"]
    file = RESULTS / f"aviary_table_{spec.split(':')[-1]}.json"
    found = evaluate_aviary(
        clf, only or None, limit=pictures, spoiled=spoiled, options=OPTIONS, bank=bank,
        progress=lambda done, total, text: print(f"{spec} {done + 1} of {total}: {text}", file=sys.stderr, flush=True),
    )  # fmt: skip
    where = {
        "machine": platform.machine(), "processors": os.cpu_count(), "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "saywhy": saywhy.__version__,
    }  # fmt: skip
    if only:
        old = from_dict(json.loads(file.read_text(encoding="utf-8"))["evaluation"])
        new = {row.method: row for row in found.rows if row.method in only}
        kept = tuple(new.pop(row.method, row) for row in old.rows)
        found = replace(old, rows=(*kept, *new.values()))
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json_text({**where, "evaluation": found.to_dict(values=True)}), encoding="utf-8")


def part(found: Evaluation, names: list[str]) -> Evaluation:
    """The evaluation with these columns alone."""
    rows = tuple(replace(r, cells={n: r.cells[n] for n in names}) for r in found.rows)
    return replace(found, columns=tuple(found.column(n) for n in names), rows=rows)


def section(found: Evaluation) -> str:
    """The tables of one model."""
    lines = [f"## {found.model}\n", " ".join(found.notes) + "\n"]
    for title, names in GROUPS.items():
        lines.append(f"### {title}\n\n" + part(found, names).table("markdown").split("\n\n", 1)[0] + "\n")
    return "\n".join(lines)


def write_page() -> None:
    """Puts the tables of all result files between the page's two marks; the words around them stay."""
    files = sorted(RESULTS.glob("aviary_table_*.json"), key=lambda f: (len(f.stem.split("-")), f.stem))
    found = [from_dict(json.loads(f.read_text(encoding="utf-8"))["evaluation"]) for f in files]
    columns = "\n".join(f"- `{c.name}`: {c.summary}." for c in BIRD_COLUMNS.values())
    text = "\n".join([*map(section, found), "## The columns\n", columns])
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"# The aviary's benchmark\n\n{START}\n{STOP}\n"
    PAGE.write_text(f"{old.split(START)[0]}{START}\n\n{text}\n\n{STOP}{old.split(STOP)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="none: only write the page again")
    parser.add_argument("--pictures", type=int, default=72)
    parser.add_argument("--spoiled", type=int, default=16)
    parser.add_argument("--only", help="measure these methods again: a,b")
    parser.add_argument("--explainer", help="a folder with concepts of the model, for game-concepts")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for spec in given.models:
        measure(spec, given.pictures, given.spoiled, given.only.split(",") if given.only else [], given.explainer)
    write_page()


if __name__ == "__main__":
    main()
