"""The text space `own`, as it ships, on pictures of the aviary that it was not trained with.

    python benchmarks/text_space.py

Renders the pictures of its training again (SAYWHY_CACHE keeps them) and measures on the test split alone. Writes
results/text_space.json and the table in docs/text-spaces.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from page import between, table
from saywhy.spaces.towers import load_own
from saywhy.train.textspace import measured, pairs
from sentence_measures import machine

HERE = Path(__file__).parent
FIRST = (1, 5, 10)


def page_of(test: dict[str, Any]) -> str:
    """The table, and the phrases that it knows worst."""
    among, phrases, first = test["among"], test["phrases"], test["first_is_true"]
    found = (
        ("a caption finds its own picture first", "caption_finds_its_picture"),
        ("a picture finds its own caption first", "picture_finds_its_caption"),
    )
    chance = percents(k / among for k in FIRST)
    rows = [
        *((f"{what}, among the first 5, 10 of {among}", percents(test[key].values()), chance) for what, key in found),
        ("the first picture of a caption is one that it is true of", *percents_of(first, "caption")),
        ("the first caption of a picture is true of it", *percents_of(first, "picture")),
        (
            'phrases such as "red breast" sort pictures (mean average precision)',
            f"{phrases['mean_average_precision']:.2f}",
            f"{phrases['chance']:.2f}",
        ),
    ]
    worst = ", ".join(f'"{phrase}" {value:.2f}' for phrase, value in phrases["worst"].items())
    return (
        f"On {test['pictures']} pictures that it was not trained with:\n\n"
        f"{table(('what', 'found', 'chance'), rows)}\n\n"
        "Many captions are true of several pictures, so that the right one need not be the first. Nearest to a\n"
        f"picture are short captions that are true of many: {first['captions_that_are_first']} of the {among} come "
        f"first for all pictures.\nWorst are {worst} (average precision)."
    )


def percents(shares: Iterable[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)


def percents_of(first: dict[str, float], which: str) -> tuple[str, str]:
    return percents([first[which]]), percents([first["chance"]])


def main() -> None:
    """Measures, and writes both."""
    torch.set_num_threads(1)
    net, card = load_own()
    result = {**machine(), "space": card["fingerprint"], "test": measured(net, pairs()["test"])}
    print(json.dumps(result, indent=1))
    (HERE / "results" / "text_space.json").write_text(json.dumps(result, indent=1) + "\n")
    between(HERE.parent / "docs" / "text-spaces.md", page_of(result["test"]), "<!-- own -->", "<!-- end of own -->")


if __name__ == "__main__":
    main()
