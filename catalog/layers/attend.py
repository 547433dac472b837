"""The one function through which every model attends, and the kernels behind it.

``auto`` takes the fastest that can do the call: a variable-length kernel for unpadded batches (on a GPU; on a CPU rows of
like length, padded for the attention alone), PyTorch's fused scaled-dot-product attention otherwise. ``explicit``
writes the formula out: it is what runs when attention weights are asked for.
"""

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.errors import ConfigError, did_you_mean
from catalog.layers.masks import Mask, Packed

KERNELS = ("auto", "sdpa", "explicit", "flex")
_kernel = "auto"
_weights: list[Tensor] | None = None  # where recorded attention weights go; None: nobody asked


def use_kernel(name: str) -> None:
    """Choose the attention kernel of this process: one of ``KERNELS``. Raises ConfigError on another name."""
    global _kernel
    if name not in KERNELS:
        raise ConfigError(f"no attention kernel '{name}'{did_you_mean(name, KERNELS)}. Kernels: {', '.join(KERNELS)}")
    _kernel = name


@contextmanager
def recorded_weights(into: list[Tensor]):
    """Within the block every call of :func:`attend` appends its weights [B, heads, T, S] to ``into``."""
    global _weights
    before, _weights = _weights, into
    try:
        yield into
    finally:
        _weights = before


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None = None,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale * q k' + bias, where allowed) v, with any number of key/value heads that divides the queries'.

    q [B, heads, T, d], k and v [B, kv_heads, S, d], bias float broadcastable to [B, heads, T, S] -> [B, heads, T, d].
    ``scale`` defaults to d**-0.5; ``dropout`` is the rate applied to the weights (pass 0.0 outside training).
    Vaswani et al., 2017 (arXiv:1706.03762).
    """
    mask = Mask() if mask is None else mask
    if _weights is not None or _kernel == "explicit":
        return _explicit(q, k, v, mask, bias, scale, dropout)
    if isinstance(mask, Packed) and bias is None and q.shape[2] == k.shape[2] and _kernel == "auto":
        return _varlen(q, k, v, mask, scale) if q.is_cuda and not dropout else _grouped(q, k, v, mask, scale, dropout)
    if _kernel == "flex" and bias is None and not dropout:
        return _flex(q, k, v, mask, scale)
    return _sdpa(q, k, v, mask, bias, scale, dropout)


def _sdpa(q, k, v, mask, bias, scale, dropout):
    queries, keys = q.shape[2], k.shape[2]
    # the fused kernel skips the upper half unasked; bool(), as an exported length compares to a symbol
    is_causal = bool(mask.triangle and bias is None and queries == keys)
    allowed = None if is_causal else mask.allowed(queries, keys, q.device)
    if bias is not None:
        bias = bias.to(q.dtype)
        allowed = bias if allowed is None else torch.where(allowed, bias, torch.finfo(q.dtype).min)
    return F.scaled_dot_product_attention(
        q, k, v, allowed, dropout, is_causal, scale=scale, enable_gqa=bool(k.shape[1] != q.shape[1])
    )


def _explicit(q, k, v, mask, bias, scale, dropout):
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    allowed = mask.allowed(q.shape[2], k.shape[2], q.device)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    if _weights is not None:
        _weights.append(weights)
    return F.dropout(weights, dropout) @ v


def _grouped(q, k, v, mask, scale, dropout):
    """Unpadded sequences where there is no kernel for them: rows of like length, padded for the attention alone."""
    tokens = [t[0].transpose(0, 1) for t in (q, k, v)]
    parts = [
        group.unpad(_sdpa(*(group.pad(t) for t in tokens), group.mask, None, scale, dropout)) for group in mask.groups()
    ]
    return torch.cat(parts).transpose(0, 1)[None]


def _varlen(q, k, v, mask, scale):
    """Unpadded sequences on a GPU; [total, heads, d] as the kernel wants them."""
    from torch.nn.attention.varlen import varlen_attn

    ends = F.pad(mask.lengths.cumsum(0), (1, 0)).to(q.device, torch.int32)
    longest = int(mask.lengths.max())
    q, k, v = (t[0].transpose(0, 1).contiguous() for t in (q, k, v))
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    window = (-1 if mask.window is None else mask.window - 1, 0) if mask.causal else (-1, -1)
    y = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scale, window_size=window)
    return y.transpose(0, 1)[None]


def _flex(q, k, v, mask, scale):
    """PyTorch's flex attention over the same mask; compiled on first use."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    allowed = mask.allowed(q.shape[2], k.shape[2], q.device)
    block = None
    if allowed is not None:
        allowed = allowed.expand(q.shape[0], 1, q.shape[2], k.shape[2])
        block = create_block_mask(
            lambda b, h, i, j: allowed[b, 0, i, j], q.shape[0], None, q.shape[2], k.shape[2], device=q.device
        )
    return flex_attention(q, k, v, block_mask=block, scale=scale, enable_gqa=k.shape[1] != q.shape[1])
