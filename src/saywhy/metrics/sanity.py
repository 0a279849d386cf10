"""Does the map depend on the model and the class at all? Randomised weights, other classes, noise.

Maps (N, h, w), raw or display: every comparison is a Spearman rank correlation per sample, (N,) float64, NaN
where a map is flat or not finite. What explains comes as a callable, so that any method can be checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.errors import UsageError, unknown
from saywhy.locking import ALONE
from saywhy.metrics.statistics import spearman

Explain = Callable[[Tensor, Tensor], Tensor]  # images (N, 3, H, W), targets (N,) -> maps (N, h, w)


@dataclass(frozen=True)
class Cascade:
    """Rank correlation (S, N) with the intact network's maps after each of S stages, from the top down.

    `stages` names, for each stage, the last module that was randomised; all before it stay random too.
    """

    stages: tuple[str, ...]
    correlations: Tensor

    @property
    def undefined(self) -> int:
        """How many stage-sample pairs have no correlation, as one of the maps was flat."""
        return int(self.correlations.isnan().sum())


def permute(weight: Tensor, generator: torch.Generator) -> Tensor:
    """The same numbers in another order: each layer keeps its scale, what it has learned is gone."""
    shuffle = torch.randperm(weight.numel(), generator=generator).to(weight.device)
    return weight.flatten()[shuffle].reshape(weight.shape)


def normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers of the same mean and deviation as the weight's own."""
    noise = torch.randn(weight.shape, generator=generator).to(weight.device, weight.dtype)
    return weight.mean() + noise * weight.std(correction=0)


REDRAWS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"permute": permute, "normal": normal}


def cascade(
    net: nn.Module,
    explain_with: Callable[[nn.Module], Tensor],
    *,
    stages: int | None = 8,
    redraw: str = "permute",
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> Cascade:
    """Randomises a copy of the network from the top down and compares the maps at each stage.

    The network itself is left as it is. A method whose maps stay alike shows the picture, not the model.

    Args:
        net: the network.
        explain_with: a network like `net` -> maps (N, h, w) of fixed images and fixed target classes (the
            intact network's: a random one would predict others).
        stages: how many comparisons to make, spread evenly over the layers; None makes one per layer.
        redraw: "permute" or "normal".
        layers: names of the modules, top first; by default all that own parameters, in reverse order of
            registration, which for most networks is the order of the forward pass.
        seed: of the redraws.

    Source: Adebayo et al., Sanity checks for saliency maps, arXiv 1810.03292.

    Raises:
        UsageError: no layer with parameters, an unknown layer or redraw, or `stages` below 1.
    """
    if redraw not in REDRAWS:
        raise unknown("redraw", redraw, REDRAWS)
    with ALONE:  # between passes of other threads, not with their stubs and modes
        random = copy.deepcopy(net)
    modules = dict(random.named_modules())
    names = list(layers) if layers is not None else _owners(random)
    missing = [name for name in names if name not in modules]
    if missing:
        raise unknown("layer", missing[0], modules)
    if not names or (stages is not None and stages < 1):
        raise UsageError(f"weight randomisation needs layers with parameters and stages >= 1, got {stages}")
    intact = explain_with(net).detach()
    generator, done = torch.Generator().manual_seed(seed), set[int]()
    stops, rows = _stops(len(names), stages), []
    for number, name in enumerate(names):
        _randomise(modules[name], REDRAWS[redraw], generator, done)
        if number in stops:
            rows.append(spearman(intact, explain_with(random).detach().to(intact.device)))
    return Cascade(tuple(names[number] for number in stops), torch.stack(rows))


def weight_randomisation(
    net: nn.Module,
    explain_with: Callable[[nn.Module], Tensor],
    *,
    redraw: str = "permute",
    seed: int = 0,
) -> Tensor:
    """Spearman (N,) between the maps of the network and of one with all weights random; near 0 is right.

    The last stage of `cascade`, alone.
    """
    return cascade(net, explain_with, stages=1, redraw=redraw, seed=seed).correlations[-1]


def label_randomisation(
    explain: Explain, images: Tensor, targets: Tensor, *, classes: int, draws: int = 1, seed: int = 0
) -> Tensor:
    """Spearman (N,) between the maps of the target and of another class drawn at random; lower is better.

    Class-blind methods score 1. The other class depends on seed, draw and target alone, not on the batch;
    several `draws` are averaged. Source: after Adebayo et al., arXiv 1810.03292.

    Raises:
        UsageError: fewer than two classes, a target out of range, or `draws` below 1.
    """
    if classes < 2 or draws < 1 or (len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes):
        raise UsageError(
            f"label randomisation needs 2 or more classes, targets in 0..{classes - 1} and draws >= 1, "
            f"got {classes} classes, targets {targets.tolist()}, draws {draws}"
        )
    own = explain(images, targets).detach()
    compared = []
    for draw in range(draws):
        jumps = [int(np.random.default_rng((seed, draw, int(t))).integers(1, classes)) for t in targets.tolist()]
        others = (targets + torch.tensor(jumps, dtype=targets.dtype, device=targets.device)) % classes
        compared.append(spearman(own, explain(images, others).detach().to(own.device)))
    return torch.stack(compared).mean(0)


def noise_stability(
    explain: Explain, images: Tensor, targets: Tensor, *, sigma: float = 0.05, draws: int = 4, seed: int = 0
) -> Tensor:
    """Spearman (N,) between the maps of an image and of the image with noise, mean of K draws; higher is better.

    Gaussian noise of deviation `sigma`, the image clipped to [0, 1]; the k-th noise is the same for all images
    of a size. A constant method has no correlation: stability alone proves nothing.
    Source: Alvarez-Melis and Jaakkola, arXiv 1806.08049, with a rank correlation.

    Raises:
        UsageError: `sigma` is not above 0 or `draws` below 1.
    """
    if sigma <= 0 or draws < 1:
        raise UsageError(f"stability needs sigma > 0 and draws >= 1, got {sigma} and {draws}")
    own = explain(images, targets).detach()
    compared = []
    for draw in range(draws):
        field = np.random.default_rng((seed, draw)).standard_normal(tuple(images.shape[1:]), dtype=np.float32)
        noisy = (images + sigma * torch.from_numpy(field).to(images)).clamp(0, 1)
        compared.append(spearman(own, explain(noisy, targets).detach().to(own.device)))
    return torch.stack(compared).mean(0)


def _owners(net: nn.Module) -> list[str]:
    """Modules that own parameters of their own, the last registered first."""
    names = [name for name, part in net.named_modules() if any(True for _ in part.parameters(recurse=False))]
    return names[::-1]


def _stops(layers: int, stages: int | None) -> list[int]:
    """The positions 0..layers-1 at which maps are compared; the last layer is always among them."""
    count = layers if stages is None else min(stages, layers)
    return sorted({round((stage + 1) * layers / count) - 1 for stage in range(count)})


@torch.no_grad()
def _randomise(
    module: nn.Module,
    redraw: Callable[[Tensor, torch.Generator], Tensor],
    generator: torch.Generator,
    done: set[int],
) -> None:
    for weight in module.parameters():
        if id(weight) not in done:  # shared weights are drawn once
            done.add(id(weight))
            weight.copy_(redraw(weight, generator))
