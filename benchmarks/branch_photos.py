"""Where the words of the text space `lexical` are in photos of cars: by a branch, by patches, and by controls.

    SAYWHY_DATA=DIR python benchmarks/branch_photos.py [--photos 80]

EfficientNet-lite0. A branch learns what the text space says of imagenet300 and of one half of carparts250, with the
phrases that it brings; in photos of the other half it is asked for eight parts that it has never heard of. EPG and NRA
are of the part's marked mask, a mean a photo, then over photos; all maps lie on the same patches. Writes
results/photo_branch.json and a table in docs/branch.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from branch_aviary import fine, judged, painted
from concepts_photos import marks
from lcam_rows import photos_folder
from names_shown import merged
from page import between, table
from saywhy import Classifier, load_classifier
from saywhy.branch.hearing import patches_of
from saywhy.branch.learning import Branch, teach
from saywhy.branch.levels import readings, tapped_for
from saywhy.collection import Item, find_images
from saywhy.intervene import Masked, masked_answers
from saywhy.lexical.part import alone
from saywhy.metrics.statistics import bootstrap
from saywhy.seen import Seen, look
from saywhy.spaces import TextSpace, text_space
from sentence_measures import machine

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "photo_branch.json", HERE.parent / "docs" / "branch.md"
START, STOP = "<!-- photos -->", "<!-- end of photos -->"
PHRASES = {
    "wheel": "car wheel", "hood": "hood", "bumper": "bumper", "door": "car door", "glass": "car window",
    "light": "light", "mirror": "car mirror", "trunk": "luggage compartment",
}  # fmt: skip
CONTROL = "centre"
BY_PART = ("branch", "text space, each patch alone", "where the class is seen", CONTROL)
FIGURES = ("epg", "nra", "hits")
Row = dict[str, Any]


def on_patches(maps: Tensor, patches: Tensor) -> Tensor:
    """The mean of maps (T, H, W) on each patch (T, P)."""
    return maps.flatten(1) @ (patches / patches.sum(dim=(1, 2), keepdim=True)).flatten(1).T


def ways(branch: Branch, space: TextSpace, seen: Seen, texts: Tensor, seed: int) -> dict[str, Tensor]:
    """What each patch has of each phrase (T, P), by every way of finding it."""
    image, patches, clf = seen.image, patches_of(seen.image), seen.tap.clf
    H, W = image.shape[1:]
    T, P = len(texts), len(patches)
    read = readings(tapped_for(clf, image[None], branch.levels), branch.levels)
    heard = branch.hear([maps[0] for maps in read], texts)

    def kept(start: int, stop: int) -> Tensor:
        return ~patches[start:stop]

    whole = space.log_odds(space.encode_images(image[None]), texts)
    without = masked_answers([Masked(image[None], P, kept, "blur", seed)], space.encode_images, size=32)
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    centre = torch.exp(-2 * (ys**2 + xs**2))[None].expand(T, H, W)
    random = torch.rand(T, 8, 8, generator=torch.Generator().manual_seed(seed))
    attention = fine(seen.attention.raw.cpu().clamp_min(0)[None, None], (H, W))[0].expand(T, H, W)
    each = heard.on_patches(patches)
    return {
        "branch": heard.fused(branch.shares, patches),
        "branch, another part's words": heard.fused(branch.shares, patches).roll(1, 0),
        "branch, last layer": each[-1],
        "text space, each patch hidden": (whole - space.log_odds(without, texts)).T.clamp_min(0)
        / patches.sum(dim=(1, 2)),
        "text space, each patch alone": space.log_odds(space.encode_images(alone(image, patches)), texts).T.sigmoid(),
        "where the class is seen": on_patches(attention, patches),
        CONTROL: on_patches(centre, patches),
        "random": on_patches(fine(random[None], (H, W))[0], patches),
    }


def measure(branch: Branch, space: TextSpace, clf: Classifier, items: Sequence[Item]) -> list[Row]:
    """A row for every photo, way and part that is marked in it."""
    rows = []
    for n, item in enumerate(items):
        print(f"photo {n + 1} of {len(items)}", flush=True)
        masks = {name: torch.from_numpy(m) for name, m in marks(clf, item).items() if name in PHRASES}
        if not masks:
            continue
        seen = look(clf, clf.read(item.path))
        texts, patches = space.encode_texts([PHRASES[name] for name in masks]), patches_of(seen.image)
        for way, values in ways(branch, space, seen, texts, n).items():
            found = judged(painted(values, patches), torch.stack(list(masks.values())))
            rows += [
                {"photo": n, "way": way, "part": name, **{k: found[k][t] for k in FIGURES}}
                for t, name in enumerate(masks)
            ]
    return rows


def told(rows: Sequence[Row]) -> Mapping[str, Row]:
    """Each way's figures, means of photos with their intervals, and how far beyond the control's they are."""
    photos = sorted({r["photo"] for r in rows})
    of = {
        (way, key): np.array([
            np.nanmean([r[key] for r in rows if r["way"] == way and r["photo"] == n]) for n in photos
        ])
        for way in dict.fromkeys(r["way"] for r in rows) for key in FIGURES
    }  # fmt: skip

    def interval(values: Any) -> list[float]:
        found = bootstrap(values)
        return [round(float(v), 3) for v in (found.mean, found.low, found.high)]

    return {
        way: {key: interval(of[way, key]) for key in FIGURES}
        | {"beyond_centre": interval(of[way, "nra"] - of[CONTROL, "nra"])}
        | {"parts": {
            part: interval(np.array([r["nra"] for r in rows if r["way"] == way and r["part"] == part]))
            for part in PHRASES
        }}
        for way in dict.fromkeys(r["way"] for r in rows)
    }  # fmt: skip


def write_page(found: Mapping[str, Row]) -> None:
    def cell(value: Sequence[float]) -> str:
        return "{:.2f} [{:.2f}–{:.2f}]".format(*value)

    ways_ = [(way, *(cell(row[k]) for k in (*FIGURES, "beyond_centre"))) for way, row in found.items()]
    parts = [(said, *(cell(found[way]["parts"][part]) for way in BY_PART)) for part, said in PHRASES.items()]
    text = table(("regions", "EPG", "NRA exact", "hit rate", "NRA beyond the centre's"), ways_)
    between(PAGE, f"{text}\n\n{table(('NRA of', *BY_PART), parts)}", START, STOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=80)
    given = parser.parse_args()
    torch.set_num_threads(1)
    clf, data = load_classifier("efficientnet-lite0"), photos_folder()
    space, cars = text_space("lexical", clf), [merged(item) for item in find_images(data / "carparts250")]
    items = [*find_images(data / "imagenet300"), *cars[::2]]
    branch, _ = teach(clf, items, space, space.phrases, tell=lambda step: print(step, flush=True))
    found = told(measure(branch, space, clf, cars[1::2][: given.photos]))
    about = {key: branch.card[key] for key in ("pictures", "layers", "cosine", "cosine_of_the_mean")}
    result = {**machine(), "branch": about, "phrases": PHRASES, "photos": given.photos, "ways": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
