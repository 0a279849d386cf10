"""What the part `attributes` says of real birds, as it is shipped: how much, how truly, and what hiding it costs.

    SAYWHY_DATA=DIR python benchmarks/attributes_said.py [--cache FILE] [--every N]

EfficientNet-lite0 on cub10 with a head fitted on its train photos, which also teach the part; every N-th test photo is
explained. Captions say what is true. Writes results/attributes_said.json and a table of docs/attributes.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from attributes_cub import over_photos
from cub_study import Birds, Head, gather, head
from lcam_rows import photos_folder
from page import between, table
from saywhy import Classifier, Explainer, load_classifier
from saywhy.attributes.frequencies import joined, vocabulary
from saywhy.attributes.meanings import Meanings
from saywhy.attributes.part import find, summary
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.recognising import recognised
from saywhy.attributes.regressions import probe
from saywhy.attributes.sections import text
from saywhy.attributes.sums import activity_of, sums_of
from saywhy.collection import Item
from saywhy.parts import Request
from saywhy.seen import look
from sentence_measures import machine

HERE = Path(__file__).parent
TEN, JUDGED = HERE / "results" / "attributes_ten.json", HERE / "results" / "attributes_judged.json"
RIVALS = {
    "Black footed Albatross": "Sooty Albatross", "Laysan Albatross": "Black footed Albatross",
    "Groove billed Ani": "Brewer Blackbird", "Parakeet Auklet": "Crested Auklet",
    "Red winged Blackbird": "Brewer Blackbird",
}  # fmt: skip
SAME = {"bill": "beak"}  # as the part finds out
STRENGTH = 0.01  # of the probe, as the part chooses on the train photos
RESULT, PAGE = HERE / "results" / "attributes_said.json", HERE.parent / "docs" / "attributes.md"
START, STOP = "<!-- said -->", "<!-- end of said -->"
Row = dict[str, Any]


def classifier(birds: Birds, own: Head) -> Classifier:
    """The network with its head, which is shown the whole square."""
    clf = load_classifier("efficientnet-lite0")
    net: Any = copy.deepcopy(clf.net)
    bias = np.log(own.probabilities + 1e-12) - birds.pooled @ own.weights.T
    net._fc = torch.nn.Linear(own.weights.shape[1], len(own.weights))
    net._fc.weight.data = torch.from_numpy(own.weights).float()
    net._fc.bias.data = torch.from_numpy((bias - bias.mean(1, keepdims=True)).mean(0)).float()
    return Classifier(net, classes=birds.names, preprocess=replace(clf.preprocess, resize=224), name="ten birds")


def squares(birds: Birds, folder: Path) -> list[Item]:
    """The squares about the birds as files, with their captions."""
    items = []
    for image, name, captions in zip(birds.images, birds.files, birds.captions, strict=True):
        path = folder / f"{Path(name).stem}.png"
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
        items.append(Item(path, truth={"captions": captions}))
    return items


def said_of(clf: Classifier, meaning: Meanings, birds: Birds, items: Sequence[Item], asked: Sequence[int]) -> list[Row]:
    """Every attribute that is proposed for a photo: whether captions say it, and what was measured."""
    rows, same = [], meaning.card["same"]
    for i in asked:
        seen = look(clf, clf.read(items[i].path))
        found = find(meaning, seen, {}, Request())
        true = joined(birds.said[i], same).counts
        assert found is not None
        for one in found.checked:
            name = meaning.attributes[one.reason.attribute]
            rows.append({
                "photo": int(i), "attribute": str(name), "true": name in true, "level": one.reason.level,
                "basis": one.reason.basis, "for": one.reason.effect > 0, "used": one.used, "by": one.by,
                "presence": one.reason.presence, "hidden": one.hidden.value, "elsewhere": one.elsewhere,
                "silenced": one.silenced, "others": one.others, "unit": one.hidden.unit,
                "usual": usual_true(meaning, seen.target, sum(r["photo"] == i for r in rows), true),
            })  # fmt: skip
    return rows


def usual_true(meaning: Meanings, c: int, nth: int, true: dict[Attribute, int]) -> bool:
    """Whether captions say the n-th most frequent attribute of the predicted class: what the photo adds nothing to."""
    order = np.argsort(-meaning.usual[c], kind="stable")
    return meaning.attributes[int(order[nth])] in true


def measured(rows: Sequence[Row], photos: int) -> Row:
    """Of some rows: of how many photos anything is said, how much of it is true, and what hiding and silencing cost."""
    photo = np.array([r["photo"] for r in rows])
    points = [r for r in rows if r["unit"] == "probability"]
    return {
        "said": len(rows), "photos": len(set(photo.tolist())) / photos,
        "precision": over_photos(np.array([float(r["true"]) for r in rows]), photo),
        "frequency": over_photos(np.array([float(r["usual"]) for r in rows]), photo),
        "gain": over_photos(np.array([float(r["true"]) - float(r["usual"]) for r in rows]), photo),
        **{k: float(np.mean([r[k] for r in points])) for k in ("hidden", "elsewhere", "silenced", "others")},
        "told in points": len(points) / len(rows),
    }  # fmt: skip


KINDS = {
    "all that are proposed": lambda r: True,
    "told of the picture": lambda r: r["level"] == "image",
    "told of the class": lambda r: r["level"] == "class",
    "used here": lambda r: r["used"],
    "used, of the picture": lambda r: r["used"] and r["level"] == "image",
    "used, of the class": lambda r: r["used"] and r["level"] == "class",
    "not shown to be used": lambda r: not r["used"],
}


def never_trained(birds: Birds) -> Row:
    """How often test photos of classes of which no photo taught the probe are recognised by what captions say of these:
    of one class among all ten, and of two such classes between the two."""
    spoken, train, labels = [joined(s, SAME) for s in birds.said], birds.train, birds.labels
    words = vocabulary([s for s, t in zip(spoken, train, strict=True) if t])
    has, scale = words.rows(s.counts for s in spoken), activity_of(birds.pooled[train])
    lifted, names = scale.lifted(birds.pooled), range(len(birds.names))
    usual = np.array([has[train & (labels == c)].mean(0) for c in names])

    def right(new: tuple[int, ...], among: Sequence[int]) -> float:
        use = train & ~np.isin(labels, new)
        zeros = np.zeros(int(use.sum()), dtype=int)
        told = probe(sums_of(birds.pooled[use], has[use], zeros, 0 * birds.pooled[use], 1, scale), STRENGTH)
        asked = np.flatnonzero(~train & np.isin(labels, new))
        sure = told(lifted[asked], np.zeros(len(asked), dtype=int))
        found = np.array(among)[recognised(sure, usual[list(among)])]
        return float(np.mean([(found == labels[asked])[labels[asked] == c].mean() for c in new]))

    pairs = [right(pair, pair) for pair in combinations(names, 2)]
    return {"among all": float(np.mean([right((c,), names) for c in names])), "of two": float(np.mean(pairs)),
            "pairs": len(pairs), "least": min(pairs)}  # fmt: skip


def pages(found: Row) -> str:
    def within(v: Sequence[float]) -> str:
        return "{:.3f} [{:.3f}, {:.3f}]".format(*v)

    rows = [
        (
            kind, r["said"], f"{100 * r['photos']:.0f}", within(r["precision"]), within(r["frequency"]),
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(*r["gain"]),
            *(f"{100 * r[k]:.1f}" for k in ("hidden", "elsewhere", "silenced", "others")),
        )
        for kind, r in found["kinds"].items()
    ]  # fmt: skip
    first = (
        f"Taught by {found['train']} photos: {found['summary']}. Of {found['photos']} test photos, of which the "
        f"classifier names {100 * found['accuracy']:.1f} % rightly (costs in points of the predicted class):"
    )
    head = (
        "what is said", "n", "% of photos", "captions say it", "as many most frequent of the class", "gain", "hidden",
        "as much elsewhere", "filters silenced", "others",
    )  # fmt: skip
    new = found["never trained"]
    last = (
        f"Classes of which no photo taught the probe, told by what captions say of them: of two such classes "
        f"{100 * new['of two']:.0f} % of the test photos are recognised (mean of {new['pairs']} pairs, chance 50, "
        f"worst pair {100 * new['least']:.0f}); of one among all ten {100 * new['among all']:.0f} % (chance 10): the "
        "probe, taught by the others, takes it for one of them."
    )
    return f"{first}\n\n{table(head, rows)}\n\n{last}"


def ten(explainer: Explainer, birds: Birds, items: Sequence[Item]) -> list[Row]:
    """What is said of one test photo of each class, the third, and rather than which, where `RIVALS` has one."""
    out = []
    for c, name in enumerate(birds.names):
        i = int(np.flatnonzero(~birds.train & (birds.labels == c))[2])
        rival = RIVALS.get(name)
        e = explainer.explain(items[i].path, versus=rival)
        names = [f"{r['adjective']} {r['noun']}" for r in e.parts["attributes"]["attributes"]]
        out.append(
            {"photo": birds.files[i], "true": name, "says": e.target.class_name, "text": text(e), "names": names}
        )
    return out


def write_ten(rows: Sequence[Row]) -> None:
    """Each text with what a person who looked at the photo says of each attribute in it, and of the contrast."""
    judged = json.loads(JUDGED.read_text(encoding="utf-8"))
    parts = []
    for row in rows:
        own = judged.get(row["photo"], {})
        lines = [f"- {name}: {own.get(name, 'not judged')}" for name in row["names"]]
        lines += [f"- contrast: {own.get('contrast', 'not judged')}"] if "How to tell" in row["text"] else []
        verdicts = "\n".join(lines)
        parts.append(f"`{row['photo']}`, a {row['true']}:\n\n```text\n{row['text']}\n```\n\n{verdicts}")
    between(PAGE, "\n\n".join(parts), "<!-- ten -->", "<!-- end of ten -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="a file that keeps what the network says of the photos")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--unseen", action="store_true", help="only what no photo taught; the rest as it was")
    parser.add_argument("--ten", type=Path, help="a folder of a fitted explainer, by which ten photos are explained")
    parser.add_argument("--judged", action="store_true", help="only write what was judged of the ten into the page")
    parser.add_argument("--keep", type=Path, help="a folder for the fitted explainer")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.judged:
        write_ten(json.loads(TEN.read_text(encoding="utf-8")))
        return
    birds = gather(photos_folder() / "cub10", given.cache)
    if given.unseen:
        write(json.loads(RESULT.read_text(encoding="utf-8")) | {"never trained": never_trained(birds)})
        return
    own = head(birds, birds.train)
    clf = classifier(birds, own)
    with tempfile.TemporaryDirectory() as folder:
        items = squares(birds, Path(folder))
        if given.ten:
            rows = ten(Explainer.load(given.ten, clf), birds, items)
            TEN.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            write_ten(rows)
            return
        train = [item for item, is_train in zip(items, birds.train, strict=True) if is_train]
        explainer = Explainer.fit(clf, train, ["attributes"])
        if given.keep:
            explainer.save(given.keep)
        meaning: Meanings = explainer.parts["attributes"]
        asked = np.flatnonzero(~birds.train)[:: given.every]
        rows = said_of(clf, meaning, birds, items, asked)
    kinds = {kind: [r for r in rows if r["for"] and fit(r)] for kind, fit in KINDS.items()}
    found = {
        **machine(), "train": len(train), "photos": len(asked), "summary": summary(meaning), "least": meaning.least,
        "accuracy": float((own.predicted[asked] == birds.labels[asked]).mean()),
        "kinds": {kind: measured(some, len(asked)) for kind, some in kinds.items() if some}, "rows": rows,
        "never trained": never_trained(birds),
    }  # fmt: skip
    write(found)


def write(found: Row) -> None:
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    between(PAGE, pages(found), START, STOP)


if __name__ == "__main__":
    main()
