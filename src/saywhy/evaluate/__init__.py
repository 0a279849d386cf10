"""Compares explanation methods: methods times metrics over pictures, and the protocol of the aviary.

found = evaluate(clf, find_images("photos"), ["grad-cam", "rise"], ["ad50", "deletion"], perturbation_limit=60)
print(found.table("markdown"))
"""

from saywhy.evaluate.measure import Conventions, evaluate
from saywhy.evaluate.presets import PRESETS, WORDS, Preset, preset
from saywhy.evaluate.result import Cell, Column, Evaluation, Row

__all__ = [
    "PRESETS",
    "WORDS",
    "Cell",
    "Column",
    "Conventions",
    "Evaluation",
    "Preset",
    "Row",
    "evaluate",
    "preset",
]
