"""Attention: the weights (N, heads, T, T) that a transformer's blocks use, whichever function computes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saywhy.errors import UsageError
from saywhy.hooks import untouched
from saywhy.outputs import Read, logits_of


class _Attention(TorchFunctionMode):
    """Records softmax attention (N, heads, T, T), and makes the first one a leaf from which the graph starts.

    Fused kernels never show their weights: they are computed in the open here, as torch documents them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _open_attention(self.keep, *args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        out = func(*args, **kwargs)
        if func in _SOFTMAXES and out.dim() == 4:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            return self.keep(out) if dim in (-1, 3) else out
        return out

    def keep(self, weights: Tensor) -> Tensor:
        if weights.dim() != 4 or weights.shape[2] != weights.shape[3]:
            return weights  # other queries than the tokens, as where learned ones pool them
        torch.set_grad_enabled(True)
        if not weights.requires_grad:
            weights = weights.detach().requires_grad_()
        self.weights.append(weights)
        return weights

    def _multi_head(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        names = list(inspect.signature(F.multi_head_attention_forward).parameters)
        given: dict[str, Any] = dict(zip(names, (query, key, value, *args), strict=False)) | kwargs
        asked, averaged = given.get("need_weights", True), given.get("average_attn_weights", True)
        if given["bias_k"] is not None or given["add_zero_attn"]:
            raise UsageError("attention with added key tokens (bias_k, add_zero_attn) is not understood")
        shown = F.multi_head_attention_forward(**given | {"need_weights": True, "average_attn_weights": False})[1]
        assert shown is not None
        # The weights that torch returns are not the ones that it used, as far as gradients go: multiply them again.
        weights = self.keep(shown if shown.dim() == 4 else shown[None])
        E = query.shape[-1]
        w_in, b_in = given["in_proj_weight"], given["in_proj_bias"]
        w_v = given["v_proj_weight"] if given.get("use_separate_proj_weight") else w_in[2 * E :]
        v = F.linear(value, w_v, None if b_in is None else b_in[2 * E :])
        v = v if v.dim() == 3 else v[:, None]
        v = v.reshape(*v.shape[:2], given["num_heads"], -1).permute(1, 2, 0, 3)  # (N, heads, T, d)
        out = F.linear((weights @ v).permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"])
        shown = weights.mean(dim=1) if averaged else weights
        if query.dim() == 2:
            out, shown = out[:, 0], shown[0]
        return out, shown if asked else None


_SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax}


def _open_attention(
    keep: Callable[[Tensor], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention` without dropout, its weights handed to `keep`."""
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        logits = logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).triu(1), float("-inf"))
    if attn_mask is not None:
        blocked = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, float("-inf")) if blocked else logits + attn_mask
    return keep(logits.softmax(dim=-1)) @ value


@contextmanager
def recording_attention() -> Iterator[list[Tensor]]:
    """Collects the attention weights (N, heads, T, T) of what runs inside, in order, with the graph that joins them.

    Understands `F.scaled_dot_product_attention`, `nn.MultiheadAttention` and a softmax written out.
    """
    mode = _Attention()
    with mode:
        yield mode.weights


def attend(net: nn.Module, inputs: Tensor, scores_of: Read = logits_of) -> tuple[Tensor, list[Tensor]]:
    """One forward pass: scores and every block's attention weights (N, heads, T, T), with the graph between them."""
    with untouched(net), torch.inference_mode(False), torch.no_grad():
        images = inputs.clone() if inputs.is_inference() else inputs
        with recording_attention() as weights:
            scores = scores_of(net(images))
    return scores, weights
