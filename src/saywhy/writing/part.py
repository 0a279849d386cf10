"""The part `language`: what people say of such pictures, by a joint space of the classifier's features and captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from saywhy import files
from saywhy.captioning import strings
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import InputError, no_inside
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.seen import Seen
from saywhy.train.checkpoint import unfinished
from saywhy.writing.captionspace import CONFIG, CaptionPairs, CaptionSpace, learned, strange, unit

FILE = "language.safetensors"
SHOWN = 3  # captions


@dataclass(frozen=True, eq=False)
class Captioning:
    """A joint space of a classifier's features with the captions that it was learned from and their vectors (T, d)."""

    space: CaptionSpace
    captions: tuple[str, ...]
    vectors: Tensor
    layer: str
    card: Mapping[str, Any]

    def near(self, features: Tensor) -> list[tuple[str, float]]:
        """The captions that are nearest to a picture's features (K,), with their cosines."""
        cosines = (self.vectors @ unit(self.space.pictures(features[None]))[0]).tolist()
        order = sorted(range(len(cosines)), key=lambda n: -cosines[n])[:SHOWN]
        return [(self.captions[n], round(cosines[n], 3)) for n in order]


def features_of(clf: Classifier, images: Tensor, layer: str) -> Tensor:
    """The mean of every channel (N, K) of the layer."""
    return clf.tap(images, [layer]).maps(layer).mean(dim=(2, 3)).float().cpu()


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Learns the joint space of pictures that have captions."""
    if not clf.white_box:
        raise no_inside("features", "a joint space with captions is learned of a network")
    layer, failures = clf.point.path, list[tuple[str, str]]()
    rows, said = list[Tensor](), list[tuple[str, ...]]()
    for n, item in enumerate(items):
        captions = strings(item.truth.get("captions", ()))
        if not captions:
            continue
        how.tell(f"looking at pictures: {n + 1} of {len(items)}")
        try:
            images, _ = clf.prepare([clf.read(item.path)])
        except InputError as e:
            failures.append((str(item.path), str(e)))
            continue
        rows.append(features_of(clf, images, layer)[0])
        said.append(tuple(captions))
    pairs = CaptionPairs(torch.stack(rows) if rows else torch.empty(0, 1), tuple(said))
    space, ended = learned(pairs, replace(CONFIG, seed=how.seed), how.checkpoint, how.tell)
    card = {
        "classifier": {"name": clf.name, "fingerprint": clf.fingerprint},
        "pictures": len(pairs), "ended": ended.stopped, "words": len(space.words),
        "out_of_vocabulary": round(strange(space.words, said), 4), "own_features": True,
    }  # fmt: skip
    texts = tuple(dict.fromkeys(text for some in said for text in some))
    made = Captioning(space, texts, unit(space.texts(texts)), layer, card)
    summary = f"a joint space of {len(pairs)} pictures and {len(texts)} captions, {len(space.words)} words"
    return Made(made, summary, tuple(failures), None if ended.stopped in ("epochs", "threshold") else ended.stopped,
                unfinished(how.checkpoint))  # fmt: skip


def save(made: Captioning, folder: Path) -> Mapping[str, Any]:
    """Writes the weights, and gives words and captions."""
    files.write(folder / FILE, serialised({k: v.contiguous() for k, v in made.space.state_dict().items()}))
    return {"file": FILE, "layer": made.layer, "words": list(made.space.words), "captions": list(made.captions),
            "card": dict(made.card)}  # fmt: skip


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> Captioning:
    """The part as it was saved.

    Raises:
        InputError: the file is missing, damaged, or not of captions.
    """
    file = folder / str(row.get("file", FILE))
    return files.read_as(file, "a space of captions", lambda: _read(load_file(file), row))


def _read(state: Mapping[str, Tensor], row: Mapping[str, Any]) -> Captioning:
    space = CaptionSpace(row["words"], state["mean"], state["spread"])
    space.load_state_dict(state)
    space = space.eval().requires_grad_(False)
    captions = tuple(row["captions"])
    return Captioning(space, captions, unit(space.texts(captions)), str(row["layer"]), row["card"])


Near = list[tuple[str, float]]


def find(part: Captioning | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Near | None:
    """The captions that are nearest to the picture; None without the part."""
    if part is None or asked.fast:
        return None
    return part.near(features_of(seen.tap.clf, seen.image[None], part.layer)[0])


def confirm(found: Near, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """What people said of the nearest pictures. It is shown and no claim: nobody checked whether it is true of this."""
    return Confirmed(record=json.loads(json.dumps({"nearest": found})))


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
