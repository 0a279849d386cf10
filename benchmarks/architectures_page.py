"""Writes docs/architectures.md from results/architectures.json: what the engine did on every network.

python benchmarks/architectures_page.py
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from page import table

HERE = Path(__file__).parent
Row = dict[str, Any]
BATCHES = ("replay_1", "replay_3", "replay_8")

HEAD = """# Networks that nobody here wrote

Written by `benchmarks/architectures_page.py` from `benchmarks/results/architectures.json`, which
`benchmarks/architectures.py` measures. Networks are built from code with random weights (those that start at zero are
drawn too), at small sizes where they allow it; half of their modules are in train mode, some weights are frozen, some
gradients are there already.

- *after*: the share of calls with weights that come after the layer
- *replay*: the largest error of replayed maps at batches 1, 3 and 8, of the largest score
- *Grad-CAM*: the largest difference to a plain hook on the whole network, of the largest value
- *first call*: processor time of the search for the layer, in plain passes of two pictures

torchvision's DenseNet writes into the tapped output after it was given (`F.relu(..., inplace=True)`), so that the plain
hook sees other values than the layer made: there the reference is off, not the map. The one refusal is a network whose
random weights give NaN. `explain` refuses segmentation networks, whose scores are maps, and says how to wrap them; each
network had 40 seconds of one core, which one of them exceeded.
"""


def known(rows: dict[str, Row]) -> dict[str, Row]:
    return {k: r for k, r in rows.items() if "layer" in r}


def error(row: Row) -> float:
    return max(row[b] for b in BATCHES)


def summary(rows: dict[str, Row]) -> str:
    found = known(rows)
    layouts = [r["layouts"] for r in rows.values() if "right" in r.get("layouts", {})]
    seen = {k: sum(x[k] for x in layouts) for k in ("right", "wrong", "unseen")}
    judged = max(seen["right"] + seen["wrong"], 1)
    asked = [r["explain"] for r in rows.values() if "explain" in r]
    costs = sorted(r["first_call_in_plain_passes"] for r in found.values())
    lines = [
        ("networks measured, libraries", f"{len(rows)}, {len({k.split(':')[0] for k in rows})}"),
        ("with a layer", len(found)),
        ("refused by saywhy, with its reason", sum("refused" in r for r in rows.values())),
        ("errors of another kind, in building or measuring", sum("error" in r for r in rows.values())),
        ("everything flows through the layer", sum(r["clean"] for r in found.values())),
        ("replay off by more than 1e-5", sum(error(r) > 1e-5 for r in found.values())),
        ("Grad-CAM off by more than 1e-4", sum(r["grad_cam"] > 1e-4 for r in found.values())),
        ("state not as before", sum(not r["state_kept"] for r in found.values())),
        ("second call not free", sum(r["second_call_passes"] > 0 for r in found.values())),
        ("more than half of the network after the layer", sum(r["weighted_calls_after"] > 0.5 for r in found.values())),
        ("first call in plain passes: median, 90 %", f"{statistics.median(costs)}, {costs[int(0.9 * len(costs))]}"),
        (
            f"layouts read by the probe alone, of {len(layouts)} networks' operations of a known layout: right, wrong, "
            "not told",
            f"{seen['right']}, {seen['wrong']} ({seen['wrong'] / judged:.2%}), {seen['unseen']}"
            if layouts
            else "not measured",
        ),
        (
            "`explain` by default: asked, answered, raw errors",
            f"{len(asked)}, {sum(a == 'ok' for a in asked)}, {sum(a.startswith('RAW') for a in asked)}"
            if asked
            else "not measured",
        ),
    ]
    return table(("what", "measured"), [(what, str(value)) for what, value in lines])


def details(rows: dict[str, Row]) -> str:
    head = ("network", "px", "layer", "grid", "axes", "after", "replay", "Grad-CAM", "first call", "`explain`")
    lines = []
    for name, r in sorted(known(rows).items()):
        layer = f"`{r['layer']}`" + ("" if r["clean"] else ", with paths around it")
        grid = f"{r['grid'][0]} x {r['grid'][1]}" + (f", around {r['around']}" if any(r["around"]) else "")
        after, first = f"{r['weighted_calls_after']:.0%}", r["first_call_in_plain_passes"]
        said = r.get("explain", "").split("; ")[0]
        lines.append(
            (name, r["size"], layer, grid, r["axes"], after, f"{error(r):.0e}", f"{r['grad_cam']:.0e}", first, said)
        )
    return table(head, lines)


def first_calls(found: dict[str, Any]) -> str:
    """What the first call of a classifier costs beside a plain pass of two pictures, and what the second one does."""
    head = ("network", "px", "time of the search, in plain passes", "its peak memory", "a plain pass's", "second call")
    lines = []
    for r in found["rows"]:
        memory = (f"{r['first_mb']} MB", f"{r['plain_mb']} MB")
        lines.append((r["network"], r["side"], r["time"], *memory, f"{r['second']:.1%} of a pass"))
    return table(head, lines)


def rest(rows: dict[str, Row]) -> str:
    told = [(n, r.get("refused") or r.get("error", "")) for n, r in sorted(rows.items()) if "layer" not in r]
    return table(("network", "what was said"), [(n, why.replace("\n", " ").replace("|", "/")) for n, why in told])


def main() -> None:
    rows = json.loads((HERE / "results" / "architectures.json").read_text())
    costs = json.loads((HERE / "results" / "first_call.json").read_text())
    parts = [HEAD, summary(rows), "## The first call", first_calls(costs), "## Each network", details(rows)]
    if len(known(rows)) < len(rows):
        parts += ["## Without a layer", rest(rows)]
    (HERE.parent / "docs" / "architectures.md").write_text("\n\n".join(p.strip() for p in parts) + "\n")


if __name__ == "__main__":
    main()
