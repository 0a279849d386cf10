"""The last linear layer of a network, and what it is given.

N images, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saywhy.classifier import Classifier
from saywhy.errors import UsageError
from saywhy.improve.lessons import Frames, Ints
from saywhy.probe import pictures

ALIKE = 1e-4


def last_layer(clf: Classifier) -> nn.Linear:
    """The `nn.Linear` whose output the scores are.

    Raises:
        UsageError: a black box, or a network that ends otherwise.
    """
    if not isinstance(clf.net, nn.Module):
        raise UsageError("a black box has no weights that could be changed")
    images = pictures(clf.preprocess.size, clf.preprocess.planes)
    with _given(clf.net) as seen:
        scores = clf.logits(images).float()
    for layer, (rows, out) in reversed(seen.items()):
        if (
            rows.dim() == 2
            and out.shape == scores.shape
            and torch.allclose(out.float(), scores, atol=ALIKE, rtol=ALIKE)
        ):
            return layer
    raise UsageError(
        "the scores of this network are not what one nn.Linear gives, so its last layer cannot be fitted again or "
        "projected: use --how augment or penalise"
    )


def features(clf: Classifier, layer: nn.Linear, frames: Frames, rows: Ints) -> Tensor:
    """What the last layer is given of pictures (N, D)."""
    return given_of(clf, layer, (images for _, images in frames.batches(rows)))


def given_of(clf: Classifier, layer: nn.Linear, batches: Iterable[Tensor]) -> Tensor:
    """What the last layer is given (N, D) of batches of images (n, 3, H, W)."""
    assert isinstance(clf.net, nn.Module)
    found = []
    with _given(clf.net) as seen:
        for images in batches:
            clf.logits(images)
            found.append(seen[layer][0].float().cpu())
    return torch.cat(found)


@contextmanager
def _given(net: nn.Module) -> Iterator[dict[nn.Linear, tuple[Tensor, Tensor]]]:
    """What each linear layer was given, and gave, in the last pass; in the order of the passes."""
    seen: dict[nn.Linear, tuple[Tensor, Tensor]] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        seen.pop(layer, None)
        seen[layer] = (inputs[0].detach().clone(), out.detach().clone())

    handles = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, nn.Linear)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
