"""An explainer on disk: a folder with the parts that were fitted to one classifier.

explainer.json     the format, the classifier it belongs to, and for each part its files and the card that says how it
                   was made; it is written last, so that a folder that has it is whole
everything else    the parts' own files
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.classifier import Classifier
from saywhy.errors import InputError, UsageError
from saywhy.locking import seeded
from saywhy.parts import PARTS

FORMAT = 1
LISTING = "explainer.json"


@dataclass(frozen=True)
class Listing:
    """What explainer.json says: the classifier's fingerprint and name, and a row of JSON for each part."""

    folder: Path
    fingerprint: str | None
    classifier: str | None
    parts: Mapping[str, Mapping[str, Any]]


def write(folder: Path, clf: Classifier, parts: Mapping[str, Any]) -> Path:
    """Writes the fitted parts of a classifier; whole or not at all.

    Raises:
        InputError: the folder cannot be written; what was there is there still.
        UsageError: a part has nothing to save, or what it saves cannot stand beside the others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder, prefix=".draft."))
        try:
            _write(draft, clf, parts)
            # From here on there is no explainer in the folder until its listing is: never one part of an old one
            # beside one of the new.
            (folder / LISTING).unlink(missing_ok=True)
            for file in sorted(draft.iterdir(), key=lambda f: f.name == LISTING):
                if (folder / file.name).is_dir():
                    shutil.rmtree(folder / file.name)
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as e:
        raise InputError(f"{folder}: cannot be written ({e.strerror or e})") from e
    return folder


def _write(draft: Path, clf: Classifier, parts: Mapping[str, Any]) -> None:
    rows = {}
    for name, part in parts.items():
        save = PARTS[name].face().save
        if save is None:
            raise UsageError(f"the part {name} has nothing to save")
        own = Path(tempfile.mkdtemp(dir=draft))
        rows[name] = _as_json(name, save(part, own))
        for file in own.iterdir():
            if file.name == LISTING or (draft / file.name).exists():
                raise UsageError(f"the part {name} saves a file {file.name}, a name that is taken: call it {name}.*")
            file.rename(draft / file.name)
        own.rmdir()
    listing = {"format": FORMAT, "parts": rows, "fingerprint": clf.fingerprint, "classifier": clf.name}
    files.write(draft / LISTING, json.dumps(listing, indent=1, ensure_ascii=False) + "\n")


def _as_json(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        read_back: dict[str, Any] = json.loads(json.dumps(dict(row)))
    except (TypeError, ValueError) as e:
        raise UsageError(f"what the part {name} tells the listing is not an object of JSON: {e}") from e
    return read_back


def listing(folder: Path) -> Listing:
    """What is in the folder of an explainer.

    Raises:
        InputError: no explainer there, or its listing cannot be read.
        UsageError: a newer saywhy wrote it.
    """
    file = folder / LISTING
    if not file.is_file():
        raise InputError(f"{folder}: no explainer there (no {LISTING}); fit one: saywhy fit IMAGES -o {folder}")
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: dict(row) for name, row in told["parts"].items()}
        version, fingerprint = int(told["format"]), told.get("fingerprint")
        named = [told.get("classifier"), *(r.get("card", {}).get("classifier", {}).get("name") for r in parts.values())]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise InputError(f"{file}: cannot be read ({type(e).__name__}: {e})") from e
    strange = [name for name in parts if name not in PARTS]
    if version > FORMAT or strange:
        raise UsageError(f"{file}: written by a newer saywhy (format {version}, parts {', '.join(strange) or 'known'})")
    return Listing(folder, fingerprint, next(filter(None, named), None), parts)


def read(found: Listing, clf: Classifier) -> dict[str, Any]:
    """The fitted parts that a listing names.

    Raises:
        InputError: a part's file cannot be read.
        UsageError: the explainer belongs to another classifier.
    """
    if found.fingerprint is not None and found.fingerprint != clf.fingerprint:
        raise UsageError(
            f"{found.folder}: this explainer was fitted to the classifier {found.fingerprint}, not to "
            f"{clf.name or 'this one'} ({clf.fingerprint}); it would mean nothing here. Fit one: saywhy fit IMAGES"
        )
    parts = {}
    for name, row in found.parts.items():
        load = PARTS[name].face().load
        if load is None:
            raise UsageError(f"{found.folder}: the part {name} cannot be loaded")
        with seeded(0):  # a network that is made, to be given its weights, draws some first
            parts[name] = load(found.folder, row, clf)
    return parts
