"""What a user may give as a network: what is wrapped around it, where it lies, what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saywhy.errors import UsageError

DYNAMIC = "torch.ao.nn.quantized.dynamic"  # layers that choose their scale by all that they are given
SINGLY = "its int8 layers choose their scale by the whole batch: it is asked about one image at a time"
TAKES = {nn.Conv1d: "signals (N, {}, T)", nn.Conv2d: "images of {} channels", nn.Conv3d: "volumes of {} channels"}


def original(net: Any) -> Any:
    """A network as it was written: what `torch.compile`, `torch.export` or data parallelism put around it is off.

    Raises:
        UsageError: it has no weights (the meta device).
    """
    if isinstance(net, nn.Module) and any(p.is_meta for p in net.parameters()):
        raise UsageError(
            "the network lies on the meta device and has no weights to ask; give it some first: "
            "net.to_empty(device='cpu'), then net.load_state_dict(weights)"
        )
    if isinstance(net, torch.export.ExportedProgram):
        return net.module()
    if isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return original(net.module)
    compiled = isinstance(net, nn.Module) and type(net).__name__ == "OptimizedModule"
    return original(net._orig_mod) if compiled else net


class OneByOne(nn.Module):
    """A network that is asked about one image at a time, whatever the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        """What the network answers, of any form that `outputs` reads, with the images' axis first."""
        return _joined([self.net(image) for image in torch.split(images, 1)])


def _joined(answers: list[Any]) -> Any:
    first = answers[0]
    if isinstance(first, Tensor):
        return torch.cat(answers)
    if isinstance(first, Mapping):
        return {key: _joined([answer[key] for answer in answers]) for key in first}
    if not isinstance(first, tuple):
        return first
    parts = [_joined(list(part)) for part in zip(*answers, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def is_dynamic(net: object) -> bool:
    """Whether a network's answer to one image depends on its batch, because it was quantised dynamically."""
    return isinstance(net, nn.Module) and any(type(m).__module__.startswith(DYNAMIC) for m in net.modules())


def device_of(net: object) -> str:
    """Where a network lies; a callable that is no module is asked on the CPU."""
    tensors = (t for own in (net.parameters(), net.buffers()) for t in own) if isinstance(net, nn.Module) else iter(())
    first = next(tensors, None)
    return "cpu" if first is None else str(first.device)


def other_input(net: object) -> str | None:
    """What a network's first convolution takes, if that is no RGB picture, and the way out."""
    first = (
        next((m for m in net.modules() if isinstance(m, tuple(TAKES))), None) if isinstance(net, nn.Module) else None
    )
    if first is None or (isinstance(first, nn.Conv2d) and first.in_channels == 3):
        return None
    takes = next(form for kind, form in TAKES.items() if isinstance(first, kind)).format(first.in_channels)
    return (
        f"Its first convolution takes {takes}, and saywhy shows RGB pictures (N, 3, H, W): wrap it in a module whose "
        "forward(x) makes its input of them, such as self.net(x.mean(1, keepdim=True)) for one channel, or "
        "self.net(x[:, :, None].expand(-1, -1, 16, -1, -1)) for a video of 16 frames that stand still"
    )


def tensors_of(answer: Any) -> Any:
    """The answer of a callable that is no module, with tensors where it has NumPy arrays or lists of numbers."""
    if isinstance(answer, dict):
        return {k: tensors_of(v) for k, v in answer.items()}
    if isinstance(answer, tuple):
        return tuple(map(tensors_of, answer))
    plain = isinstance(answer, list) and not any(isinstance(a, Tensor) for a in answer)
    return torch.as_tensor(np.asarray(answer, dtype=np.float32)) if plain or isinstance(answer, np.ndarray) else answer
