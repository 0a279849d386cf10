"""Compares explanation methods: methods times metrics over pictures, and the benchmark of the aviary.

found = evaluate(clf, find_images("photos"), ["grad-cam", "rise"], ["ad50", "deletion"], perturbation_limit=60)
print(found.table("markdown"))
evaluate_aviary(load_classifier("aviary:cnn"), ["grad-cam", "game-regions"])
evaluate_sentences(load_classifier("aviary:cnn"), limit=40)
"""

from saywhy.evaluate.aviary_benchmark import BIRD_COLUMNS, PICTURES, evaluate_aviary
from saywhy.evaluate.batches import Conventions
from saywhy.evaluate.derived import DERIVED, Derived
from saywhy.evaluate.presets import AVIARY_PRESETS, PRESETS, WORDS, Preset, preset
from saywhy.evaluate.result import Cell, Column, Evaluation, Row
from saywhy.evaluate.runner import evaluate
from saywhy.evaluate.sentence_table import SENTENCE_COLUMNS, evaluate_sentences

__all__ = [
    "AVIARY_PRESETS",
    "BIRD_COLUMNS",
    "DERIVED",
    "PICTURES",
    "PRESETS",
    "SENTENCE_COLUMNS",
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
    "evaluate_sentences",
    "preset",
]
