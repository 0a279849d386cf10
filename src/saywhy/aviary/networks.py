"""The reference networks of the aviary: small CNNs, small vision transformers, and a part segmenter.

Inputs (N, 3, S, S), normalised, with S = 64 or what `SIDES` says; C classes. E width of a token, T = 1 + 64 tokens,
the class token first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=False)
    )


class BirdCnn(nn.Module):
    """Five 3 x 3 convolutions down to a grid of 8 x 8, averaged, and one linear layer; 0.21 million weights."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(3, 24, 2), _conv(24, 48, 2), _conv(48, 64), _conv(64, 96, 2), _conv(96, 128)
        )  # (N, 128, 8, 8)
        self.head = nn.Linear(128, classes)

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the last layer sees (N, E), and the cells (N, E, 8, 8) that it is made of."""
        cells = self.features(x)
        return cells.mean(dim=(2, 3)), cells

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.head(self.seen(x)[0])  # type: ignore[no-any-return]


class BirdCnn128(BirdCnn):
    """The same and one convolution more, for 128 x 128 pixels, down to a grid of 8 x 8 (of 224: 14 x 14); 0.40 million
    weights.

    Its first five layers have the names and shapes of the CNN's, so that they can start from its weights.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.features.append(_conv(128, 160, 2))  # (N, 160, 8, 8)
        self.head = nn.Linear(160, classes)


class Attention(nn.Module):
    """Multi-head self-attention over tokens (N, T, E). Vaswani et al. 2017."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T, E) from tokens (N, T, E)."""
        N, T, E = x.shape
        q, k, v = self.qkv(x).reshape(N, T, 3, self.heads, E // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(N, T, E))  # type: ignore[no-any-return]


class VitBlock(nn.Module):
    """Attention and a two-layer network, each with its norm before it and its skip around it."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T, E) from tokens (N, T, E)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class BirdVit(nn.Module):
    """A vision transformer on a grid of 8 x 8 tokens and a class token; 0.36 million weights.

    Three strided convolutions make the tokens: with so few pictures they learn faster than one large patch. The first
    two have the names and shapes of the CNN's, so that they can start from its weights.
    Dosovitskiy et al. 2021; the stem: Xiao et al. 2021.
    """

    def __init__(self, classes: int, width: int = 96, depth: int = 4, heads: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv(3, 24, 2), _conv(24, 48, 2), nn.Conv2d(48, width, 3, 2, 1))  # (N, E, 8, 8)
        self._tokens(width, classes, depth, heads)

    def _tokens(self, width: int, classes: int, depth: int, heads: int) -> None:
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.place = nn.Parameter(torch.randn(1, 1 + (SIDE // 8) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*(VitBlock(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the last layer sees (N, E), the class token, and the other tokens as cells (N, E, 8, 8)."""
        tokens = self.features(x).flatten(2).transpose(1, 2)  # (N, 64, E)
        tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.place
        tokens = self.norm(self.blocks(tokens))
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, (SIDE // 8, SIDE // 8))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.head(self.seen(x)[0])  # type: ignore[no-any-return]


class BirdVit128(BirdVit):
    """The same for 128 x 128 pixels: its stem is the CNN's first four layers and a fifth; 0.53 million weights."""

    def __init__(self, classes: int, width: int = 112, depth: int = 4, heads: int = 4) -> None:
        nn.Module.__init__(self)
        self.features = nn.Sequential(
            _conv(3, 24, 2), _conv(24, 48, 2), _conv(48, 64), _conv(64, 96, 2), nn.Conv2d(96, width, 3, 2, 1)
        )  # (N, E, 8, 8)
        self._tokens(width, classes, depth, heads)


class BirdSegmenter(nn.Module):
    """A small U-Net: logits (N, C, 64, 64), one class a part and one for the background. Ronneberger et al. 2015."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down1, self.down2 = _conv(3, 12), _conv(12, 32, 2)
        self.down3, self.down4 = _conv(32, 64, 2), nn.Sequential(_conv(64, 96, 2), _conv(96, 96))
        self.up3, self.up2, self.up1 = _conv(96 + 64, 48), _conv(48 + 32, 24), _conv(24 + 12, 12)
        self.head = nn.Conv2d(12, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C, 64, 64)."""
        a = self.down1(x)  # (N, 12, 64, 64)
        b = self.down2(a)  # (N, 32, 32, 32)
        c = self.down3(b)  # (N, 64, 16, 16)
        d = self.down4(c)  # (N, 96, 8, 8)
        y = self.up3(torch.cat([_double(d), c], dim=1))
        y = self.up2(torch.cat([_double(y), b], dim=1))
        y = self.up1(torch.cat([_double(y), a], dim=1))
        return self.head(y)  # type: ignore[no-any-return]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "cnn": BirdCnn, "vit": BirdVit, "seg": BirdSegmenter, "cnn128": BirdCnn128, "vit128": BirdVit128,
    "cnn224": BirdCnn128,
}  # fmt: skip
SIDES = {"cnn128": 128, "vit128": 128, "cnn224": 224}  # of the images of a network; else SIDE
