"""The joint space `own:2`, as it ships, on pictures of the aviary that it was not trained with.

    python benchmarks/language_space.py

Pictures are those of the test split of its training (rendered again; SAYWHY_CACHE keeps them). Writes
results/language_space.json and the table in docs/text-spaces.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from page import between, table
from saywhy.aviary.lexicons import lexicon
from saywhy.aviary.world import world
from saywhy.spaces.joint import Joint, close_ups, load_joint
from saywhy.spaces.towers import words_of
from saywhy.train.contrasting import alignment, uniformity
from saywhy.train.jointspace import PARTS, SEED, Album, albums, heard, holds, named_phrases
from saywhy.writing.captionspace import recall
from saywhy.writing.mapping import SURE, told_phrases
from sentence_measures import machine

HERE = Path(__file__).parent
AMONG, DRAWS = 100, 20
KS = (1, 5, 10)


def species_by_words(album: Album, seen: Tensor, space: Joint) -> dict[str, Any]:
    """The species of each picture by the looks of its rule, as words."""
    known, lexicon_ = world("2"), lexicon("2")
    phrases = {
        name: [
            f"{lexicon_.adjectives[a.key][a.value][0]} {lexicon_.nouns[a.part][0]}"
            for clause in known.species[name].clauses for a in clause[:1] if a.other is None
        ]
        for name in known.classes
    }  # fmt: skip
    odds = {n: space.scale.exp() * seen @ F.normalize(space.texts(p), dim=1).T + space.bias for n, p in phrases.items()}
    scores = torch.stack([F.logsigmoid(o).mean(1) for o in odds.values()], dim=1)
    clans = [known.species[name].clan for name in known.classes]
    best = scores.argmax(1).tolist()
    return {
        "species": share(b == s for b, s in zip(best, album.species.tolist(), strict=True)),
        "clan": share(clans[b] == clans[s] for b, s in zip(best, album.species.tolist(), strict=True)),
        "chance": round(1 / len(clans), 4),
    }


def share(values: Any) -> float:
    """The mean of truth values."""
    return round(float(np.mean(list(values))), 4)


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def vectors(space: Joint, album: Album) -> tuple[Tensor, Tensor]:
    """Pictures, and one caption of each, as vectors of length 1."""
    images = [space.images(album.pixels[rows].float().div(255)) for rows in torch.split(torch.arange(len(album)), 32)]
    said = [h.captions[0][0] for h in album.said]
    texts = [space.texts(said[i : i + 64]) for i in range(0, len(said), 64)]
    return F.normalize(torch.cat(images), dim=1), F.normalize(torch.cat(texts), dim=1)


def retrieval(album: Album, seen: Tensor, said: Tensor) -> dict[str, Any]:
    """Recall among 100, both ways, a caption being right if it is true of the picture; what chance finds."""
    true = holds(album, [h.facts for h in album.said], [h.captions[0][1] for h in album.said])
    found: dict[str, list[dict[int, float]]] = {"caption_to_picture": [], "picture_to_caption": []}
    chance = []
    for draw in range(DRAWS):
        rows = torch.randperm(len(album), generator=torch.Generator().manual_seed(draw))[:AMONG]
        likeness, right = seen[rows] @ said[rows].T, true[rows][:, rows]
        found["caption_to_picture"].append(dict(recall(likeness.T, right.T, KS)))
        found["picture_to_caption"].append(dict(recall(likeness, right, KS)))
        chance.append(float(right.float().mean()))
    means = {way: {str(k): round(float(np.mean([d[k] for d in rows])), 4) for k in KS} for way, rows in found.items()}
    return means | {
        "chance": round(float(np.mean(chance)), 4), "ceiling": 1.0, "among": AMONG, "draws": DRAWS,
    }  # fmt: skip


def unseen(train: Album, album: Album, seen: Tensor, said: Tensor) -> dict[str, Any]:
    """The same, of captions of three facts and more that are together true of no training picture."""
    claims = [h.captions[0][1] for h in album.said]
    known = holds(train, [h.facts for h in train.said], claims).any(0)
    chosen = [n for n, some in enumerate(claims) if len(some) >= 3 and not known[n]]
    true = holds(album, [h.facts for h in album.said], claims)
    hits = []
    for n in chosen:
        rng = torch.Generator().manual_seed(n)
        others = [i for i in torch.randperm(len(album), generator=rng).tolist() if i != n][: AMONG - 1]
        rows = torch.tensor([n, *others])
        hits.append(bool(true[rows[int((seen[rows] @ said[n]).argmax())], n]))
    return {"captions": len(chosen), "caption_to_picture_first": round(float(np.mean(hits)), 4)}


def crops(space: Joint, album: Album) -> Iterator[tuple[str, tuple[str, ...], Tensor]]:
    """Every part of six pixels and more: what captions call it, its true looks, and its close-up's vector."""
    for n in range(len(album)):
        image, parts = album.pixels[n][None].float().div(255), album.parts[n]
        there = [p for i, p in enumerate(PARTS) if int((parts == 1 + i).sum()) >= 6]
        masks = torch.stack([parts == 1 + PARTS.index(p) for p in there])
        seen = F.normalize(space.images(close_ups(image.expand(len(there), -1, -1, -1), masks)), dim=1)
        for part, vector in zip(there, seen, strict=True):
            base = "collar" if part == "collar2" else part
            names = {base, "collars"} if base == "collar" else {base}
            own = [f for f in album.said[n].facts if " not " not in f and not f.startswith("no ")]
            yield base, tuple(f.replace("collars", "collar") for f in own if f.split(" ")[-1] in names), vector


def naming(space: Joint, card: dict[str, Any], album: Album, least: float) -> dict[str, Any]:
    """Zero-shot names of close-ups: the part of the nearest phrase, the phrase itself, and phrases that are sure."""
    phrases, said = told_phrases(space, card)
    plain = named_phrases()
    rows = []
    for part, looks, vector in crops(space, album):
        odds = space.scale.exp() * (said @ vector) + space.bias
        best = phrases[int(odds.argmax())]
        named = plain[best].split(" ")[-1]
        rows.append((part, named == part, plain[best] in looks, float(odds.max())))
    sure = [r for r in rows if r[3] >= least]
    worst = Counter(r[0] for r in rows if not r[1])
    counts = Counter(r[0] for r in rows)
    order = sorted(counts, key=lambda p: -worst[p] / counts[p])
    return {
        "crops": len(rows), "phrases": len(phrases),
        "part": share(r[1] for r in rows), "phrase": share(r[2] for r in rows),
        "chance": round(1 / len({p.split(" ")[-1] for p in plain.values()}), 4),
        "sure_share": round(len(sure) / len(rows), 4), "sure_phrase": share(r[2] for r in sure),
        "worst": {p: round(1 - worst[p] / counts[p], 4) for p in order[:4]},
    }  # fmt: skip


def pointing(space: Joint, album: Album) -> dict[str, float]:
    """How often the place that a noun phrase's likeness comes from most lies on the part; by chance its share."""
    hits, chance = [], []
    for n in range(0, len(album), 2):
        parts = album.parts[n]
        for part, (text, _) in album.said[n].phrases[::2]:
            own = [1 + PARTS.index(p) for p in (("collar", "collar2") if part == "collars" else (part,))]
            mask = torch.isin(parts, torch.tensor(own, dtype=parts.dtype))
            if part == "collar":
                mask |= parts == 1 + PARTS.index("collar2")
            if mask.sum() < 6:
                continue
            where = space.pointing(album.pixels[n][None].float().div(255), space.texts([text]))[0, 0]
            cell = int(where.argmax())
            h, w = where.shape
            y, x = divmod(cell, w)
            size = mask.shape[0] // h
            hits.append(bool(mask[y * size : (y + 1) * size, x * size : (x + 1) * size].any()))
            chance.append(float(F.max_pool2d(mask[None, None].float(), size).mean()))
    return {"phrases": len(hits), "hit": share(hits), "chance": round(float(np.mean(chance)), 4)}


@torch.no_grad()
def of_the_space() -> dict[str, Any]:
    """All figures of the joint space."""
    space, card = load_joint()
    sets = albums(lambda text: None)
    seen, said = vectors(space, sets["test"])
    fresh = [t for n in range(60) for t, _ in heard(n, SEED + 1).captions]
    every = [w for t in fresh for w in words_of(t)]
    return {
        "fingerprint": card["fingerprint"], "pictures": len(sets["test"]),
        "retrieval": retrieval(sets["test"], seen, said),
        "unseen": unseen(sets["train"], sets["test"], seen, said),
        "sure_from": SURE, "naming": naming(space, card, sets["test"], SURE),
        "pointing": pointing(space, sets["test"]),
        "by_words": species_by_words(sets["test"], seen, space),
        "out_of_vocabulary": share(w not in set(card["words"]) for w in every),
        "alignment": round(alignment(seen, said), 4),
        "uniformity": {"pictures": round(uniformity(seen), 4), "captions": round(uniformity(said), 4)},
        "training": card["training"],
    }  # fmt: skip


def space_page(r: dict[str, Any]) -> str:
    """The table."""
    found, name, aim, unseen_ = r["retrieval"], r["naming"], r["pointing"], r["unseen"]
    chance = percent(found["chance"])
    ways = {"caption to picture": "caption_to_picture", "picture to caption": "picture_to_caption"}
    rows = [
        (f"{way}, first 1, 5, 10 of {AMONG}", ", ".join(percent(found[key][str(k)]) for k in KS), chance)
        for way, key in ways.items()
    ]
    rows += [
        (f"caption to picture, of {unseen_['captions']} captions whose facts no training picture has together",
         percent(unseen_["caption_to_picture_first"]), chance),
        (f"the part that a close-up shows, of {name['crops']}, by the nearest of {name['phrases']} phrases",
         percent(name["part"]), percent(name["chance"])),
        ("that nearest phrase is true of it", percent(name["phrase"]), ""),
        (f"that, where it is said (log-odds from {r['sure_from']} on), {percent(name['sure_share'], 0)} of all",
         percent(name["sure_phrase"]), ""),
        (f"a noun phrase points at its part ({aim['phrases']} phrases)", percent(aim["hit"]), percent(aim["chance"])),
        ("species by the looks of their rules, as words (of 24; five pairs differ in a relation alone)",
         percent(r["by_words"]["species"]), percent(r["by_words"]["chance"])),
        ("the clan of such species, likewise (of 12)", percent(r["by_words"]["clan"]),
         percent(2 * r["by_words"]["chance"])),
        ("words of new captions that it does not know", percent(r["out_of_vocabulary"], 2), ""),
        ("alignment of true pairs; uniformity of pictures, captions",
         f"{r['alignment']:.2f}; {r['uniformity']['pictures']:.2f}, {r['uniformity']['captions']:.2f}", ""),
    ]  # fmt: skip
    worst = ", ".join(f"{p} {percent(v, 0)}" for p, v in name["worst"].items())
    return (
        f"On {r['pictures']} pictures that it was not trained with; a caption is right if it is true of a picture:\n\n"
        f"{table(('what', 'found', 'chance'), rows)}\n\nParts that are named worst: {worst}."
    )


def main() -> None:
    """Measures, and writes both."""
    torch.set_num_threads(1)
    result = {**machine(), **of_the_space()}
    print(json.dumps(result, indent=1))
    (HERE / "results" / "language_space.json").write_text(json.dumps(result, indent=1) + "\n")
    between(HERE.parent / "docs" / "text-spaces.md", space_page(result), "<!-- own:2 -->", "<!-- end of own:2 -->")


if __name__ == "__main__":
    main()
