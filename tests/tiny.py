"""Tiny networks with the habits that break explainers: in-place and shared ReLUs, tokens, windows, odd outputs.

Images are 32 x 32, six classes. `symmetric(net)` makes a network that does not tell left from right. Classifiers lie on
the device that SAYWHY_TEST_DEVICE names: the tests of the contracts run on a GPU too (benchmarks/gpu.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.classifier import Classifier
from saywhy.image import Preprocess

SIDE, CLASSES = 32, 6
DEVICE = os.environ.get("SAYWHY_TEST_DEVICE", "cpu")


class Cnn(nn.Module):
    """Two convolutions; one ReLU object, in place, used twice."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(channels, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.conv1(x))))
        return self.relu(self.conv2(self.pool(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


class Dense(nn.Module):
    """Layers that are concatenated, then a norm and an in-place ReLU written as a function."""

    def __init__(self, growth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AvgPool2d(4))
        self.layers = nn.ModuleList(nn.Conv2d(8 + growth * i, growth, 3, padding=1) for i in range(3))
        self.norm = nn.BatchNorm2d(8 + growth * 3)
        self.head = nn.Linear(8 + growth * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x), inplace=True)], dim=1)
        x = F.relu(self.norm(x), inplace=True)
        return self.head(x.mean(dim=(2, 3)))


class Attention(nn.Module):
    """Fused attention, or the same written out."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        N, T, E = x.shape
        q, k, v = self.qkv(x).reshape(N, T, 3, self.heads, E // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-2, -1) * (E // self.heads) ** -0.5).softmax(dim=-1) @ v
        return self.proj(y.transpose(1, 2).reshape(N, T, E))


class TorchAttention(nn.Module):
    """`nn.MultiheadAttention`, asked as torchvision asks it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    def __init__(self, attention: nn.Module, width: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """A class token and `registers` more before the 4 x 4 patches; `pool` is what the head reads."""

    def __init__(self, registers: int = 2, pool: str = "token", attention: str = "fused", side: int = SIDE) -> None:
        super().__init__()
        E, self.pool = 16, pool
        self.patch = nn.Conv2d(3, E, 8, stride=8)
        self.first = nn.Parameter(torch.randn(1, 1 + registers if pool == "token" else registers, E))
        self.place = nn.Parameter(torch.randn(1, E, side // 8, side // 8) * 0.3)
        kinds: dict[str, Callable[[], nn.Module]] = {
            "fused": lambda: Attention(E, 2, True),
            "written": lambda: Attention(E, 2, False),
            "torch": lambda: TorchAttention(E, 2),
        }
        self.blocks = nn.Sequential(*(Block(kinds[attention](), E) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(E), nn.Linear(E, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = (self.patch(x) + self.place).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0] if self.pool == "token" else x[:, self.first.shape[1] :].mean(dim=1))


class Swin(nn.Module):
    """Attention in windows of 4 x 4 on channels-last maps, merged once."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 2, stride=2)
        self.block1 = Block(Attention(16, 2, True), 16)
        self.merge = nn.Conv2d(16, 16, 2, stride=2)
        self.block2 = Block(Attention(16, 2, True), 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = windowed(self.block1, self.patch(x).permute(0, 2, 3, 1))
        x = windowed(self.block2, self.merge(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.head(self.norm(x).mean(dim=(1, 2)))


def windowed(block: nn.Module, x: Tensor, w: int = 4) -> Tensor:
    """Applies a block of (N, T, E) in windows of a map (N, H, W, E)."""
    N, H, W, E = x.shape
    y = x.reshape(N, H // w, w, W // w, w, E).transpose(2, 3).reshape(-1, w * w, E)
    return block(y).reshape(N, H // w, W // w, w, w, E).transpose(2, 3).reshape(N, H, W, E)


class Named(nn.Module):
    """Answers with a dict, as Hugging Face models do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Cnn()

    def forward(self, pixels: Tensor) -> dict[str, Tensor | None]:
        return {"loss": None, "logits": self.inner(pixels)}


class Segmenter(nn.Module):
    """Scores (N, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True)), nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.out(self.body(x)), scale_factor=2.0, mode="bilinear")


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": Cnn,
    "dense": Dense,
    "vit": Vit,
    "swin": Swin,
    "dict": Named,
}


def build(name: str, seed: int = 0) -> nn.Module:
    """A network of MODELS with random weights and running statistics that are not the identity, in eval mode."""
    torch.manual_seed(seed)
    net = MODELS[name]()
    lively(net)
    return net.eval()


def lively(net: nn.Module) -> nn.Module:
    """Larger heads and odd norms, so that scores differ and channels go silent."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
        if isinstance(m, nn.Linear) and m.out_features == CLASSES:
            nn.init.normal_(m.weight, std=1.0)
            nn.init.normal_(m.bias, std=0.2)
    return net


def classifier(net: nn.Module, **settings: object) -> Classifier:
    """A Classifier of a tiny network."""
    preprocess = Preprocess(size=(SIDE, SIDE), mean=(0.5, 0.4, 0.3), std=(0.25, 0.3, 0.2))
    return Classifier(net if DEVICE == "cpu" else net.to(DEVICE), preprocess=preprocess, **settings)  # type: ignore[arg-type]


def images(count: int = 2, seed: int = 1, side: int = SIDE) -> Tensor:
    """Smooth random photos (count, 3, side, side)."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=g)
    return F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)


@torch.no_grad()
def symmetric(net: nn.Module) -> nn.Module:
    """The network made blind to left and right: kernels and place embeddings are their own mirror images."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            m.weight.copy_((m.weight + m.weight.flip(3)) / 2)
        if isinstance(m, Vit):
            m.place.copy_((m.place + m.place.flip(3)) / 2)
    return net
