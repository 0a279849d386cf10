"""An explainer on disk: a folder with what has been fitted to one classifier.

explainer.json     which classifier it belongs to, and what is in the folder
lcam.safetensors   an L-CAM head (the card is in its header, and in explainer.json to be read)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.classifier import Classifier
from saywhy.errors import InputError, UsageError
from saywhy.saliency.lcam import LCam
from saywhy.saliency.lcam import load as load_lcam

FORMAT = 1
LISTING, LCAM = "explainer.json", "lcam.safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """The fitted parts of an explainer; a part that was not fitted is None."""

    lcam: LCam | None = None

    @property
    def method(self) -> str | None:
        """The saliency method that its parts serve; None leaves the choice as it is without them."""
        return None if self.lcam is None else "l-cam"

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Options of saliency methods, `{"l-cam": {"head": ...}}`."""
        return {} if self.lcam is None else {"l-cam": {"head": self.lcam}}

    def save(self, folder: str | Path) -> Path:
        """Writes the folder; the listing comes last, so that a folder with one is whole.

        Raises:
            InputError: it cannot be written.
        """
        folder = Path(folder)
        listing: dict[str, Any] = {"format": FORMAT, "parts": {}}
        if self.lcam is not None:
            self.lcam.save(folder / LCAM)
            listing["fingerprint"] = self.lcam.fingerprint
            listing["parts"]["lcam"] = {"file": LCAM, "card": self.lcam.card}
        files.write(folder / LISTING, json.dumps(listing, indent=1, ensure_ascii=False) + "\n")
        return folder


PARTS: dict[str, Callable[[Path, Classifier], Any]] = {"lcam": load_lcam}


def load(folder: str | Path, clf: Classifier) -> Bundle:
    """Reads an explainer that was fitted to this classifier.

    Raises:
        InputError: no explainer there, or one that cannot be read.
        UsageError: it belongs to another classifier, or a newer saywhy wrote it.
    """
    folder = Path(folder)
    file = folder / LISTING
    if not file.is_file():
        raise InputError(f"{folder}: no explainer there (no {LISTING}); fit one: saywhy fit IMAGES -o {folder}")
    try:
        listing = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: folder / row["file"] for name, row in listing["parts"].items()}
        version = int(listing["format"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise InputError(f"{file}: cannot be read ({type(e).__name__}: {e})") from e
    strange = [name for name in parts if name not in PARTS]
    if version > FORMAT or strange:
        raise UsageError(f"{file}: written by a newer saywhy (format {version}, parts {', '.join(strange) or 'known'})")
    return Bundle(**{name: PARTS[name](path, clf) for name, path in parts.items()})
