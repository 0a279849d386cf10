"""A classifier of which only the scores are known: a server, a file, any function of images."""

import numpy as np
import torch
from torch import Tensor

import saywhy


def how_red(images: Tensor) -> Tensor:
    """Scores (N, 2) of images (N, 3, H, W): how red the middle is, and how red it is not."""
    middle = images[:, :, 16:48, 16:48]
    red = (middle[:, 0] - middle[:, 1:].mean(dim=1)).clamp_min(0).mean(dim=(1, 2))
    return torch.stack([red, 1 - red], dim=1)


clf = saywhy.load_classifier(how_red, classes=["red", "not red"], size=64, resize=0)
photo = np.full((64, 64, 3), 90, dtype=np.uint8)
photo[20:44, 20:44] = (230, 20, 20)

maps = saywhy.saliency(clf, photo, targets="red", method="occlusion")
y, x = divmod(int(maps.display[0].argmax()), 64)
print(f"red is at x = {x}, y = {y}; {maps.passes.forward_passes} questions were asked")
print(saywhy.explain(clf, photo, target="red").text)
