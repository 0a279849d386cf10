"""What the classifier answers to photos with random parts hidden, and a head that learns to foretell it.

As FastSHAP amortises Shapley values and RISE averages masks: a map is good when the sum of it over what stays visible
tells how probable the class will be. Because only the order of places matters to a map, what is maximised is the
correlation within each photo, after what the mere share of hidden pixels and the fill explain is taken out.

N photos, M masks (N, M, g, g) bool, True keeps; y (N,) the predicted classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from saywhy.classifier import DEFAULT_BATCH, Classifier
from saywhy.intervene import Masked, MaskMaker, content_seed, hide, masked_answers
from saywhy.lcam.heads import LCam
from saywhy.lcam.refine import Mixer, Refined, standardised
from saywhy.train.loop import Step

GRID = 14
SHARES = (0.08, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 0.92)  # of the picture that stays
GUIDED = (0.0, 0.6, 1.3)  # how strongly a mask follows CAM, or (every third) avoids it, beside noise
LEAST = -8.0  # log probabilities below this are the same


@dataclass(frozen=True, eq=False)
class Answers:
    """Masks (N, M, g, g), whether hidden is blurred rather than black (N, M), log p(y) (N, M); of the whole photos the
    predicted class y (N,), log p(y) (N,) and the head's basis maps (N, n, h, w)."""

    masks: Tensor
    blurred: Tensor
    answers: Tensor
    predicted: Tensor
    whole: Tensor
    basis: Tensor

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, rows: Tensor) -> Answers:
        return Answers(*(getattr(self, f.name)[rows] for f in fields(self)))


def draw_masks(cam: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Masks (M, g, g) of smooth noise, some following a map (h, w), cut at a random share; blurred (M,) or black."""
    guide = standardised(F.interpolate(cam[None, None].cpu(), (GRID, GRID), mode="bicubic", align_corners=False)[0, 0])
    masks = []
    for i in range(count):
        cells = 5 if torch.rand((), generator=generator) < 0.5 else 8
        coarse = torch.randn(1, 1, cells, cells, generator=generator)
        noise = standardised(F.interpolate(coarse, (GRID, GRID), mode="bicubic", align_corners=False)[0, 0])
        sign = 1 if (i // 3) % 3 < 2 else -1
        field = noise + sign * GUIDED[i % 3] * guide
        share = SHARES[int(torch.randint(len(SHARES), (), generator=generator))]
        kept = max(1, round(share * GRID**2))
        masks.append(field >= field.flatten().topk(kept).values[-1])
    return torch.stack(masks), torch.rand(count, generator=generator) < 0.5


@torch.no_grad()
def ask(
    clf: Classifier,
    lcam: LCam,
    images: Tensor,
    count: int,
    *,
    seed: int = 0,
    scores: Callable[[Tensor], Tensor] | None = None,
) -> Answers:
    """Asks the classifier about `count` masked versions of each image (N, 3, H, W); 1 + count passes an image.

    `scores` may answer in the classifier's place where it is the same function, only faster. The masks of an image
    depend on its pixels and the seed alone.
    """
    assert isinstance(lcam.head, Refined)
    scores = scores or clf.logits
    size = (int(images.shape[2]), int(images.shape[3]))
    rows: list[tuple[Tensor, ...]] = []
    for image in clf.at_home(images):
        tap = clf.tap(image[None], lcam.points(clf))
        y = int(tap.logits.argmax())
        features = [tap.maps(path) for path in lcam.layers]
        basis = lcam.head.basis(features, torch.tensor([[y]], device=tap.logits.device), tap.logits)[0, 0]
        cam = torch.einsum("k,khw->hw", lcam.head.own[y], features[0][0])
        generator = torch.Generator().manual_seed(content_seed(image, seed))
        masks, blurred = (drawn.to(image.device) for drawn in draw_masks(cam, count, generator))
        # Two owners, the same image twice, with the two fills.
        behind = torch.cat([hide(image, image.new_zeros(1, *size), fill) for fill in ("black", "image-blur")])
        asked = Masked(torch.stack([image, image]), count, _scaled(masks, size), behind, owners=blurred.long())
        found = masked_answers([asked], scores, size=DEFAULT_BATCH).log_softmax(dim=1)[:, y]
        whole = tap.logits.log_softmax(dim=1)[0, y]
        rows.append((masks, blurred, found, tap.logits[0].argmax(), whole, basis))
    return Answers(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _scaled(masks: Tensor, size: tuple[int, int]) -> MaskMaker:
    def make(start: int, stop: int) -> Tensor:
        cells = masks[start:stop, None].float()
        return F.interpolate(cells, size, mode="bilinear", align_corners=False)[:, 0]

    return make


def answers_step(mixer: Mixer) -> Step:
    """Answers of n photos -> 1 - the correlation of what the map foretells with what the classifier said, the mean
    over photos of that for the probability and for its logarithm, equally weighted."""

    def step(batch: Answers) -> dict[str, Tensor]:
        basis, masks = batch.basis, batch.masks
        if mixer.training and torch.rand(()) < 0.5:
            basis, masks = basis.flip(3), masks.flip(3)
        alike = correlations(mixer(basis), replace(batch, masks=masks))
        return {"loss": 1 - alike.mean(), "correlation": alike.mean()}

    return step


def correlations(L: Tensor, batch: Answers) -> Tensor:
    """Correlation (N,) of the sum of maps L (N, h, w) over the visible cells with the target, nuisances taken out."""
    kept = F.interpolate(batch.masks.float(), L.shape[1:], mode="area")
    nuisance = _nuisances(kept, batch.blurred)
    foretold = _without(torch.einsum("nmhw,nhw->nm", kept, L), nuisance)
    target = _target(batch.answers, nuisance)
    return F.cosine_similarity(foretold, target, dim=1)


def _nuisances(kept: Tensor, blurred: Tensor) -> Tensor:
    """Orthonormal columns (N, M, 5): one, share, its square, fill, fill times share."""
    share, blur = kept.mean(dim=(2, 3)), blurred.float()
    columns = torch.stack([torch.ones_like(share), share, share**2, blur, blur * share], dim=2)
    basis: Tensor = torch.linalg.qr(columns)[0]
    return basis


def _without(values: Tensor, nuisance: Tensor) -> Tensor:
    explained = torch.einsum("nmk,njk,nj->nm", nuisance, nuisance, values)
    left: Tensor = values - explained
    return left


def _target(answers: Tensor, nuisance: Tensor) -> Tensor:
    probability, logarithm = (
        F.normalize(_without(part, nuisance), dim=1) for part in (answers.exp(), answers.clamp_min(LEAST))
    )
    both: Tensor = probability + logarithm
    return both
