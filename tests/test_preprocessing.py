"""What a hub's own preprocessing makes of a photo, and what we make of it: the same pixels, for every one of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saywhy.errors import UsageError
from saywhy.framing import RULES
from saywhy.image import Preprocess, frame, read
from saywhy.zoo import load_classifier
from saywhy.zoo.hub import _timm_preprocess, _torchvision_preprocess
from saywhy.zoo.watched import preprocess_of

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

# Not those that the preprocessing is found with: wide, tall, smaller than the input, odd, square.
SIZES = ((450, 299), (260, 411), (120, 90), (333, 331), (256, 256), (97, 251))


def photo(w: int, h: int) -> Image.Image:
    rng = np.random.default_rng(w * h)
    fine, coarse = (
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (max(1, h // c), max(1, w // c), 3)).astype(np.uint8)).resize((w, h))
        )
        for c in (2, 9)
    )
    return Image.fromarray(((fine.astype(int) + coarse) // 2).astype(np.uint8))


def ours(how: Preprocess, image: Image.Image) -> np.ndarray:
    """The input of a network: framed, normalised, its channels in the order it takes."""
    view, _ = frame(read(image), how)
    mean, std = (np.asarray(v)[:, None, None] for v in (how.mean, how.std))
    values = (view - mean) / std
    return values[::-1] if how.channels == "BGR" else values


# -- transformers ----------------------------------------------------------------------------------


def processors() -> list[str]:
    """The image processors of all image classifiers of transformers, by class name; two in both ways of scaling."""
    from transformers.models.auto import image_processing_auto as images
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KINDS

    rows = [images.IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) for kind in KINDS]
    if any(isinstance(row, (tuple, list)) for row in rows):  # transformers 4: (slow, fast)
        return sorted({row[0] for row in rows if row and row[0]})
    twice = {"MobileViTImageProcessorPil", "CLIPImageProcessorPil"}  # with bars, and without
    return sorted({row.get("torchvision") or row.get("pil") for row in rows if row} | twice)


# What gives no picture (3, H, W) of one size, and why; all others must give the same pixels.
REFUSED = {
    "Donut": "larger",
    "ImageGPT": "no pixels",
    "Siglip2": "no picture",
    "TextNet": "changes with the photo",
}
NEEDS_A_NETWORK = "TimmWrapper"  # reads timm's data configuration, which is tested below


def process_of(processor):
    def process(image: Image.Image) -> np.ndarray:
        try:
            return np.asarray(processor(image, return_tensors="pt")["pixel_values"][0], dtype=np.float64)
        except Exception as e:
            raise UsageError(f"no pixels: {e}") from e

    return process


def made(name: str, **given):
    from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

    kind = getattr(transformers, name, None) or get_image_processor_class_from_name(name)
    if name.startswith("ImageGPT"):
        given["clusters"] = [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]
    return kind(**given)


@pytest.mark.parametrize("name", [n for n in processors() if not n.startswith(NEEDS_A_NETWORK)])
def test_every_image_processor_gives_our_pixels_or_is_refused_with_the_reason(name: str) -> None:
    processor = made(name)
    why = next((words for start, words in REFUSED.items() if name.startswith(start)), None)
    if why is not None:
        with pytest.raises(UsageError, match=why):
            preprocess_of(process_of(processor), name)
        return
    how = preprocess_of(process_of(processor), name)
    for size in SIZES:
        theirs = process_of(processor)(photo(*size))
        scaled = np.abs(ours(how, photo(*size)) - theirs) * np.asarray(how.std)[:, None, None] * 255
        assert scaled.max() <= 2.6, (name, size, how)
        assert scaled.mean() <= (0.01 if name.endswith("Pil") else 0.3), (name, size, how)


FIELDS = [
    ("ViTImageProcessor", {"size": {"height": 40, "width": 64}, "resample": 3}),
    ("ViTImageProcessor", {"size": 48, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.2, 0.1]}),
    ("ViTImageProcessor", {"size": 48, "do_normalize": False}),
    ("ViTImageProcessor", {"size": 48, "do_rescale": False, "do_normalize": False}),
    ("ViTImageProcessor", {"size": 48, "rescale_factor": 1 / 127.5, "resample": 1}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 61}, "crop_size": 48}),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 56, "width": 48}}),
    ("BeitImageProcessor", {"size": 64, "do_center_crop": True, "crop_size": 48}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.8}),
    ("PoolFormerImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": 64, "crop_pct": 0.95}),
    ("LevitImageProcessor", {"size": {"shortest_edge": 56}, "crop_size": 56}),
    ("EfficientNetImageProcessor", {"size": 64, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("EfficientNetImageProcessor", {"size": 64, "include_top": False}),
    ("MobileViTImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": 64, "do_flip_channel_order": False}),
    ("PerceiverImageProcessor", {"size": 56, "crop_size": 64}),
]


@pytest.mark.parametrize(("name", "fields"), FIELDS)
def test_fields_of_a_saved_processor_count_as_they_count_for_itself(tmp_path: Path, name: str, fields: dict) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": name, **fields}))
    clf = load_classifier(f"hf:{tmp_path}")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    for size in SIZES[:3]:
        theirs = torch.as_tensor(processor(photo(*size), return_tensors="pt")["pixel_values"])
        mine = clf.inputs(clf.prepare([clf.read(photo(*size))])[0])
        off = (mine - theirs).abs() * torch.tensor(clf.preprocess.std)[:, None, None] * 255
        assert float(off.max()) <= 2.6 and float(off.mean()) <= 0.3, (fields, size, clf.preprocess)


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").convert("RGB").resize((32, 32)), dtype=np.float64).transpose(2, 0, 1)


def turned(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((32, 32)).rotate(90), dtype=np.float64).transpose(2, 0, 1)


def squared(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((32, 32)), dtype=np.float64).transpose(2, 0, 1) ** 2


@pytest.mark.parametrize("process", [grey, turned, squared])
def test_a_preprocessing_that_we_cannot_do_is_refused_with_the_way_out(process) -> None:
    with pytest.raises(UsageError, match=r"cannot be followed.*callable"):
        preprocess_of(process, "somebody's")


# -- timm ------------------------------------------------------------------------------------------


def data_configs() -> list[dict]:
    """The data configurations of timm's pretrained networks that differ in how a photo comes to lie."""
    from timm.models._registry import _model_pretrained_cfgs as known

    rows = {}
    for cfg in known.values():
        data = timm.data.resolve_data_config({}, pretrained_cfg=cfg.to_dict())
        size = data["input_size"]
        if max(size[1:]) <= 640:  # the larger ones differ in nothing else
            rows[(size, data["crop_pct"], data["crop_mode"], data["interpolation"])] = data
    return [rows[key] for key in sorted(rows, key=str)]


def test_every_data_configuration_of_timm_gives_our_pixels() -> None:
    configs = [
        *data_configs(),
        {**data_configs()[0], "input_size": (3, 64, 96), "crop_mode": "center", "crop_pct": 0.9},
    ]
    assert {c["crop_mode"] for c in configs} == {"center", "squash", "border"} and len(configs) > 80
    image = photo(450, 299)
    for n, data in enumerate(configs):
        theirs = timm.data.create_transform(**data, is_training=False)(image).numpy()
        how = _timm_preprocess(data)
        assert np.abs(ours(how, image) - theirs).max() < 1e-4, data
        if n % 8 == 0:
            tall = photo(97, 251)
            theirs = timm.data.create_transform(**data, is_training=False)(tall).numpy()
            assert np.abs(ours(how, tall) - theirs).max() < 1e-4, data


# -- torchvision -----------------------------------------------------------------------------------


def presets():
    from torchvision import models

    rows = {}
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            how = weights.transforms()
            rows[(str(how.crop_size), str(how.resize_size), how.interpolation)] = how
    return list(rows.values())


def test_every_preset_of_torchvision_gives_our_pixels() -> None:
    assert len(presets()) > 10
    for preset in presets():
        how = _torchvision_preprocess(preset)
        for size in ((450, 299), (97, 251)):
            assert np.abs(ours(how, photo(*size)) - preset(photo(*size)).numpy()).max() < 1e-4, preset


@pytest.mark.parametrize("resize", [36, 41, 64, None])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_a_pipeline_of_torchvision_gives_our_pixels_at_any_photo(resize: int | None, interpolation: str) -> None:
    from torchvision import transforms as T

    how = Preprocess(size=(32, 32), resize=resize, interpolation=interpolation, mean=(0.0,) * 3, std=(1.0,) * 3)
    scale = T.Resize((32, 32) if resize is None else resize, T.InterpolationMode(interpolation))
    pipeline = T.Compose([scale, T.CenterCrop(32), T.ToTensor()])
    rng = np.random.default_rng(0)
    for w, h in rng.integers(33, 300, (25, 2)).tolist():
        image = photo(w, h)
        np.testing.assert_allclose(ours(how, image), pipeline(image).numpy(), atol=1e-6, err_msg=f"{w} x {h}")


def test_by_the_rule_torchvision_bars_are_its_own_too() -> None:
    from torchvision import transforms as T

    how = Preprocess(size=(40, 32), resize=36, mean=(0.0,) * 3, std=(1.0,) * 3, rule="torchvision")
    pipeline = T.Compose([T.Resize(36), T.CenterCrop((40, 32)), T.ToTensor()])
    for w, h in ((90, 60), (61, 59), (60, 90), (300, 41)):
        np.testing.assert_allclose(ours(how, photo(w, h)), pipeline(photo(w, h)).numpy(), atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_the_models_size_and_a_box_that_the_photo_fills(rule: str) -> None:
    for w, h in SIZES:
        for resize in (None, 36, (40, 52)):
            how = Preprocess(size=(32, 48), resize=resize, rule=rule)
            view, (x0, y0, x1, y1) = frame(read(photo(w, h)), how)
            assert view.shape == (3, 32, 48)
            assert x0 < x1 and y0 < y1 and x0 < w and y0 < h and x1 > 0 and y1 > 0
            if rule in ("cover", "fill"):  # no bars
                assert x0 >= 0 and y0 >= 0 and x1 <= w and y1 <= h
