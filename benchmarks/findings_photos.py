"""Findings on photos of ten species of birds, and the time of a report of a hundred thousand pictures.

    SAYWHY_DATA=... python benchmarks/findings_photos.py [photos] [large] [--keep FOLDER]

photos  EfficientNet-lite0 with a head for ten species, fitted on the train photos of cub10; all photos are audited
large   a hundred thousand synthetic rows (`audit_scale.py`): seconds to make the report, its size, seconds to open it
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from audit_scale import synthetic
from measure import facts
from saywhy import load_classifier
from saywhy.audit import Budget, duplicates, scan, write_summary
from saywhy.findings import write_findings, write_report
from saywhy.findings.labelled import labelled
from sentence_models import birds, headed, pooled, species_of

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
BEGIN, END = "<!-- photos -->", "<!-- end of photos -->"
RESULT = Path(__file__).parent / "results" / "findings_photos.json"
TRIED = 6000  # passes
LARGE = 100_000


def photos(place):
    """What is found on cub10."""
    folder = Path(os.environ["SAYWHY_DATA"]) / "cub10"
    plain, species = load_classifier("efficientnet-lite0"), species_of(folder)
    train = birds(plain, folder, "train", species)
    clf = headed(plain, pooled(plain, train.images), train.labels, species, "ten species")
    start = time.process_time()
    run = scan(clf, [folder], place / "cub10", depth="trials", budget=Budget(TRIED), progress=print)
    write_summary(run)
    found = write_findings(run)
    write_report(run, place / "cub10.html")
    given = labelled(run)
    test = given.split == "test"
    return {
        "photos": len(given.n), "test": int(test.sum()), "right": round(float((~given.wrong[test]).mean()), 3),
        "errors": int(given.wrong.sum()), "tried": len(given.tried),
        "pairs": Counter(f"{given.classes[a]} for {given.classes[t]}" for t, a in
                         zip(given.label[given.wrong], given.answer[given.wrong], strict=True)).most_common(8),
        "page_mb": round((place / "cub10.html").stat().st_size / 1e6, 3),
        "findings": [f.model_dump(mode="json") for f in found], "processor_seconds": round(time.process_time() - start),
    }  # fmt: skip


def large(place):
    """A report of many rows."""
    duplicates.MOST = 0
    run = synthetic(place, LARGE)
    write_summary(run)
    clock, cpu = time.monotonic(), time.process_time()
    found = write_report(run, place / "large.html")
    took = {"clock": round(time.monotonic() - clock, 2), "processors": round(time.process_time() - cpu, 2)}
    size = round((place / "large.html").stat().st_size / 1e6, 3)
    return {
        "rows": LARGE, "findings": len(found.findings), "made": took, "page_mb": size,
        "opened": opened(place / "large.html"),
    }  # fmt: skip


def opened(page):
    """Seconds until a browser has laid the page out; None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page()
        start = time.monotonic()
        tab.goto(page.as_uri(), wait_until="load")
        took = time.monotonic() - start
        browser.close()
    return round(took, 2)


def write_page(content):
    """What was measured, on the page."""
    one, many = content["photos"], content["large"]
    pairs = "; ".join(f"{pair} ({count})" for pair, count in one["pairs"])
    took, right = many["made"], f"{100 * one['right']:.0f} %"
    rows = [
        "`python benchmarks/findings_photos.py`: EfficientNet-lite0 with a head for ten species, fitted on the train "
        f"photos of cub10.\nOf {one['test']} test photos {right} are right; of all {one['photos']} photos "
        f"{one['errors']} are errors, {one['tried']} photos were tried, in {one['processor_seconds']} s of a\n"
        f"core. Said: {pairs}.",
        "",
        "| rank | kind | finding | errors | effect (95 %) | rate of false findings |",
        "|---|---|---|---|---|---|",
        *(
            f"| {f['rank']} | {f['kind']} | {f['name']} | {f['errors']} | {f['effect']:.2f} ({f['low']:.2f} to "
            f"{f['high']:.2f}) | {f['q']:.3f} |"
            for f in one["findings"][:10]
        ),
        "",
        f"A report of {many['rows']:,} synthetic rows, {many['findings']} findings, is made in {took['processors']} s "
        f"of a core ({took['clock']} s on a machine with\nother work), and a browser opens its page in "
        f"{many['opened']} s. The page has no pictures there ({many['page_mb']} MB); with them it has at most 180\n"
        f"thumbnails: that of cub10 has {one['page_mb']} MB.",
    ]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    text = "\n".join(rows)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["large", "photos"])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        place = given.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for name in given.parts:
            content[name] = {"machine": facts(), **{"large": large, "photos": photos}[name](place)}
            RESULT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_page(content)


if __name__ == "__main__":
    main()
