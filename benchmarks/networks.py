"""The networks and photos that are measured on, the same for everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from saywhy import Classifier, load_classifier, read


class Staged(nn.Module):
    """lite0 with its last activations, after the ReLU6, as a module of its own, which the peers need."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.last = net, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.net.extract_features(x))
        return self.net._fc(x.mean(dim=(2, 3)))


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, and the layer that everybody looks at: the one that saywhy chooses."""

    name: str
    clf: Classifier

    @property
    def net(self) -> nn.Module:
        return self.clf.net

    @property
    def layer(self) -> nn.Module:
        return self.clf.point.call.module

    @property
    def reshape(self) -> Callable[[Tensor], Tensor] | None:
        """Tokens (N, T, K) to maps (N, K, h, w), for the peers; None where the layer gives maps."""
        grid, (h, w) = self.clf.point.grid, self.clf.point.size
        if grid.kind != "tokens":
            return None
        return lambda t: t[:, grid.prefix :].transpose(1, 2).reshape(len(t), -1, h, w)

    def normalised(self) -> Callable[[Tensor], Tensor]:
        """Images in [0, 1] as the network takes them, as a user would write it."""
        home, how = self.clf.device, self.clf.preprocess
        mean, std = (torch.tensor(v, device=home)[:, None, None] for v in (how.mean, how.std))
        form = torch.channels_last if self.clf.channels_last else torch.contiguous_format
        return lambda images: (images.to(home) - mean).div_(std).contiguous(memory_format=form)


def lite0() -> Classifier:
    """EfficientNet-lite0 with its ImageNet weights; they ask for gradients, without which the peers fail."""
    clf = load_classifier("efficientnet-lite0")
    net = Staged(clf.net).eval().requires_grad_(True)
    return Classifier(net, "last", clf.classes, clf.preprocess, name=clf.name, channels_last=clf.channels_last)


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "efficientnet-lite0": lite0,
    "resnet50": lambda: load_classifier("timm:resnet50", weights="random"),
    "vit_small_patch16_224": lambda: load_classifier("timm:vit_small_patch16_224", weights="random"),
}


def subject(name: str, device: str = "cpu") -> Subject:
    """A network of its own, so that no peer's hooks are in another's way."""
    clf = NETWORKS[name]()
    return Subject(name, clf if device == "cpu" else load_classifier(clf, device=device))


def sample_photos() -> dict[str, np.ndarray]:
    """Photos that come with scikit-image and scikit-learn."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    names = ("chelsea", "coffee", "rocket", "astronaut")
    own = {name: getattr(data, name)() for name in names}
    return {**own, "china": load_sample_image("china.jpg"), "flower": load_sample_image("flower.jpg")}


def photos(folder: Path | None, count: int = 12) -> list[tuple[str, np.ndarray | Path]]:
    """The sample photos, and `count` of a folder's JPEGs, evenly spread over their names."""
    found = sorted(folder.rglob("*.jp*g")) if folder else []
    step = max(1, len(found) // count)
    return [*sample_photos().items(), *((p.name, p) for p in found[::step][:count])]


def batch(clf: Classifier, count: int) -> Tensor:
    """`count` photos (count, 3, 224, 224) in [0, 1], the sample photos in turn."""
    images = clf.prepare([read(p) for p in sample_photos().values()])[0]
    return images[torch.arange(count) % len(images)].contiguous()
