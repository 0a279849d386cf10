"""Text spaces of open_clip and transformers, by small networks with random weights in their format."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from saywhy.errors import UsageError
from saywhy.spaces import TextSpace, text_space

WORDS = ["red", "bird", "a", "blue", "dog"]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def reader(folder: Path) -> None:
    """A tokenizer of whole words, as transformers saves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(["<pad>", "<unk>", *WORDS, "<end>"])}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 7)])
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", model_max_length=8
    ).save_pretrained(folder)


def saved(kind: str, folder: Path) -> nn.Module:
    import transformers as t

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **sizes,
        "vocab_size": 8,
        "max_position_embeddings": 8,
        "pad_token_id": 0,
        "eos_token_id": 7,
        "bos_token_id": 1,
    }
    vision = {**sizes, "image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    if kind == "clip":
        net: nn.Module = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
        how = t.CLIPImageProcessor(size=16, crop_size=16, image_mean=MEAN, image_std=STD)
    else:
        net = t.SiglipModel(t.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision))
        how = t.SiglipImageProcessor(size={"height": 16, "width": 16}, image_mean=MEAN, image_std=STD)
    net.eval().save_pretrained(folder)
    how.save_pretrained(folder)
    reader(folder)
    return net


@pytest.fixture(scope="module", params=["clip", "siglip"])
def hf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TextSpace, nn.Module, Path]:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp(request.param)
    net = saved(request.param, folder)
    return text_space(f"hf:{folder}"), net, folder


def test_images_and_texts_are_what_the_network_makes_of_them(hf: tuple[TextSpace, nn.Module, Path]) -> None:
    space, net, _ = hf
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    tokens = [[4, 2, 3, 7], [5, 7]]  # "a red bird", "blue", each to its end
    siglip = "Siglip" in type(net).__name__
    with torch.no_grad():
        seen = net.get_image_features(pixel_values=(images - mean) / std)
        said = [
            net.get_text_features(input_ids=torch.tensor([row + [0] * (8 - len(row)) if siglip else row]))
            for row in tokens
        ]
    seen, *said = (v if isinstance(v, torch.Tensor) else v.pooler_output for v in (seen, *said))
    torch.testing.assert_close(space.encode_images(images), nn.functional.normalize(seen, dim=1), atol=1e-5, rtol=0)
    want = nn.functional.normalize(torch.cat(said), dim=1)
    torch.testing.assert_close(space.encode_texts(["a red bird", "blue"]), want, atol=1e-5, rtol=0)
    assert space.scale == pytest.approx(net.logit_scale.exp().item())
    assert space.bias == pytest.approx(net.logit_bias.item() if siglip else 0.0) and not space.own_features


def test_crops_of_any_form_are_scaled_whole_and_the_same_weights_are_the_same_space(
    hf: tuple[TextSpace, nn.Module, Path],
) -> None:
    space, _, folder = hf
    grey = torch.full((1, 3, 30, 50), 0.5)
    small = torch.full((1, 3, 16, 16), 0.5)
    torch.testing.assert_close(space.encode_images(grey), space.encode_images(small), atol=1e-5, rtol=0)
    half = torch.zeros(1, 3, 16, 64)
    half[..., :8] = 1  # would be cut off by a crop of the middle
    assert not torch.allclose(space.encode_images(half), space.encode_images(torch.zeros_like(half)), atol=1e-4)
    assert text_space(f"hf:{folder}").fingerprint == space.fingerprint


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "cannot be loaded"),
        (lambda f: (f / "config.json").unlink(), "cannot be loaded"),
        (lambda f: lacking(f), "lacks weights that would be random"),
        (lambda f: other(f), "no space of pictures and phrases"),
    ],
)
def test_a_folder_that_holds_no_whole_space_is_refused(break_it, says, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    saved("clip", tmp_path)
    break_it(tmp_path)
    with pytest.raises(UsageError, match=says):
        text_space(f"hf:{tmp_path}")


def lacking(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if k != "visual_projection.weight"},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def other(folder: Path) -> None:
    import transformers as t

    config = json.loads((folder / "config.json").read_text())["vision_config"]
    t.ViTModel(t.ViTConfig(**{k: config[k] for k in ("hidden_size", "image_size", "patch_size", "num_attention_heads")},
                           num_hidden_layers=1, intermediate_size=24)).save_pretrained(folder)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "module", "says"),
    [
        ("clip:ViT-B-32/openai", "open_clip", "pip install open_clip_torch"),
        ("hf:some/model", "transformers", "pip install transformers"),
    ],
)
def test_a_package_that_is_not_there_is_named_with_the_way_to_get_it(name, module, says, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=says):
        text_space(name)


@pytest.mark.parametrize("name", ["clip:", "clip:ViT-B-32", "hf:"])
def test_a_name_that_says_too_little_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r'"(clip|hf):'):
        text_space(name)


def test_a_model_of_open_clip_with_random_weights(tmp_path: Path) -> None:
    library = pytest.importorskip("open_clip")
    tiny = {
        "embed_dim": 12, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }  # fmt: skip
    (tmp_path / "tiny-of-tests.json").write_text(json.dumps(tiny))
    library.add_model_config(tmp_path)
    torch.manual_seed(0)
    space = text_space("clip:tiny-of-tests/random")
    images = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    seen, said = space.encode_images(images), space.encode_texts(["a red bird", "blue"])
    assert seen.shape == said.shape == (2, 12) and space.scale > 1 and space.bias == 0
    torch.testing.assert_close(space.encode_images(images[1:]), seen[1:], atol=1e-5, rtol=0)
    assert not torch.allclose(said[0], said[1], atol=1e-3)
    with pytest.raises(UsageError, match="cannot be loaded"):
        text_space("clip:no-such-model/random")
