"""Trains a head by what its map shows and hides, at areas that are the same for every map.

L-CAM asks that the class is still seen through the mask, and that the mask is small. What a head then learns is mostly
how large a mask pays. Here a map is first brought to ranks (every map then has the same values, so area is no longer a
choice) and cut at a drawn share: the top of it shown alone should keep the class, and the picture without it lose it.
Only the order of places is left to learn, which is what a map is for.

n photos, maps L (n, h, w), ranks (n, h, w) in (0, 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from saywhy.classifier import DEFAULT_BATCH, Classifier
from saywhy.intervene import Masked, masked_answers
from saywhy.lcam.crops import Crop
from saywhy.lcam.refine import Mixer
from saywhy.train.loop import Step

SHOWN = (0.5, 0.2, 0.15, 0.1)  # shares of the picture that are shown alone
HIDDEN = (0.05, 0.1, 0.2, 0.35)
SOFT, EDGE = 0.2, 0.03  # of ranks, in standard deviations of the map; of the cut, in ranks
LOGARITHM, LEAST = 0.1, -6.0  # how much log p counts beside p (it still pulls where p is nearly 0), and its floor


def soft_ranks(L: Tensor) -> Tensor:
    """The share of a map's cells (n, h, w) that each cell exceeds; smooth, so that gradients pass."""
    cells = L.flatten(1)
    unit = SOFT * cells.std(dim=1, keepdim=True).clamp_min(1e-6)
    ranks: Tensor = ((cells[:, :, None] - cells[:, None, :]) / unit[..., None]).sigmoid().mean(dim=2)
    return ranks.reshape(L.shape)


def top(ranks: Tensor, share: Tensor) -> Tensor:
    """Masks (n, h, w) of the highest cells, `share` (n,) of them, with soft edges."""
    return ((ranks - (1 - share[:, None, None])) / EDGE).sigmoid()


def equal_area_step(clf: Classifier, mixer: Mixer) -> Step:
    """Photos with their basis maps -> the share of p(y) that is lost when only the map's top is shown, and the share
    that is left when it is hidden. In training shares are drawn; else each photo has a fixed one."""

    def step(batch: Crop) -> dict[str, Tensor]:
        images, basis, n = clf.at_home(batch.images), batch.basis, len(batch.images)
        if mixer.training and torch.rand(()) < 0.5:
            images, basis = images.flip(3), basis.flip(3)
        ranks = soft_ranks(mixer.steadied(basis))
        shown = top(ranks, _shares(SHOWN, n, mixer.training).to(ranks))
        # Half of the photos fade with the rank, as the metrics show them; the others are cut.
        fading = torch.arange(n, device=ranks.device) % 2 == 0
        shown = torch.where(fading[:, None, None], shown * ranks, shown)
        left = 1 - top(ranks, _shares(HIDDEN, n, mixer.training).to(ranks))
        alone, without = (_log_probability(clf, images, keep, batch.predicted) for keep in (shown, left))
        kept, missed = (((log - batch.whole).exp().clamp_max(1)).mean() for log in (alone, without))
        faint = LOGARITHM * alone.clamp_min(LEAST).mean()
        return {"loss": 1 - kept + missed - faint, "lost": 1 - kept, "left": missed}

    return step


def _shares(choices: tuple[float, ...], count: int, drawn: bool) -> Tensor:
    which = torch.randint(len(choices), (count,)) if drawn else torch.arange(count) // 2 % len(choices)
    return torch.tensor(choices)[which]


def _log_probability(clf: Classifier, images: Tensor, keep: Tensor, classes: Tensor) -> Tensor:
    """log p (n,) of the classes for images seen through masks (n, h, w); memory is one part's, not the batch's."""
    size = clf.batch_size or DEFAULT_BATCH
    again = len(images) > size and keep.requires_grad

    def make(start: int, stop: int) -> Tensor:
        return F.interpolate(keep[start:stop, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]

    def ask(pictures: Tensor) -> Tensor:
        return recomputed(clf.forward, pictures, use_reentrant=False) if again else clf.forward(pictures)

    everyone = torch.arange(len(images), device=images.device)
    scores = masked_answers([Masked(images, len(images), make, owners=everyone)], ask, size=size)
    return scores.float().log_softmax(dim=1).gather(1, classes[:, None])[:, 0]
