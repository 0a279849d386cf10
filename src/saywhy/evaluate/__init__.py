"""Compares explanation methods: methods times metrics over pictures, and the protocol of the aviary.

found = evaluate(clf, find_images("photos"), ["grad-cam", "rise"], ["ad50", "deletion"], perturbation_limit=60)
print(found.table("markdown"))
evaluate_aviary(load_classifier("aviary:cnn"), ["grad-cam", "game-regions"])
"""

from saywhy.evaluate.asking import Asked, check_limits, conventions, limits_of
from saywhy.evaluate.controls import DERIVED, Derived
from saywhy.evaluate.measure import evaluate
from saywhy.evaluate.pictures import Conventions
from saywhy.evaluate.presets import PRESETS, WORDS, Preset, preset
from saywhy.evaluate.protocol import BIRD_COLUMNS, PICTURES, evaluate_aviary
from saywhy.evaluate.result import Cell, Column, Evaluation, Row

__all__ = [
    "BIRD_COLUMNS",
    "DERIVED",
    "PICTURES",
    "PRESETS",
    "WORDS",
    "Asked",
    "Cell",
    "Column",
    "Conventions",
    "Derived",
    "Evaluation",
    "Preset",
    "Row",
    "check_limits",
    "conventions",
    "evaluate",
    "evaluate_aviary",
    "limits_of",
    "preset",
]
