"""Thirty of the networks of benchmarks/architectures.py, those of libraries that the tests have, measured as there."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import pytest

SWEEP = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "architectures.py"))
# network: its layer, the axes of its output, tokens before and after its grid
EXPECTED = {
    "transformers:Beit": ("beit.layernorm", "ntc", [1, 0]),
    "transformers:Bit": ("bit.norm", "nchw", [0, 0]),
    "transformers:ConvNext": ("convnext.encoder", "nchw", [0, 0]),
    "transformers:ConvNextV2": ("convnextv2.encoder", "nchw", [0, 0]),
    "transformers:DeiT": ("deit.layers.1", "ntc", [2, 0]),
    "transformers:Data2VecVision": ("data2vec_vision.layernorm", "ntc", [1, 0]),
    "transformers:Dinov2": ("dinov2", "ntc", [1, 0]),
    "transformers:Dinov2WithRegisters": ("dinov2_with_registers", "ntc", [5, 0]),
    "transformers:FocalNet": ("focalnet.layernorm", "ntc", [0, 0]),
    "transformers:IJepa": ("ijepa", "ntc", [0, 0]),
    "transformers:PPLCNet": ("encoder", "nchw", [0, 0]),
    "transformers:RegNet": ("regnet.encoder", "nchw", [0, 0]),
    "transformers:ResNet": ("resnet.encoder", "nchw", [0, 0]),
    "transformers:Segformer": ("segformer", "nchw", [0, 0]),
    "transformers:Swin": ("swin.layernorm", "ntc", [0, 0]),
    "transformers:Swinv2": ("swinv2.layernorm", "ntc", [0, 0]),
    "transformers:TextNet": ("textnet", "nchw", [0, 0]),
    "transformers:ViT": ("vit.layers.1", "ntc", [1, 0]),
    "transformers:ViTMSN": ("vit.layers.1", "ntc", [1, 0]),
    "torchvision:alexnet": ("avgpool", "nchw", [0, 0]),
    "torchvision:googlenet": ("inception5b", "nchw", [0, 0]),
    "torchvision:mnasnet0_5": ("layers", "nchw", [0, 0]),
    "torchvision:mobilenet_v3_small": ("features", "nchw", [0, 0]),
    "torchvision:shufflenet_v2_x0_5": ("conv5", "nchw", [0, 0]),
    "torchvision:squeezenet1_1": ("classifier.2", "nchw", [0, 0]),
    "timm:efficientvit_m0": ("stages", "nchw", [0, 0]),
    "timm:ghostnet_050": ("blocks", "nchw", [0, 0]),
    "timm:lcnet_050": ("blocks", "nchw", [0, 0]),
    "timm:mobilevitv2_050": ("final_conv", "nchw", [0, 0]),
    "timm:tinynet_e": ("bn2", "nchw", [0, 0]),
}


@pytest.mark.parametrize("network", EXPECTED)
def test_a_network_that_nobody_here_wrote_is_tapped_replayed_and_left_as_found(network):
    library, name = network.split(":")
    pytest.importorskip(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of their own defaults
        row = SWEEP["measure"](SWEEP["LIBRARIES"][library][0], name)
    assert (row["layer"], row["axes"], row["around"]) == EXPECTED[network], row["reason"]
    assert max(row["replay_1"], row["replay_3"], row["replay_8"]) < 1e-5
    assert row["grad_cam"] < 1e-4
    assert row["state_kept"] and row["second_call_passes"] == 0
