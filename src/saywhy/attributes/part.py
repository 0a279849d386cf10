"""The part `attributes`: what filters mean, by what people say of pictures, and the decision in their words.

What would be said of a picture is checked first (`checking`): what is there and not used is no reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save as serialised

from saywhy import files
from saywhy.attributes.atlas import atlas_of, tensors_of, words_of
from saywhy.attributes.checking import Checked, check
from saywhy.attributes.describing import contrast, image_pdf, reasons
from saywhy.attributes.diagnosing import summed_up
from saywhy.attributes.from_captions import check_fits, gradient, learn
from saywhy.attributes.meanings import Meanings, Reals, borne_out
from saywhy.attributes.phrases import Attribute
from saywhy.attributes.regressions import Probe
from saywhy.attributes.sums import Activity
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.explanation import AttributeRecord, place_word
from saywhy.image import mask_box
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.seen import Seen

FILE = "attributes.safetensors"
QUICK = 2  # reasons that are checked where it should be fast


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Learns what filters mean, in the way that the preset names."""
    from saywhy.train.checkpoint import unfinished

    meaning, failures = learn(
        clf, items, how.preset, tagged=how.tagger, tell=how.tell, checkpoint=how.checkpoint
    )  # fmt: skip
    summed = f"{summary(meaning)}{_unmet(how.strangers)}"
    return Made(meaning, summed, failures, leftovers=unfinished(how.checkpoint))


def _unmet(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"; captions of {len(names)} pictures that are not among those given ({names[0]!r} first) were not used"


def summary(meaning: Meanings) -> str:
    """What was learned, in a few words, with the guesses that it rests on."""
    card = meaning.card
    without = f" ({card['without_captions']} have no captions that say something)" if card["without_captions"] else ""
    sure = int((meaning.counts & (meaning.effects > 0)).any(axis=0).sum())
    marks = int((meaning.marks > 0).any(axis=0).sum())
    parts = [
        f"{len(meaning)} attributes from {card['pictures']} pictures{without}",
        f"{sure} of them speak for a class beyond chance, {marks} are marks of one, "
        f"{int((meaning.telling > 0.5).sum())} are seen in the picture and not by its class alone",
        f"places are known of {', '.join(meaning.atlas.known) or 'nothing'}"
        if meaning.atlas
        else f"no places: {card['no_places']}",
        *(f"{word!r} is taken for {lead!r}" for word, lead in card["same"].items()),
    ]
    parts += [summed_up([row["pattern"] for row in card["errors"]])] if card["errors"] else []
    if not np.isfinite(meaning.least):
        parts.append("none can be said of a picture with few errors, so none will be")
    return "; ".join(parts)


# --------------------------------------------------------------------------------------------------
# On disk.

ARRAYS = ("posterior", "loadings", "effects", "errors", "usual", "marks", "telling", "without", "borne_out")


def save(meaning: Meanings, folder: Path) -> Mapping[str, Any]:
    """Writes the tables, and gives the words."""
    tensors = {name: getattr(meaning, name) for name in ARRAYS} | {"counts": meaning.counts.astype(np.uint8)}
    tensors |= {f"activity.{k}": getattr(meaning.activity, k) for k in ("floor", "step", "width")}
    tensors |= {f"probe.{k}": getattr(meaning.probe, k) for k in ("weights", "mean", "share")}
    tensors |= tensors_of(meaning.atlas)
    files.write(folder / FILE, serialised({name: np.ascontiguousarray(value) for name, value in tensors.items()}))
    return {
        "file": FILE,
        "layer": meaning.layer,
        "fingerprint": meaning.fingerprint,
        "method": meaning.method,
        "attributes": [[one.adjective, one.noun] for one in meaning.attributes],
        "classes": list(meaning.classes),
        "least": meaning.least if np.isfinite(meaning.least) else None,
        "places": words_of(meaning.atlas),
        "card": dict(meaning.card),
    }


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> Meanings:
    """Reads what the filters of this classifier mean.

    Raises:
        InputError: the file is missing or is not one of attributes.
        UsageError: it belongs to another classifier.
    """
    file = folder / str(row.get("file", FILE))
    meaning = files.read_as(file, "attributes", lambda: _read(load_file(file), row))
    check_fits(meaning, clf)
    return meaning


def _read(tensors: Mapping[str, Reals], row: Mapping[str, Any]) -> Meanings:
    words = tuple(Attribute(noun, adjective) for adjective, noun in row["attributes"])
    meaning = Meanings(
        layer=str(row["layer"]), fingerprint=str(row["fingerprint"]), attributes=words,
        classes=tuple(row["classes"]), method=str(row["method"]),
        activity=Activity(*(tensors[f"activity.{k}"] for k in ("floor", "step", "width"))),
        probe=Probe(*(tensors[f"probe.{k}"] for k in ("weights", "mean", "share"))),
        counts=tensors["counts"].astype(bool), least=float("inf") if row["least"] is None else float(row["least"]),
        atlas=atlas_of(tensors, row["places"]), card=dict(row["card"]), **{name: tensors[name] for name in ARRAYS},
    )  # fmt: skip
    if meaning.posterior.shape[1] != len(words) or meaning.effects.shape != (len(meaning.classes), len(words)):
        raise ValueError("the tables are not of these attributes and classes")
    return meaning


# --------------------------------------------------------------------------------------------------
# One picture.


@dataclass(frozen=True, eq=False)
class AttributesFound:
    """What may speak for and against the target, checked; p(t | x, c) (L,) of filters for and against it, and by how
    much more each attribute does for the target than for what it is compared with (L,)."""

    meaning: Meanings
    checked: tuple[Checked, ...]
    pdf: tuple[Reals, Reals]
    ahead: Reals | None


def find(meaning: Meanings | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> AttributesFound | None:
    """What filters say of the picture, each attribute checked; nothing where no meaning was learned."""
    if meaning is None:
        return None
    asked.tell("looking for attributes, and checking them")
    layers = dict.fromkeys((*(meaning.atlas.layers if meaning.atlas else ()), meaning.layer))
    tap = seen.tap if layers.keys() <= seen.tap.points.keys() else seen.tap.clf.tap(seen.tap.images, list(layers))
    pooled = tap.maps(meaning.layer)[0].mean(dim=(1, 2)).cpu().double().numpy()
    lifted = meaning.activity.lifted(pooled)
    weights = gradient(tap, seen.target, meaning.layer)
    fors, against = reasons(meaning, _presence(meaning, lifted, seen), weights @ meaning.loadings, seen.target)
    some = [*fors[:QUICK], *against[:0]] if asked.fast else [*fors, *against]
    with torch.inference_mode(False):
        checked = tuple(check(meaning, seen, tap, some, asked.seed))
    ahead = None
    if seen.versus is not None:
        ahead = (weights - gradient(tap, seen.versus, meaning.layer)) @ meaning.loadings
    return AttributesFound(meaning, checked, image_pdf(meaning.posterior, lifted, weights), ahead)


def _presence(meaning: Meanings, lifted: Reals, seen: Seen) -> Reals:
    """How likely each attribute (L,) is in the picture, by its filters and the class that it is given."""
    return np.asarray(meaning.probe(lifted[None], np.array([int(seen.probabilities.argmax())]))[0])


def confirm(found: AttributesFound, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """The record: what is used, in the field of its own; beside it what is there and not used, and how to tell the
    target from what it is compared with."""
    ids = iter(range(1, len(found.checked) + 1))
    rows = [(f"a{next(ids)}", one) for one in sorted(found.checked, key=lambda c: -abs(c.reason.evidence))]
    used = [(id, one) for id, one in rows if one.used]
    record = {
        "method": found.meaning.method,
        "layer": found.meaning.layer,
        "of": len(found.meaning),
        "sure_enough": bool(np.isfinite(found.meaning.least)),
        "attributes": [_row(found, seen, id, one) for id, one in rows],
        "told_apart": _told_apart(found.meaning, seen),
    }
    fields = {"attributes": tuple(_attribute(found, seen, id, one) for id, one in used)}
    made = (f"attributes:{found.meaning.method}",)
    return Confirmed(skipped=len(rows) - len(used), fields=fields, record=record, made=made)


def _attribute(found: AttributesFound, seen: Seen, id: str, one: Checked) -> AttributeRecord:
    return AttributeRecord(
        id=id, name=str(found.meaning.attributes[one.reason.attribute]), level=one.reason.level,
        class_index=seen.target, probability=one.reason.presence, sign=1 if one.reason.effect > 0 else -1,
        box=_box(seen, one), effect=one.hidden.effect(),
    )  # fmt: skip


def _box(seen: Seen, one: Checked) -> tuple[int, int, int, int] | None:
    mask = seen.on_photo(one.region)
    return mask_box(mask) if mask.any() else None


def _row(found: AttributesFound, seen: Seen, id: str, one: Checked) -> dict[str, Any]:
    mask, j = seen.on_photo(one.region), one.reason.attribute
    word = found.meaning.attributes[j]
    return {
        "id": id,
        "adjective": word.adjective,
        "noun": word.noun,
        "level": one.reason.level,
        "basis": one.reason.basis,
        "located": one.by,
        "used": one.used,
        "presence": one.reason.presence,
        "borne_out": borne_out(found.meaning.borne_out, one.reason.presence),
        "effect": one.reason.effect,
        "effect_error": float(found.meaning.errors[seen.target, j]) if one.reason.basis == "effect" else None,
        "ahead": None if found.ahead is None else float(found.ahead[j]),
        "for": float(found.pdf[0][j]),
        "against": float(found.pdf[1][j]),
        "place": place_word(mask) if mask.any() else None,
        "box": _box(seen, one),
        "unit": one.hidden.unit,
        "hidden": one.hidden.value,
        "elsewhere": one.elsewhere,
        "filters": list(one.filters),
        "silenced": one.silenced,
        "others": one.others,
    }


def _told_apart(meaning: Meanings, seen: Seen) -> dict[str, Any] | None:
    """How to tell the target from what it is compared with, by what counts for either in many pictures."""
    if seen.versus is None:
        return None
    both = contrast(meaning, seen.target, seen.versus)
    names = {"shared": both.shared, "target": both.first, "versus": both.second}
    return {
        name: [[meaning.attributes[j].adjective, meaning.attributes[j].noun] for j in rows]
        for name, rows in names.items()
    }


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
