"""A small classifier and painted pictures for it, of which sets are made that are scanned."""

import numpy as np
from PIL import Image

from tiny import build, classifier

NAMES = tuple("abcdef")


def small(**settings):
    """A network with six classes on pictures of 32 x 32."""
    return classifier(build("cnn"), classes=NAMES, batch_size=4, name="small", **settings)


def painted(seed, side=40):
    """Noise of four patches, as a picture."""
    dice = np.random.default_rng(seed)
    patches = Image.fromarray(dice.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return patches.resize((side, side + seed % 5), Image.Resampling.BICUBIC)
