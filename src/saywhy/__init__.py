"""saywhy: explains the decisions of image classifiers, and checks every sentence before it says it.

Names are loaded when they are first asked for, so that a renderer or the command line's help costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saywhy.classifier import Classifier
    from saywhy.errors import ExtraMissing, InputError, ModelError, SaywhyError, UsageError
    from saywhy.explainer import explain
    from saywhy.explanation import Explanation
    from saywhy.image import Preprocess, read
    from saywhy.metrics import METRICS
    from saywhy.render import RENDERERS
    from saywhy.saliency import METHODS, saliency
    from saywhy.targets import RegionScores, region_target
    from saywhy.zoo import load_classifier

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "METRICS",
    "RENDERERS",
    "Classifier",
    "Explanation",
    "ExtraMissing",
    "InputError",
    "ModelError",
    "Preprocess",
    "RegionScores",
    "SaywhyError",
    "UsageError",
    "__version__",
    "explain",
    "load_classifier",
    "read",
    "region_target",
    "saliency",
]

_HOME = {
    "METHODS": "saywhy.saliency",
    "METRICS": "saywhy.metrics",
    "RENDERERS": "saywhy.render",
    "Classifier": "saywhy.classifier",
    "Explanation": "saywhy.explanation",
    "ExtraMissing": "saywhy.errors",
    "InputError": "saywhy.errors",
    "ModelError": "saywhy.errors",
    "Preprocess": "saywhy.image",
    "SaywhyError": "saywhy.errors",
    "UsageError": "saywhy.errors",
    "explain": "saywhy.explainer",
    "load_classifier": "saywhy.zoo",
    "read": "saywhy.image",
    "RegionScores": "saywhy.targets",
    "region_target": "saywhy.targets",
}


def __getattr__(name: str) -> object:
    if name == "saliency":
        # A folder of modules and a function share this name: the module itself can be called (see its last lines).
        return import_module("saywhy.saliency")
    if name not in _HOME:
        raise AttributeError(f"module 'saywhy' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
