"""The engine on networks that nobody here wrote: one row for each architecture, in results/architectures.json.

    PYTHONPATH=src:tests/shim:SITE python benchmarks/architectures.py [LIBRARY ...] [--only explain] [--minutes 8]

SITE is a folder with the libraries that the project does not depend on (pip install --no-deps --target SITE pytorchcv
open_clip_torch vit-pytorch monai einops ...). Networks are built from code with random weights, at small sizes where
they allow it. A row that is there is not measured again (but for `--again`), so the command can be stopped and started.
`--only explain` adds what `explain` says by default, `--only layouts` how the probe alone reads outputs whose layout is
known from the operation. Every row has at most `SECONDS` of processor time.

Of each network: the layer and why; its share of calls with weights that come after that layer; the largest error of
replayed maps at batches 1, 3 and 8, of the largest score; Grad-CAM against a plain hook on the whole network; whether
weights, modes, gradients, hooks and random state are bit by bit as before; the cost of the first question beside a
plain pass, and that a second one costs no pass.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import saywhy
import saywhy.probe
from saywhy.classifier import Classifier
from saywhy.errors import SaywhyError
from saywhy.image import Preprocess
from saywhy.outputs import first_tensor, logits_of

RESULTS = Path(__file__).parent / "results" / "architectures.json"
SECONDS = 40  # of the processor, for one network
SIZE, CLASSES = 96, 10

# --------------------------------------------------------------------------------------------------
# The networks: a library, how its names are built, the names.

TIMM = """beit_base_patch16_224 botnet26t_256 halonet26t lambda_resnet26t gernet_s mobileone_s0 repvgg_a0 cait_xxs24_224
coat_lite_tiny coat_tiny convit_tiny convmixer_768_32 convnext_atto convnextv2_atto cpubone_nano crossvit_tiny_240
csatv2 cs3darknet_s cspresnet50 cspnext_tiny davit_tiny deit_tiny_patch16_224 deit_tiny_distilled_patch16_224
deit3_small_patch16_224 densenet121 dla34 dpn68 edgenext_xx_small efficientformer_l1 efficientformerv2_s0 tinynet_e
efficientnet_lite0 mnasnet_small fbnetc_100 spnasnet_100 mixnet_s tf_efficientnetv2_b0 efficientvim_m1 efficientvit_b0
efficientvit_m0 eva02_tiny_patch14_224 vit_tiny_patch16_dinov3_qkvb fasternet_t0 fastvit_t8 fastvit_sa12
focalnet_tiny_srf gcvit_xxtiny ghostnet_050 ghostnetv2_100 hardcorenas_a hgnet_tiny hgnetv2_b0 hiera_tiny_224
hrnet_w18_small iformer_s inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnet_050 lcnetv2_small
levit_128s levit_conv_128s lowformer_b0 mambaout_femto maxvit_pico_rw_256 coatnet_pico_rw_224 coatnet_0_rw_224
poolformer_s12 poolformerv2_s12 caformer_s18 convformer_s18 gmlp_s16_224 mixer_s32_224 resmlp_12_224
mobilenetv3_small_050 mobilenetv4_conv_small mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small
nf_regnet_b0 dm_nfnet_f0 pit_ti_224 pit_ti_distilled_224 pvt_v2_b0 regnetx_002 regnety_002 repghostnet_050 repvit_m0_9
res2net50_26w_4s resnest14d resnet18 resnet26 seresnet18 ecaresnet26t resnetblur18 resnetv2_18 rexnet_100 selecsls42
legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224
swin_s3_tiny_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m
twins_svt_small twins_pcpvt_small vgg11 vgg11_bn visformer_tiny vit_tiny_patch16_224 vit_small_patch32_224
vit_small_patch16_224 flexivit_small vit_wee_patch16_reg1_gap_256 vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224
vit_srelpos_small_patch16_224 vitamin_small_224 volo_d1_224 ese_vovnet19b_slim legacy_xception xception41
xcit_nano_12_p16_224"""
TORCHVISION = """alexnet convnext_tiny deeplabv3_mobilenet_v3_large densenet121 efficientnet_b0 efficientnet_v2_s
fcn_resnet50 googlenet inception_v3 lraspp_mobilenet_v3_large maxvit_t mnasnet0_5 mobilenet_v2 mobilenet_v3_small
regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 swin_t
swin_v2_t vgg11 vgg11_bn vit_b_32 wide_resnet50_2"""
PYTORCHCV = """alexnet zfnet vgg11 bn_vgg11 bninception resnet10 resnetbc14b preresnet10 preresnetbc14b resnext14_32x2d
seresnet10 seresnetbc26b sepreresnet10 senet16 resnestabc14 resnesta18 airnet50_1x64d_r16 bam_resnet18 cbam_resnet18
resattnet56 sknet50 scnet50 regnetx002 regnety002 diaresnet10 diapreresnet10 diracnet18v2 sharesnet18 densenet121
condensenet74_c8_g8 sparsenet121 peleenet drnc26 drnd22 dpn68 darknet_ref darknet_tiny channelnet revnet38 bagnet9
dla46c fishnet99 espnetv2_wd2 dicenet_wd5 hrnet_w18_small_v1 vovnet27s selecsls42 hardnet39ds xdensenet121_2
squeezenet_v1_1 squeezeresnet_v1_1 sqnxt23_w1 shufflenet_g1_w1 shufflenetv2_wd2 menet108_8x1_g3 mobilenet_w1
mobilenetb_w1 fdmobilenet_w1 mobilenetv2_w1 igcv3_w1 ghostnet mnasnet_b1 darts proxylessnas_cpu fbnet_cb inceptionv3
nasnet_4a1056 spnasnet efficientnet_b0 mixnet_s isqrtcovresnet18 resneta10 octresnet10_ad2 tresnet_m resnet20_cifar10
pyramidnet110_a48_cifar10 densenet40_k12_cifar10 ror3_56_cifar10 nin_cifar10 rir_cifar10 fractalnet_cifar10
wrn20_10_1bit_cifar10 shakeshakeresnet20_2x16d_cifar10 xdensenet40_2_k24_bc_cifar10"""
OPEN_CLIP = "RN50 ViT-S-32 ViT-M-32-alt MobileCLIP-S1 ViTamin-S PE-Core-T-16-384 ViT-B-32-SigLIP2-256 coca_ViT-B-32"
SMALL = {"image_size": SIZE, "num_labels": CLASSES}
WIDE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
HF: dict[str, dict[str, Any]] = {
    "Beit": {**WIDE, "patch_size": 16},
    "Bit": {"embedding_size": 128, "hidden_sizes": [128, 128, 256, 256], "depths": [1, 1, 1, 1]},
    "ConvNext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]},
    "ConvNextV2": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]},
    "Cvt": {},
    "DeiT": {**WIDE, "patch_size": 16},
    "Data2VecVision": {**WIDE, "patch_size": 16},
    "Dinov2": {**WIDE, "patch_size": 16},
    "Dinov2WithRegisters": {**WIDE, "patch_size": 16},
    "EfficientNet": {"image_size": SIZE},
    "FocalNet": {"embed_dim": 16, "depths": [1, 1, 2, 1]},
    "HGNetV2": {},
    "Hiera": {"image_size": [224, 224], "embed_dim": 16, "depths": [1, 1, 2, 1]},
    "IJepa": {**WIDE, "patch_size": 16},
    "Levit": {"image_size": 224},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "MobileViT": {},
    "MobileViTV2": {},
    "PoolFormer": {},
    "PPLCNet": {},
    "Pvt": {"image_size": 224},
    "PvtV2": {},
    "RegNet": {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1], "groups_width": 8},
    "ResNet": {"depths": [1, 1, 1, 1]},
    "Segformer": {"depths": [1, 1, 1, 1]},
    "SwiftFormer": {"image_size": 224},
    "Swin": {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 3},
    "Swinv2": {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 3},
    "TextNet": {},
    "ViT": {**WIDE, "patch_size": 16},
    "ViTMSN": {**WIDE, "patch_size": 16},
}
VIT = {"image_size": SIZE, "patch_size": 16, "num_classes": CLASSES, "dim": 32, "depth": 3, "heads": 2, "mlp_dim": 64}
VIT_PYTORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "vit.ViT": ("vit", VIT),
    "vit.ViT mean": ("vit", {**VIT, "pool": "mean"}),
    "simple_vit.SimpleViT": ("simple_vit", VIT),
    "deepvit.DeepViT": ("deepvit", VIT),
    "cait.CaiT": ("cait", {**VIT, "cls_depth": 1}),
    "parallel_vit.ViT": ("parallel_vit", VIT),
    "vit_for_small_dataset.ViT": ("vit_for_small_dataset", VIT),
    "rvt.RvT": ("rvt", VIT),
    "vit_with_patch_merger.ViT": (
        "vit_with_patch_merger",
        {**VIT, "patch_merge_layer": 1, "patch_merge_num_tokens": 8},
    ),
    "simple_vit_with_register_tokens.SimpleViT": ("simple_vit_with_register_tokens", VIT),
    "simple_vit_with_qk_norm.SimpleViT": ("simple_vit_with_qk_norm", VIT),
    "simple_vit_with_patch_dropout.SimpleViT": ("simple_vit_with_patch_dropout", VIT),
    "simple_vit_with_value_residual.SimpleViT": ("simple_vit_with_value_residual", VIT),
    "simple_vit_with_fft.SimpleViT": ("simple_vit_with_fft", {**VIT, "freq_patch_size": 16}),
    "normalized_vit.nViT": ("normalized_vit", VIT),
    "simple_uvit.SimpleUViT": ("simple_uvit", VIT),
    "vit_with_decorr.ViT": ("vit_with_decorr", VIT),
    "pit.PiT": ("pit", {**VIT, "depth": (1, 1), "heads": 2, "dim": 32}),
    "cct.CCT": (
        "cct",
        {
            "img_size": SIZE,
            "num_classes": CLASSES,
            "embedding_dim": 32,
            "num_layers": 2,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "n_conv_layers": 2,
            "kernel_size": 7,
        },
    ),
    "cross_vit.CrossViT": (
        "cross_vit",
        {
            "image_size": SIZE,
            "num_classes": CLASSES,
            "sm_dim": 32,
            "lg_dim": 32,
            "sm_enc_depth": 1,
            "lg_enc_depth": 1,
            "depth": 2,
            "sm_patch_size": 16,
            "lg_patch_size": 32,
        },
    ),
    "levit.LeViT": (
        "levit",
        {
            "image_size": 224,
            "num_classes": CLASSES,
            "stages": 3,
            "dim": (16, 24, 32),
            "depth": 1,
            "heads": (1, 2, 2),
            "mlp_mult": 2,
        },
    ),
    "cvt.CvT": ("cvt", {"num_classes": CLASSES, "s1_emb_dim": 16, "s2_emb_dim": 24, "s3_emb_dim": 32, "s3_depth": 2}),
    "twins_svt.TwinsSVT": (
        "twins_svt",
        {
            "size": 224,
            "num_classes": CLASSES,
            "s1_emb_dim": 16,
            "s2_emb_dim": 24,
            "s3_emb_dim": 32,
            "s4_emb_dim": 48,
            "s3_depth": 1,
        },
    ),
    "crossformer.CrossFormer": (
        "crossformer",
        {"size": 224, "num_classes": CLASSES, "dim": (32, 64, 128, 256), "depth": (1, 1, 1, 1)},
    ),
    "nest.NesT": (
        "nest",
        {
            "image_size": 64,
            "patch_size": 4,
            "num_classes": CLASSES,
            "dim": 24,
            "heads": 2,
            "num_hierarchies": 3,
            "block_repeats": (1, 1, 1),
        },
    ),
    "mobile_vit.MobileViT": (
        "mobile_vit",
        {
            "image_size": (256, 256),
            "dims": [32, 40, 48],
            "channels": [8, 16, 24, 24, 32, 32, 40, 40, 48, 48, 64],
            "num_classes": CLASSES,
        },
    ),
    "xcit.XCiT": (
        "xcit",
        {
            "image_size": SIZE,
            "patch_size": 16,
            "num_classes": CLASSES,
            "dim": 32,
            "depth": 3,
            "cls_depth": 1,
            "heads": 2,
            "mlp_dim": 64,
        },
    ),
    "jumbo_vit.JumboViT": ("jumbo_vit", {**VIT, "num_jumbo_cls": 1, "jumbo_cls_k": 3}),
    "sep_vit.SepViT": (
        "sep_vit",
        {"size": 224, "num_classes": CLASSES, "dim": 16, "dim_head": 16, "heads": (1, 2, 2), "depth": (1, 1, 1)},
    ),
    "scalable_vit.ScalableViT": (
        "scalable_vit",
        {
            "num_classes": CLASSES,
            "dim": 16,
            "heads": (1, 2, 2),
            "depth": (1, 1, 1),
            "ssa_dim_key": (8, 8, 8),
            "reduction_factor": (4, 2, 1),
            "window_size": (4, 2, 1),
        },
    ),
    "regionvit.RegionViT": (
        "regionvit",
        {"dim": (16, 24, 32, 48), "depth": (1, 1, 1, 1), "window_size": 3, "num_classes": CLASSES},
    ),
}
MONAI: dict[str, dict[str, Any]] = {
    "DenseNet121": {"out_channels": CLASSES},
    "SEResNet50": {"num_classes": CLASSES},
    "SENet154": {"num_classes": CLASSES},
    "EfficientNetBN": {"model_name": "efficientnet-b0", "num_classes": CLASSES, "pretrained": False},
    "ViT": {
        "img_size": (SIZE, SIZE),
        "patch_size": 16,
        "classification": True,
        "num_classes": CLASSES,
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_layers": 3,
        "num_heads": 2,
    },
    "Classifier": {"in_shape": (3, SIZE, SIZE), "classes": CLASSES, "channels": (8, 16, 32), "strides": (2, 2, 2)},
    "UNet": {"out_channels": CLASSES, "channels": (8, 16, 32), "strides": (2, 2)},
    "AttentionUnet": {"out_channels": CLASSES, "channels": (8, 16, 32), "strides": (2, 2)},
    "BasicUNet": {"out_channels": CLASSES, "features": (8, 8, 16, 16, 32, 8)},
    "SegResNet": {"out_channels": CLASSES},
    "FlexibleUNet": {"out_channels": CLASSES, "backbone": "resnet18"},
    "HighResNet": {"out_channels": CLASSES},
    "resnet10": {"num_classes": CLASSES},
    "resnet18": {"num_classes": CLASSES},
}


def timm(name: str) -> tuple[nn.Module, int]:
    import timm

    for given in ({"img_size": SIZE}, {}):
        try:
            net = timm.create_model(name, num_classes=CLASSES, **given)
            if runs(net, SIZE):
                return net, SIZE
        except (TypeError, ValueError, AssertionError, RuntimeError):
            continue
    net = timm.create_model(name, num_classes=CLASSES)
    return net, int(net.default_cfg["input_size"][-1])


def torchvision(name: str) -> tuple[nn.Module, int]:
    import torchvision

    given = {"weights_backbone": None} if re.match("fcn|deeplab|lraspp", name) else {}
    if name in ("googlenet", "inception_v3"):
        given = {"init_weights": False}
    net = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **given)
    return net, next(s for s in (SIZE, 224, 299) if runs(net, s))


def pytorchcv(name: str) -> tuple[nn.Module, int]:
    get = importlib.import_module("pytorchcv.model_provider").get_model
    net = get(name) if "cifar" in name else get(name, num_classes=CLASSES)
    return net, next(s for s in ((32,) if "cifar" in name else (SIZE, 224, 299)) if runs(net, s))


def transformers(name: str) -> tuple[nn.Module, int]:
    import transformers

    size = HF[name].get("image_size", SIZE)
    size = size[0] if isinstance(size, list) else size
    config = getattr(transformers, f"{name}Config")(**{"num_labels": CLASSES, "image_size": size, **HF[name]})
    return getattr(transformers, f"{name}ForImageClassification")(config), size


def vit_pytorch(name: str) -> tuple[nn.Module, int]:
    module, all_given = VIT_PYTORCH[name]
    given = {k: v for k, v in all_given.items() if k != "size"}
    kind = getattr(importlib.import_module(f"vit_pytorch.{module}"), name.split(".")[1].split()[0])
    size = next((all_given[k] for k in ("size", "image_size", "img_size") if k in all_given), SIZE)
    return kind(**given), size[0] if isinstance(size, tuple) else size


class Headed(nn.Module):
    """The picture side of a CLIP model, and a linear head."""

    def __init__(self, body: nn.Module, size: int) -> None:
        super().__init__()
        self.body = body
        with torch.no_grad():
            self.head = nn.Linear(first_tensor(body.eval()(torch.zeros(2, 3, size, size))).shape[-1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        found = first_tensor(self.body(x))
        assert found is not None
        return self.head(found)


def open_clip(name: str) -> tuple[nn.Module, int]:
    factory = importlib.import_module("open_clip.factory")
    config = factory.get_model_config(name)
    vision = importlib.import_module("open_clip.model")._build_vision_tower(
        config["embed_dim"], {**config["vision_cfg"], "timm_model_pretrained": False}
    )
    size = config["vision_cfg"]["image_size"]
    return Headed(vision, size), size


def monai(name: str) -> tuple[nn.Module, int]:
    nets = importlib.import_module("monai.networks.nets")
    given = {"spatial_dims": 2, "in_channels": 3, **MONAI[name]}
    if name == "Classifier":
        given = MONAI[name]
    if name.startswith("resnet"):
        given = {"spatial_dims": 2, "n_input_channels": 3, **MONAI[name]}
    return getattr(nets, name)(**given), SIZE


LIBRARIES: dict[str, tuple[Callable[[str], tuple[nn.Module, int]], list[str]]] = {
    "transformers": (transformers, list(HF)),
    "vit_pytorch": (vit_pytorch, list(VIT_PYTORCH)),
    "monai": (monai, list(MONAI)),
    "torchvision": (torchvision, TORCHVISION.split()),
    "timm": (timm, TIMM.split()),
    "pytorchcv": (pytorchcv, PYTORCHCV.split()),
    "open_clip": (open_clip, OPEN_CLIP.split()),
}


def runs(net: nn.Module, size: int) -> bool:
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(2, 3, size, size))
    except Exception:
        return False
    return True


def lively(net: nn.Module) -> nn.Module:
    """Weights that start at zero (last norms of blocks, heads, layer scales) made random: they hide what is behind."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.is_floating_point() and p.numel() and not name.endswith("bias") and float(p.abs().max()) < 1e-3:
                p.copy_(torch.rand_like(p) + 0.5 if p.dim() == 1 else torch.randn_like(p) * 0.1)
    return net


# --------------------------------------------------------------------------------------------------
# What is measured of each.


def state_of(net: nn.Module) -> list[object]:
    """Everything about a network that a visitor could have moved."""
    return [
        {k: v.clone() for k, v in net.state_dict().items() if isinstance(v, Tensor)},
        {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None},
        [p.requires_grad for p in net.parameters()],
        [(m.training, sorted(m.__dict__), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        {"random": torch.get_rng_state()},
    ]


def equal(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return a == b


def mixed(net: nn.Module) -> None:
    """Random modes, frozen weights and gradients that are there already."""
    draw = np.random.default_rng(0)
    for module in net.modules():
        module.training = bool(draw.random() < 0.5)
    for p in net.parameters():
        if p.is_floating_point():
            p.requires_grad_(bool(draw.random() < 0.7))
            p.grad = torch.ones_like(p) if draw.random() < 0.1 else None


def reference(net: nn.Module, inputs: Tensor, clf: Classifier) -> Tensor:
    """Grad-CAM as anyone would write it: a hook, the whole graph, weights by the mean of the gradient."""
    kept: list[tuple[Tensor, Tensor]] = []  # the output, and its values before the network writes into it

    def keep(_: nn.Module, __: object, output: object) -> None:
        found = first_tensor(output)
        assert found is not None
        kept.append((found, found.detach().clone()))

    handle = clf.point.call.module.register_forward_hook(keep)
    modes = [(m, m.training) for m in net.modules()]
    for m, _ in modes:
        m.training = False
    with torch.enable_grad():
        scores = logits_of(net(inputs.clone().requires_grad_()))
        output, A = kept[clf.point.call.count - 1]
        (G,) = torch.autograd.grad(scores.flatten(1)[:, 1].sum(), output)
    handle.remove()
    for m, mode in modes:
        m.training = mode
    grid = clf.point.grid
    if "t" in grid.axes:
        h, w = grid.shape
        A, G = (t.permute(*map(grid.axes.index, "nct"))[:, :, grid.prefix : grid.prefix + h * w] for t in (A, G))
        return (G.mean(2, keepdim=True) * A).sum(1).reshape(-1, h, w).detach()
    A, G = (t.permute(*map(grid.axes.index, "nchw")) for t in (A, G))
    return (G.mean((2, 3), keepdim=True) * A).sum(1).detach()


def off(a: Tensor, b: Tensor) -> float:
    """The largest difference, of the largest value."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def layouts(clf: Classifier) -> dict[str, int]:
    """How the probe reads the outputs of torch's own operations on images, which are (N, K, h, w) by definition, and
    of the layer norms and linear layers, whose channels are last."""
    found = {"right": 0, "wrong": 0, "unseen": 0}
    for call in clf._layers.found.calls:
        kind = type(call.module).__name__
        if call.answer is None or type(call.module).__module__.split(".")[0] != "torch":
            continue
        maps = kind in ("Conv2d", "BatchNorm2d", "MaxPool2d", "AvgPool2d") and call.answer.batch == 0
        last = kind in ("LayerNorm", "Linear") and len(call.answer.shape) in (3, 4)
        if not (maps or last) or (maps and min(call.answer.shape[2:]) < 2):
            continue
        grid = saywhy.probe.find_grid(call.answer)  # by itself, without what other outputs of this form show
        good = grid is not None and (grid.axes == "nchw" if maps else grid.axes[-1] == "c")
        found["unseen" if grid is None else "right" if good else "wrong"] += 1
    return found


def measure(build: Callable[[str], tuple[nn.Module, int]], name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    net, size = build(name)
    lively(net).eval()
    mixed(net)
    clf = Classifier(net, preprocess=Preprocess(size=(size, size), resize=None, mean=(0.5,) * 3, std=(0.25,) * 3))
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    before = state_of(net)
    start = time.process_time()
    clf.logits(images[:2])  # what a plain pass of two pictures takes
    plain = time.process_time() - start
    start = time.process_time()
    row: dict[str, Any] = {"size": size}
    point = clf.point
    row["first_call_in_plain_passes"] = round((time.process_time() - start) / max(plain, 1e-6), 1)
    row |= {
        "layer": point.path,
        "grid": list(point.size),
        "axes": point.grid.axes,
        "around": [point.grid.prefix, point.grid.suffix],
        "reason": point.reason,
        "clean": point.tail.clean,
        "weighted_calls_after": round(clf._layers._after(point), 3),
    }
    tap = clf.tap(images)
    for rows in ([0], [2, 0, 1], [2, 0, 1, 1, 0, 2, 2, 1]):
        again = tap.replay(tap.maps()[rows], rows=torch.tensor(rows))
        row[f"replay_{len(rows)}"] = off(again, tap.logits[rows])
    target = None if tap.logits.dim() == 2 else lambda scores: scores.flatten(1)[:, 1]
    target = [1] * 3 if target is None else target
    row["grad_cam"] = off(saywhy.saliency(clf, images, target).raw, reference(net, clf.inputs(images), clf))
    passes: list[int] = []
    handle = net.register_forward_pre_hook(lambda *_: passes.append(1))
    _ = clf.point
    handle.remove()
    row["second_call_passes"] = len(passes)
    row["state_kept"] = all(map(equal, before, state_of(net)))
    return row


def laid_out(build: Callable[[str], tuple[nn.Module, int]], name: str) -> dict[str, int]:
    """The layouts that the probe reads in one network."""
    torch.manual_seed(0)
    net, size = build(name)
    lively(net).eval()
    clf = Classifier(net, preprocess=Preprocess(size=(size, size), resize=None, mean=(0.5,) * 3, std=(0.25,) * 3))
    return layouts(clf)


def explained(build: Callable[[str], tuple[nn.Module, int]], name: str) -> str:
    """What `explain` with its defaults (the fast ones) does: ok, or the error."""
    torch.manual_seed(0)
    net, size = build(name)
    clf = Classifier(lively(net).eval(), preprocess=Preprocess(size=(size, size), resize=None))
    photo = (np.random.default_rng(0).random((6, 6, 3)) * 255).astype("uint8").repeat(size // 6, 0).repeat(size // 6, 1)
    try:
        return "ok" if saywhy.explain(clf, photo, fast=True).text else "silent"
    except SaywhyError as e:
        return f"{type(e).__name__}: {e}"
    except Exception as e:
        return f"RAW {type(e).__name__}: {e}"


class TooLong(Exception):
    """A network took more than its time."""


def limited(work: Callable[..., Any], *given: Any) -> Any:
    """The result of a piece of work within SECONDS of processor time; errors as a row."""

    def stop(*_: Any) -> None:
        raise TooLong(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return work(*given)
    except SaywhyError as e:
        return {"refused": f"{type(e).__name__}: {e}"}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"[:300]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def wanted(libraries: list[str]) -> Iterator[tuple[str, str]]:
    for library in libraries or LIBRARIES:
        yield from ((library, name) for name in LIBRARIES[library][1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*", choices=[*LIBRARIES, []])
    parser.add_argument("--only", choices=["explain", "layouts"])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--minutes", type=float, default=8)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    stop = time.monotonic() + asked.minutes * 60
    for library, name in wanted(asked.libraries):
        key = f"{library}:{name}"
        field = asked.only or "layer"
        if time.monotonic() > stop or (field in rows.get(key, {}) and not asked.again):
            continue
        build = LIBRARIES[library][0]
        if asked.only:
            rows.setdefault(key, {})[asked.only] = limited(
                {"explain": explained, "layouts": laid_out}[asked.only], build, name
            )
        else:
            rows[key] = rows.get(key, {}) | limited(measure, build, name)
        print(key, json.dumps(rows[key])[:400], flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(len(rows), "rows;", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB", file=sys.stderr)


if __name__ == "__main__":
    main()
