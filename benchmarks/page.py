"""Writes docs/benchmarks.md from results/*.json: goals, what was measured, wins and losses.

python benchmarks/page.py
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
Row = dict
NETWORKS = ("efficientnet-lite0", "resnet50", "vit_small_patch16_224")

HEAD = """# Benchmarks

Written by `benchmarks/page.py` from `benchmarks/results/`; [how it is measured](../benchmarks/README.md). Networks at
224 x 224 pixels: EfficientNet-lite0 with its ImageNet weights, timm's resnet50 and vit_small_patch16_224 with random
weights. Time is CPU time of one thread; the machine had other work to do meanwhile, which widens the quartiles.
saywhy sends images through the network in fours, which suits the caches of one core; the peers and the plain forward
pass take the batch as it is.
"""


def load(name: str) -> dict | None:
    file = HERE / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def rows_of(name: str, **key: object) -> list[Row]:
    return [r for r in (load(name) or {"rows": []})["rows"] if all(r.get(k) == v for k, v in key.items())]


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(v) for v in row) + " |" for row in rows)])


def between(page: Path, text: str, start: str = "<!-- tables -->", stop: str = "<!-- end of tables -->") -> None:
    """Puts a text between two marks of a page; what is written around them by hand stays."""
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, found, after = rest.partition(stop)
    if not found:
        raise SystemExit(f"{page}: no {start} with a {stop} after it")
    page.write_text(f"{before}{start}\n\n{text}\n\n{stop}{after}", encoding="utf-8")


def mark(good: bool) -> str:
    return "met" if good else "**missed**"


def number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if value < 100 else f"{value:,.0f}"


# --------------------------------------------------------------------------------------------------
# Goals: (what, goal, measured, whether it is met).


def goals() -> Iterator[tuple[str, str, str, str]]:
    for make in (grad_cam_goals, memory_goals, ablation_goals, score_goals, grouped_goals, other_goals):
        yield from make()


def pair(question: str, network: str, who: str, **key: object) -> tuple[Row, Row] | None:
    """saywhy's row and another's."""
    own, other = (rows_of(question, network=network, who=w, **key) for w in ("saywhy", who))
    return (own[0], other[0]) if own and other else None


def grad_cam_goals() -> Iterator[tuple[str, str, str, str]]:
    for network in NETWORKS:
        for batch in (1, 8):
            found = pair("grad-cam", network, "grad-cam", batch=batch)
            if found is None:
                continue
            limit = 1.15 if network.startswith("vit") else 1.05
            plain, peer = found[0]["to_plain"]["median"], found[1]["saywhy_to_it"]["median"]
            what = f"Grad-CAM, {network}, batch {batch}"
            yield what + ": time by plain forward's", f"<= {limit}", number(plain), mark(plain <= limit)
            bound = 1 / 3 if network == "resnet50" else 0.4
            yield what + ": time by grad-cam's", f"<= {bound:.2g}", number(peer), mark(peer <= bound)


def memory_goals() -> Iterator[tuple[str, str, str, str]]:
    for network in NETWORKS:
        found = pair("grad-cam-memory", network, "plain forward", batch=16)
        if found:
            share = found[0]["median_mb"] / found[1]["median_mb"]
            what = f"Grad-CAM, {network}, batch 16: peak memory by plain forward's"
            yield what, "<= 1", number(share), mark(share <= 1)
        found = pair("score-cam-memory", network, "grad-cam")
        if found:
            share = found[0]["median_mb"] / found[1]["median_mb"]
            yield f"Score-CAM, {network}: peak memory by grad-cam's", "<= 0.5", number(share), mark(share <= 0.5)


def ablation_goals() -> Iterator[tuple[str, str, str, str]]:
    for network in NETWORKS:
        found = pair("ablation-cam", network, "grad-cam")
        if found:
            times, least = found[1]["median"] / found[0]["median"], 5 if network.startswith("vit") else 50
            same = min(found[1]["correlation_with_saywhy"])
            said = f"{number(times)} times, correlation {same:.4f}"
            what = f"Ablation-CAM, {network}: faster than grad-cam"
            yield what, f">= {least} times, > 0.999", said, mark(times >= least and same > 0.999)


def score_goals() -> Iterator[tuple[str, str, str, str]]:
    for network in NETWORKS:
        for peer in ("grad-cam", "torchcam"):
            found = pair("score-cam", network, peer)
            if found:
                share = found[0]["median"] / found[1]["median"]
                yield f"Score-CAM, {network}: time by {peer}'s", "< 1", number(share), mark(share < 1)


def grouped_goals() -> Iterator[tuple[str, str, str, str]]:
    rows = rows_of("score-cam-grouped")
    if rows:
        faster = statistics.median(r["times_faster"] for r in rows)
        rank = statistics.mean(r["rank_correlation"] for r in rows)
        said = f"{number(faster)} times, {rank:.3f} (lowest {min(r['rank_correlation'] for r in rows):.2f})"
        what = f"score-cam-grouped by exact, {len(rows)} photos: faster, mean rank correlation"
        yield what, ">= 8 times, >= 0.9", said, mark(faster >= 8 and rank >= 0.9)


def other_goals() -> Iterator[tuple[str, str, str, str]]:
    for row in rows_of("own-work"):
        said = f"{100 * row['own_share']:.1f} %"
        what = f"{row['who'].removeprefix('saywhy ')}, {row['network']}: own work by forward passes"
        yield what, "< 5 %", said, mark(row["own_share"] < 0.05)
    rows = rows_of("explain-call")
    if rows:
        passes = [r["passes"] for r in rows]
        said = f"median {statistics.median(passes):.0f}, highest {max(passes):.0f}"
        what = f"`explain`, {len(rows)} photos: plain forward passes in time"
        yield what, "<= 160", said, mark(max(passes) <= 160)


# --------------------------------------------------------------------------------------------------
# Everything that was measured.


def time_table(question: str) -> str:
    head = ("network", "batch", "who", "seconds", "by plain forward", "saywhy by it", "quartiles", "same map")
    rows = []
    for r in rows_of(question):
        same = f"{min(r['correlation_with_saywhy']):.4f}" if "correlation_with_saywhy" in r else ""
        low, high = r["saywhy_to_it"].get("quartiles", ("once", ""))
        spread = f"{low} - {high}" if high else low
        plain, own = number(r["to_plain"]["median"]), number(r["saywhy_to_it"]["median"])
        rows.append((r["network"], r["batch"], r["who"], number(r["median"]), plain, own, spread, same))
    return table(head, rows)


def memory_table(question: str) -> str:
    rows = [(r["network"], r["batch"], r["who"], number(r["median_mb"])) for r in rows_of(question)]
    return table(("network", "batch", "who", "MB"), rows)


def columns(question: str, names: dict[str, str]) -> str:
    return table(tuple(names.values()), [tuple(r[k] for k in names) for r in rows_of(question)])


GROUPED = {
    "photo": "photo",
    "exact_seconds": "exact, s",
    "grouped_seconds": "grouped, s",
    "times_faster": "times faster",
    "rank_correlation": "rank correlation",
}
EXPLAIN = {
    "photo": "photo",
    "regions": "regions",
    "forward_passes": "images asked",
    "seconds": "seconds",
    "passes": "plain passes in time",
    "statements": "statements",
}
OWN = {"network": "network", "who": "method", "own_share": "own work by forward passes"}
TABLES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "grad-cam": ("Grad-CAM: time", time_table, "captum knows no tokens: its map of a transformer is none."),
    "grad-cam-memory": ("Grad-CAM: peak memory", memory_table, ""),
    "ablation-cam": (
        "Ablation-CAM",
        time_table,
        "saywhy runs only what follows the layer. grad-cam's own layer for transformers puts -1e7 on every token; here "
        "it is given one that puts zeros on the grid, so that both compute the same.",
    ),
    "score-cam": (
        "Score-CAM, exact",
        time_table,
        "saywhy leaves out channels that are constant on the photo, whose mask is empty. The maps differ because the "
        "conventions do: agreement.json compares them with equal ones.",
    ),
    "score-cam-memory": ("Score-CAM: peak memory", memory_table, ""),
    "rise": (
        "RISE, 200 masks",
        time_table,
        "Each draws its own masks, so the maps are not equal. dianna is given the share of kept cells, which it would "
        "otherwise find by 900 further passes.",
    ),
    "own-work": ("Own work of perturbation methods", lambda q: columns(q, OWN), ""),
    "score-cam-grouped": ("score-cam-grouped against exact", lambda q: columns(q, GROUPED), ""),
    "explain-call": (
        "The whole `explain` call",
        lambda q: columns(q, EXPLAIN),
        "Regions, coalition game under two fills, confirming runs, sentences; EfficientNet-lite0 after loading.",
    ),
}


def sections() -> Iterator[str]:
    for question, (title, make, note) in TABLES.items():
        if load(question) is not None:
            yield "\n\n".join(part for part in (f"## {title}", note, make(question)) if part)


def machine() -> str:
    found = next(record for q in TABLES if (record := load(q)))["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    return (
        f"{found['processor']}, {found['cores']} cores of which one thread is used, {found['memory_gb']} GB, "
        f"{found['system']}, Python {found['python']}; {versions}."
    )


def losses() -> str:
    lost = [
        f"- {r['who']} takes {number(1 / r['saywhy_to_it']['median'])} of saywhy's time: {question}, {r['network']}, "
        f"batch {r['batch']}."
        for question in ("grad-cam", "ablation-cam", "score-cam", "rise")
        for r in rows_of(question)
        if r["who"] not in ("saywhy", "plain forward") and r["saywhy_to_it"]["median"] > 1
    ]
    return "\n".join(lost) or "No peer was faster at the median."


def main() -> None:
    goal_rows = list(goals())
    missing = [
        f"{q} on {n}"
        for q in ("grad-cam", "grad-cam-memory", "ablation-cam", "score-cam", "score-cam-memory")
        for n in NETWORKS
        if not rows_of(q, network=n, who="saywhy")
    ]
    parts = [
        HEAD,
        machine(),
        "## Goals\n\n" + table(("what", "goal", "measured", ""), goal_rows),
        "## Where a peer is faster\n\n" + losses(),
        *([f"## Not measured yet\n\n{'; '.join(missing)}."] if missing else []),
        *sections(),
    ]
    (HERE.parent / "docs" / "benchmarks.md").write_text("\n\n".join(p.strip() for p in parts) + "\n")


if __name__ == "__main__":
    main()
