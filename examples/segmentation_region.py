"""Why were these pixels given that class? A segmentation model, asked about one region."""

import torch
from torch import nn

import saywhy

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.Upsample(scale_factor=4)
)
clf = saywhy.Classifier(net, preprocess=saywhy.Preprocess(size=(64, 64), resize=None))

region = torch.zeros(64, 64, dtype=torch.bool)
region[8:32, 8:32] = True
maps = saywhy.saliency(clf, torch.rand(1, 3, 64, 64), targets=saywhy.region_target(2, region), method="hires-cam")

inside = maps.display[0][region].sum() / maps.display[0].sum()
print(f"{100 * float(inside):.0f} % of what counts for the region lies inside it")
