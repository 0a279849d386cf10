"""ONNX files as black boxes: only their scores are known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywhy.classifier import GREY
from saywhy.errors import ExtraMissing, ModelError, UsageError
from saywhy.framing import COLOURS
from saywhy.image import Preprocess
from saywhy.zoo.config import Found, Options, resized, said_of
from saywhy.zoo.inputs import assumed_framing, banded, bands_note, check_normalises, grey, values_note
from saywhy.zoo.meaning import last_of_onnx

MOST_BANDS = 64  # more channels are features, not a picture
BYTES = "the file takes bytes: values go in from 0 to 255, and it normalises by itself"
COLOURS_FIRST = "the file does not say where its colours are: they go in first, (N, 3, H, W), as in nearly all"

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, eq=False)
class OnnxScores:
    """Images (N, 3, H, W) in [0, 1] -> scores (N, C) of an ONNX session; normalises, and orders axes, by itself.

    A file with a fixed batch size is run in steps of it, the last one filled up with zeros.
    """

    session: Any
    preprocess: Preprocess
    channels_last: bool
    batch: int | None
    dtype: Any

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N, C)."""
        x = images.detach().cpu().numpy().astype(np.float32)
        if self.dtype is np.uint8:  # such files normalise inside
            x = np.clip(np.round(x * 255), 0, 255)
        else:
            mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.preprocess.mean, self.preprocess.std))
            x = (x - mean) / std
        if self.preprocess.channels == "L":
            x = np.tensordot(np.asarray(GREY, np.float32), x, axes=(0, 1))[:, None]
        if self.channels_last:
            x = x.transpose(0, 2, 3, 1)
        x = np.ascontiguousarray(x.astype(self.dtype))
        step = self.batch or len(x)
        parts = [self._run(x[i : i + step], step if self.batch else None) for i in range(0, len(x), step)]
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))

    def _run(self, x: np.ndarray[Any, Any], fill_to: int | None) -> np.ndarray[Any, Any]:
        rows = len(x)
        if fill_to is not None and rows < fill_to:
            x = np.concatenate([x, np.zeros((fill_to - rows, *x.shape[1:]), x.dtype)])
        outputs = self.session.run(None, {self.session.get_inputs()[0].name: x})
        scores: np.ndarray[Any, Any] | None = next((o for o in outputs if _scores(o)), None)
        if scores is None:
            shapes = [getattr(o, "shape", type(o).__name__) for o in outputs]
            raise ModelError(f"the ONNX file returned {shapes}; expected class scores (N, C) among them")
        return scores[:rows]


def _scores(output: Any) -> bool:
    return isinstance(output, np.ndarray) and output.ndim in (1, 2) and output.dtype.kind == "f"


def _scores_name(session: Any) -> str:
    """The name of the output that is taken for the scores: the first of floats and one or two axes."""
    outputs = session.get_outputs()
    flat = (o.name for o in outputs if len(o.shape or ()) in (1, 2) and o.type in _DTYPES)
    return str(next(flat, outputs[0].name))


def load_onnx(name: str, options: Options) -> Found:
    """An ONNX file; layout, size, element type and batch size are read from its first input.

    Raises:
        ExtraMissing: onnxruntime is not installed.
        UsageError: missing or broken file, no input of images, or another size than the file's.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as e:
        raise ExtraMissing(str(e.name), "onnx", f"onnx:{name}") from e
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"onnx:{name}: no such file")
    try:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise UsageError(f"onnx:{name}: not an ONNX file that onnxruntime can run ({said_of(e)})") from e
    inputs = session.get_inputs()
    shape, dtype = inputs[0].shape, _DTYPES.get(inputs[0].type)
    channels, last = _channels(shape)
    if len(inputs) != 1 or dtype is None or channels is None:
        taken = "; ".join(f"{i.type} {i.shape}" for i in inputs)
        raise UsageError(
            f"onnx:{name}: it takes {taken}; expected images alone, (N, 3, H, W) or (N, H, W, 3), of 1 to {MOST_BANDS} "
            "channels"
        )
    planes = replace(Preprocess(), bands=options.bands).planes
    if options.bands and channels not in (planes, len(options.bands)):
        raise UsageError(f"onnx:{name} takes {channels} channels, and bands names {len(options.bands)}")
    fixed = tuple(v if isinstance(v, int) and v > 0 else None for v in (shape[1:3] if last else shape[2:4]))
    usual = options.size or Preprocess().size
    size = (fixed[0] or usual[0], fixed[1] or usual[1])
    if options.size is not None and size != options.size:
        raise UsageError(f"onnx:{name} takes {size[0]} x {size[1]} pixels only; leave `size` out")
    found = Preprocess(size=size, resize=round(min(size) * 256 / 224))
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    notes: tuple[str, ...] = ()
    if channels == 1:
        found, notes = grey(resized(found, options), options), ("the file takes one channel: photos are turned grey",)
    elif channels not in COLOURS:
        found = banded(replace(found, bands=options.bands), channels, options)
        notes = () if options.bands else (bands_note("file", found),)
    how = resized(found, options)
    notes += tuple(assumed_framing(how, options, known=() if None in fixed else ("size",)))
    if dtype is np.uint8:
        check_normalises(f"onnx:{name}", options)
        notes += (BYTES,)
    elif options.mean is None:
        notes += (values_note(found),)
    if not isinstance(shape[1], int) and shape[3] not in COLOURS:
        notes += (COLOURS_FIRST,)
    return Found(
        OnnxScores(session, how, last, batch, dtype), f"onnx:{path.name}", None, found, fingerprint=_hash(path),
        batch_size=batch, last=last_of_onnx(path, _scores_name(session)), notes=notes, framed=True,
    )  # fmt: skip


def _channels(shape: Sequence[Any]) -> tuple[int | None, bool]:
    """How many channels an input takes, and whether they are its last axis; None where it is no image."""
    if len(shape) != 4:
        return None, False
    first, last = (side if isinstance(side, int) and side > 0 else None for side in (shape[1], shape[3]))
    if first is None:  # nobody says: colours in front, as nearly all have them, unless they stand behind
        return (last, True) if last in COLOURS else (3, False)
    count, behind = (last, True) if last is not None and last < first else (first, False)
    return (count if count <= MOST_BANDS else None), behind


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    for part in sorted(path.parent.glob(f"{path.name}*")):  # large weights lie in files beside it: FILE.data
        digest.update(part.read_bytes() if part.is_file() else b"")
    return digest.hexdigest()
