"""Compares explanation methods: methods times metrics over pictures, and the benchmark of the aviary.

found = evaluate(clf, find_images("photos"), ["grad-cam", "rise"], ["ad50", "deletion"], perturbation_limit=60)
print(found.table("markdown"))
evaluate_aviary(load_classifier("aviary:cnn"), ["grad-cam", "game-regions"])
"""

from saywhy.evaluate.aviary_benchmark import BIRD_COLUMNS, PICTURES, evaluate_aviary
from saywhy.evaluate.batches import Conventions
from saywhy.evaluate.derived import DERIVED, Derived
from saywhy.evaluate.presets import PRESETS, WORDS, Preset, preset
from saywhy.evaluate.result import Cell, Column, Evaluation, Row
from saywhy.evaluate.runner import evaluate

__all__ = [
    "BIRD_COLUMNS",
    "DERIVED",
    "PICTURES",
    "PRESETS",
    "WORDS",
    "Cell",
    "Column",
    "Conventions",
    "Derived",
    "Evaluation",
    "Preset",
    "Row",
    "evaluate",
    "evaluate_aviary",
    "preset",
]
