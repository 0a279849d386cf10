"""Text spaces that others trained on pictures and their captions: by open_clip, and by transformers (CLIP, SigLIP).

Neither is needed to install saywhy; a space is loaded when it is asked for. N images (N, 3, H, W) in [0, 1], T texts, d
dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saywhy.errors import ExtraMissing, UsageError
from saywhy.identity import told_of


@dataclass(frozen=True, eq=False)
class Pair:
    """Both encoders of a space, images to (N, d) and texts to (T, d), and the network that they are of."""

    images: Callable[[Tensor], Tensor]
    texts: Callable[[Sequence[str]], Tensor]
    net: nn.Module

    @property
    def scale(self) -> float:
        """What cosines are multiplied by."""
        return float(self.net.logit_scale.exp())  # type: ignore[operator]

    @property
    def bias(self) -> float:
        """What is added, 0 where the network was not trained to say whether a text is true (CLIP)."""
        bias = getattr(self.net, "logit_bias", None)
        return 0.0 if bias is None else float(bias)

    @property
    def fingerprint(self) -> str:
        """Hash of modules and weights."""
        made = hashlib.sha256()
        for told in told_of(self.net):
            made.update(told)
        return made.hexdigest()[:16]


def open_clip_pair(name: str) -> Pair:
    """A model of open_clip with weights: "ViT-B-32/laion2b_s34b_b79k"; "ViT-B-32/random" has random ones.

    Raises:
        ExtraMissing: open_clip is not installed.
        UsageError: no such model or weights.
    """
    model, _, weights = name.partition("/")
    if not model or not weights:
        raise UsageError(f'a model of open_clip and its weights: "clip:ViT-B-32/laion2b_s34b_b79k", not {name!r}')
    library = _library("open_clip", "open_clip_torch", f"clip:{name}")
    tag = None if weights == "random" else weights

    def load() -> tuple[Any, Any]:
        return library.create_model(model, pretrained=tag).eval().requires_grad_(False), library.get_tokenizer(model)

    net, read = _loaded(f"clip:{name}", load)
    how = library.get_model_preprocess_cfg(net)
    side = how["size"]
    seen = _scaled((side, side) if isinstance(side, int) else tuple(side), how["mean"], how["std"])
    return Pair(lambda images: net.encode_image(seen(images)), lambda texts: net.encode_text(read(list(texts))), net)


def transformers_pair(name: str) -> Pair:
    """A CLIP or SigLIP of transformers, by hub id or folder; weights from safetensors alone.

    Raises:
        ExtraMissing: transformers is not installed.
        UsageError: no such model, one of another kind, or one that lacks weights, which would be random.
    """
    if not name:
        raise UsageError('a hub id or a folder: "hf:openai/clip-vit-base-patch32"')
    library = _library("transformers", "transformers", f"hf:{name}")
    local = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}

    def load() -> tuple[Any, Mapping[str, Any], Any, Any]:
        net, told = library.AutoModel.from_pretrained(name, use_safetensors=True, output_loading_info=True, **local)
        read = library.AutoTokenizer.from_pretrained(name, **local)
        return net.eval().requires_grad_(False), told, read, library.AutoImageProcessor.from_pretrained(name, **local)

    net, told, read, how = _loaded(f"hf:{name}", load)
    if not all(hasattr(net, part) for part in ("get_image_features", "get_text_features", "logit_scale")):
        raise UsageError(f"hf:{name} is a {type(net).__name__}: no space of pictures and phrases, as CLIP is")
    if told["missing_keys"]:
        raise UsageError(f"hf:{name} lacks weights that would be random: {', '.join(sorted(told['missing_keys'])[:4])}")
    side, longest = net.config.vision_config.image_size, net.config.text_config.max_position_embeddings
    seen = _scaled((side, side), how.image_mean, how.image_std)
    # SigLIP was trained on texts of one length, filled up, and looks at the filling.
    siglip = "siglip" in net.config.model_type
    filled, keys = ("max_length", ("input_ids",)) if siglip else ("longest", ("input_ids", "attention_mask"))

    def texts(said: Sequence[str]) -> Tensor:
        words = read(list(said), padding=filled, truncation=True, max_length=longest, return_tensors="pt")
        return _vectors(net.get_text_features(**{key: words[key] for key in keys if key in words}))

    return Pair(lambda images: _vectors(net.get_image_features(pixel_values=seen(images))), texts, net)


def _vectors(found: Any) -> Tensor:
    """From transformers 5 on the vectors lie in a record."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors


def _scaled(size: tuple[int, ...], mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Crops of any form as the network sees them; nothing is cut off, because the crop is what is meant."""
    centre, spread = (torch.tensor(v)[:, None, None] for v in (mean, std))

    def scaled(images: Tensor) -> Tensor:
        x = F.interpolate(images.cpu(), size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        return (x - centre) / spread

    return scaled


def _library(module: str, package: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError as e:
        if package == "transformers":
            raise ExtraMissing(package, "hf", what) from e
        raise UsageError(f"{what} needs the package {module!r}: pip install {package}") from e


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as e:
        told = (str(e).strip() or "no reason given").split("\n")[0]
        raise UsageError(f"{name} cannot be loaded ({type(e).__name__}: {told})") from e
