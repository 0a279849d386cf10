"""Any torch network is explained as it is: name its classes and how its pictures are prepared."""

import numpy as np
import torch
from torch import nn

import saywhy

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(inplace=True),
    nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(inplace=True),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3),
)  # fmt: skip
clf = saywhy.load_classifier(net, classes=["cat", "dog", "bird"], size=64, mean=0.5, std=0.5)
print(clf.layer_reason)

photo = (np.random.default_rng(0).random((96, 96, 3)) * 255).astype(np.uint8)
photo[30:70, 20:60] = (200, 60, 30)
explanation = saywhy.explain(clf, photo)
print(explanation.text)

maps = saywhy.saliency(clf, photo, targets="dog", method="layer-cam")
print(maps.status, tuple(maps.raw.shape), tuple(maps.display.shape))
