"""Interventions: hide or displace parts of an image, ask the classifier again, and say what that did.

One table of fills (`fills.FILLS`) and one engine (`engine.masked_answers`) serve the perturbation methods, the metrics,
the coalition game, the confirming experiments and the training of heads: masks are made a chunk at a time and never
kept, every pass is counted, and no result depends on the batch size. Inside a `remembering` block nothing that was
asked before is asked again.

N images (N, 3, H, W) in [0, 1]; M masks (M, H, W) in [0, 1], 1 keeps a pixel; k regions (k, H, W); F fills.
"""

from saywhy.intervene.acts import CONFIRMING, Act, Experiment, experiment, seeded
from saywhy.intervene.displace import Move, displaced, displaced_probabilities, fits
from saywhy.intervene.engine import (
    Masked,
    MaskMaker,
    Progress,
    Score,
    in_batches,
    masked_answers,
    masked_probabilities,
    masked_scores,
    plain_probabilities,
)
from saywhy.intervene.fills import (
    FILLS,
    Choice,
    Fill,
    Filler,
    content_seed,
    filler,
    gaussian_blur,
    hide,
    named,
    shifted,
)
from saywhy.intervene.game import Game, interaction_indices, play, shapley_values
from saywhy.intervene.memory import Memory, remembering

__all__ = [
    "CONFIRMING",
    "FILLS",
    "Act",
    "Choice",
    "Experiment",
    "Fill",
    "Filler",
    "Game",
    "MaskMaker",
    "Masked",
    "Memory",
    "Move",
    "Progress",
    "Score",
    "content_seed",
    "displaced",
    "displaced_probabilities",
    "experiment",
    "filler",
    "fits",
    "gaussian_blur",
    "hide",
    "in_batches",
    "interaction_indices",
    "masked_answers",
    "masked_probabilities",
    "masked_scores",
    "named",
    "plain_probabilities",
    "play",
    "remembering",
    "seeded",
    "shapley_values",
    "shifted",
]
