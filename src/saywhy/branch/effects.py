"""What a phrase counts for classes: by its channels, by its component of the activations, and by hiding its region.

T phrases, C classes of which c are asked for; maps (K, h, w) of one layer, masks (T, H, W) of the view. The first is
CE-FAM's contribution; the other two are causes. What the text space sees and the classifier does not use has no cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saywhy.branch.hearing import CHANNELS, Heard
from saywhy.branch.levels import Level
from saywhy.intervene import content_seed, experiment
from saywhy.seen import Seen
from saywhy.tap import Tap

CONTROLS = 19  # random directions: as many as one of twenty is by chance
LEAST = 0.01  # probability: an effect below it is none


@dataclass(frozen=True, eq=False)
class Causes:
    """Of T phrases, for c classes: `channels` (T, c) is the mean share of the probability that goes when the leading
    1, 2, ... channels have their usual mean; `removed` (T, c) the probability that goes with the phrase's component,
    `control` (T, CONTROLS, c) what goes in random directions instead; `hidden` (T, F, c) the probability that goes with
    its region, in F ways. Negative: it rises. `present` (T,): whether it is in the picture at all."""

    channels: Tensor
    removed: Tensor
    control: Tensor
    hidden: Tensor
    present: Tensor

    @property
    def counts(self) -> Tensor:
        """Whether each phrase counts for each class (T, c): it is there, its region is missed (or in the way) in every
        way, and its component too, more than as much in any random direction."""
        side = self.removed.sign()
        region = self.hidden * side[:, None]
        own, chance = self.removed.abs(), self.control.abs().amax(dim=1)
        caused = (region > 0).all(dim=1) & (region.mean(dim=1) >= LEAST) & (own >= LEAST) & (own > chance)
        return caused & self.present[:, None]

    @property
    def contributions(self) -> Tensor:
        """What each phrase contributes to each class (T, c): what hiding its region takes away, zero if it does not
        count."""
        return torch.where(self.counts, self.hidden.mean(dim=1), 0.0)


def effects(
    tap: Tap,
    seen: Seen,
    heard: Heard,
    layers: Sequence[int],
    own: int,
    masks: Tensor,
    classes: Sequence[int],
    seed: int,
) -> Causes:
    """Measures them for the phrases that are heard: channels go in the layer of each phrase, its component in the layer
    `own`, that regions are mostly made of. F passes a phrase, and 40 tail passes."""
    asked, seed_ = list(classes), content_seed(seen.image, seed)
    whole = seen.probabilities[asked]
    channels, component = [], []
    for t, layer in enumerate(layers):
        channels.append(whole - answers(tap, heard.levels[layer], without_channels(heard, t, layer))[:, asked])
        component.append(whole - answers(tap, heard.levels[own], without_component(heard, t, own, seed_))[:, asked])
    taken = torch.stack(component)  # (T, 1 + CONTROLS, c)
    trials = experiment(tap.clf, seen.image, masks, [("hide", (t,)) for t in range(len(masks))], seed=seed)
    hidden = torch.stack([trial.probabilities for trial in trials]).reshape(len(masks), -1, len(seen.probabilities))
    return Causes(
        channels=torch.stack(channels).mean(dim=1) / whole.clamp_min(1e-12),
        removed=taken[:, 0],
        control=taken[:, 1:],
        hidden=whole - hidden[:, :, asked],
        present=heard.odds > 0,
    )


def without_channels(heard: Heard, t: int, layer: int) -> Tensor:
    """What is read of a layer (m, K, h, w) when the first 1, 2, ... channels of a phrase have their usual mean."""
    level, read, leading = heard.levels[layer], heard.read[layer], heard.leading(layer)[t]
    out = read.repeat(len(leading), 1, 1, 1)
    for k, channel in enumerate(leading.tolist()):
        out[k:, channel] = level.mean[channel]
    # A layer of fewer channels is as good as empty from some number on.
    return torch.cat([out, out[-1:].repeat(CHANNELS - len(leading), 1, 1, 1)])


def without_component(heard: Heard, t: int, layer: int, seed: int) -> Tensor:
    """What is read of a layer (1 + CONTROLS, K, h, w) without the phrase, then without as much of something else.

    The least change, in the layer's own spread, after which no cell speaks more for the phrase than usual: region times
    a direction (Belrose et al. 2023, for one line). As much is as many standard deviations, along random directions in
    which the layer varies and that say nothing of the phrase.
    """
    level, read = heard.levels[layer], heard.read[layer]
    slope, region = heard.weights[layer][t], heard.regions[layer][t]
    spread = level.spread(slope[None])[0]
    variance = (slope @ spread).clamp_min(1e-12)
    own = spread / variance
    n, K = level.cells.shape
    drawn = torch.randn(CONTROLS, n, generator=torch.Generator().manual_seed(seed)) / (n * K * variance) ** 0.5
    other = drawn @ (level.cells - level.mean)
    other = other - (other @ slope)[:, None] * own
    directions = torch.cat([own[None], other])
    return read - directions[:, :, None, None] * region


def answers(tap: Tap, level: Level, changed: Tensor) -> Tensor:
    """Probabilities (M, C), in double precision, where a layer of the one image reads as `changed` (M, K, h, w); M tail
    passes."""
    maps = level.unread(changed, tap.maps(level.path).cpu())
    scores = [
        tap.replay(some.to(tap.logits), level.path, torch.zeros(len(some), dtype=torch.long)).detach()
        for some in torch.split(maps, tap.clf.rows)
    ]
    return tap.clf.fine_probabilities(torch.cat(scores))
