"""Several saliency methods on one photo, each with its price and how well its map holds what the model needs."""

from pathlib import Path

import skimage
import torch

import saywhy
from saywhy.metrics import CONTROLS

clf = saywhy.load_classifier()
images, _ = clf.prepare([saywhy.read(Path(skimage.__file__).parent / "data" / "rocket.jpg")])
metric = saywhy.METRICS["insertion-deletion"]


def score(maps: torch.Tensor) -> float:
    """Insertion minus deletion of display maps (1, H, W): higher is better."""
    given = {
        "probabilities": clf.probabilities,
        "images": images,
        "maps": maps,
        "targets": clf.logits(images).argmax(1),
    }
    return float(metric.function(**given, steps=8)[0])


for name in ("grad-cam", "layer-cam", "hires-cam"):
    maps = saywhy.saliency(clf, images, method=name)
    print(f"{name:12} {score(maps.display):+.3f}   {maps.passes.forward_passes} forward pass")
random = torch.rand(1, *images.shape[2:], generator=torch.Generator().manual_seed(0))
print(f"{'random':12} {score(random):+.3f}   a control; there are {len(CONTROLS)}: {', '.join(CONTROLS)}")
