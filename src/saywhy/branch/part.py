"""The part `branch`: phrases of a text space, found in the activations of one classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised

from saywhy import files
from saywhy.branch.imitation import Imitator
from saywhy.branch.learning import Branch, teach
from saywhy.branch.levels import Level
from saywhy.branch.speaking import Speech, speak, told
from saywhy.classifier import Classifier
from saywhy.collection import Item
from saywhy.errors import UsageError
from saywhy.language import Confirming
from saywhy.parts import Confirmed, Face, Fitting, Made, Request
from saywhy.seen import Seen
from saywhy.spaces import text_space
from saywhy.train.checkpoint import unfinished

FILE = "branch.safetensors"
TOLD = ("space", "space_fingerprint", "scale", "bias", "own_features", "phrases", "fingerprint")  # of a branch, as JSON


def fit(clf: Classifier, items: Sequence[Item], how: Fitting) -> Made:
    """Teaches a branch what the text space says, in the way that the preset names."""
    space = text_space(how.space, clf)
    branch, failures = teach(
        clf, items, space, how.phrases or space.phrases, how.preset,
        checkpoint=how.checkpoint, seed=how.seed, tell=how.tell,
    )  # fmt: skip
    return Made(branch, _summary(branch), failures, leftovers=unfinished(how.checkpoint))


def _summary(branch: Branch) -> str:
    card = branch.card
    held = f"{card['held_out_views']} held-out views" if card["held_out_views"] else "the views it learned from"
    own = ", which is made of the classifier's own features," if branch.own_features else ""
    return (
        f"a branch that imitates the text space {branch.space}{own} (it speaks of {card['speaks_of']}): cosine "
        f"{card['cosine']:.2f} on {held}, where the mean alone has {card['cosine_of_the_mean']:.2f}; "
        f"{len(branch.phrases)} phrases from {card['pictures']} pictures"
    )


def save(branch: Branch, folder: Path) -> Mapping[str, Any]:
    """Writes the weights, the phrases' vectors and some cells of each layer."""
    tensors = {f"net.{name}": value for name, value in branch.net.state_dict().items()}
    tensors |= {f"cells.{n}": level.cells for n, level in enumerate(branch.levels)}
    tensors |= {"texts": branch.texts, "shares": branch.shares}
    files.write(folder / FILE, serialised({name: value.contiguous() for name, value in tensors.items()}))
    layers = [{"path": level.path, "tokens": level.tokens} for level in branch.levels]
    return {"file": FILE, "layers": layers, "card": dict(branch.card)} | {k: getattr(branch, k) for k in TOLD}


def load(folder: Path, row: Mapping[str, Any], clf: Classifier) -> Branch:
    """Reads a branch of this classifier.

    Raises:
        InputError: the file is missing or is not one of a branch.
        UsageError: it belongs to another classifier.
    """
    file = folder / str(row.get("file", FILE))
    branch = files.read_as(file, "a branch", lambda: _read(load_file(file), row))
    if branch.fingerprint != clf.fingerprint:
        raise UsageError(
            f"{file}: this branch shares the layers of the classifier {branch.fingerprint}, not of {clf.fingerprint}; "
            "teach one of its own: saywhy fit IMAGES --parts branch"
        )
    return branch


def _read(tensors: dict[str, torch.Tensor], row: Mapping[str, Any]) -> Branch:
    state = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
    hidden = (len(state["first.bias"]), len(state["second.bias"]))
    net = Imitator(len(state["mean"]), len(state["last.bias"]), hidden)
    net.load_state_dict(state)
    levels = tuple(
        Level(str(one["path"]), bool(one["tokens"]), tensors[f"cells.{n}"]) for n, one in enumerate(row["layers"])
    )
    told = {name: row[name] for name in TOLD} | {"phrases": tuple(row["phrases"])}
    branch = Branch(
        net=net.eval().requires_grad_(False), levels=levels, texts=tensors["texts"], shares=tensors["shares"],
        card=dict(row["card"]), **told,
    )  # fmt: skip
    if sum(level.width for level in levels) != len(state["mean"]) or len(branch.texts) != len(branch.phrases):
        raise ValueError("layers or phrases do not fit the weights")
    return branch


def find(branch: Branch | None, seen: Seen, earlier: Mapping[str, Any], asked: Request) -> Speech | None:
    """What the branch says of the picture.

    Raises:
        UsageError: phrases are asked for and no branch was taught, or its text space does not know them.
    """
    if branch is None:
        if asked.phrases:
            raise UsageError(
                "phrases are looked for by a branch of the classifier: saywhy fit IMAGES --parts branch -o DIR, then "
                "--explainer DIR"
            )
        return None
    asked.tell("looking for phrases")
    with torch.inference_mode(False), torch.no_grad():
        return speak(branch, seen, asked.phrases, asked.seed)


def confirm(found: Speech, seen: Seen, runs: tuple[Confirming, ...]) -> Confirmed:
    """The record: a row for each phrase, and whose words they are."""
    branch = found.branch
    record = {
        "space": branch.space,
        "own_features": branch.own_features,
        "of": len(branch.phrases),
        "shares": {level.path: float(s) for level, s in zip(branch.levels, branch.shares, strict=True)},
        "phrases": told(found, seen),
    }
    return Confirmed(record=record, made=(f"branch:{branch.space}",))


FACE = Face(fit=fit, save=save, load=load, find=find, confirm=confirm)
