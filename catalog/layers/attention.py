"""Multi-head attention over states, with any number of key/value heads."""

from torch import nn

from catalog.layers.attend import attend


class Attention(nn.Module):
    """Multi-head attention; self-attention when ``memory`` is ``None``.

    x          [B, T, width]   the positions that ask
    memory     [B, S, memory_width]   the positions that are read
    mask       :class:`catalog.layers.masks.Mask` over the S keys
    positions  [1 or B, T]   used by ``rotary`` only
    bias       float, broadcastable to [B, heads, T, S], added to the scaled scores
    cache      :class:`catalog.layers.cache.LayerCache`, or its ``memory()`` for cross attention
    returns    [B, T, width]

    Heads are counted where they are used, so that a layer whose projections hold a part of the heads computes that part.
    Vaswani et al., 2017 (arXiv:1706.03762). Fewer key/value heads: Ainslie et al., 2023 (arXiv:2305.13245).
    """

    attend = staticmethod(attend)  # who divides heads or tokens among processes wraps it, layer by layer

    def __init__(
        self, width, heads, *, kv_heads=None, head_dim=None, memory_width=None, bias=True, k_bias=True, rotary=None,
        scale=None, dropout=0.0,
    ):  # fmt: skip
        super().__init__()
        head_dim, kv_heads = head_dim or width // heads, kv_heads or heads
        memory_width = memory_width or width
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q = nn.Linear(width, heads * head_dim, bias=bias)
        self.k = nn.Linear(memory_width, kv_heads * head_dim, bias=bias and k_bias)  # Whisper, BEiT: without
        self.v = nn.Linear(memory_width, kv_heads * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, width, bias=bias)
        self.rotary, self.dropout = rotary, dropout
        self.scale = head_dim**-0.5 if scale is None else scale  # T5 passes 1.0

    def forward(self, x, memory=None, *, mask=None, positions=None, bias=None, cache=None):
        q = self._split(self.q(x))
        if memory is not None and cache is not None and cache.filled:
            k, v = cache.read()
        else:
            source = x if memory is None else memory
            k, v = self._split(self.k(source)), self._split(self.v(source))
            if self.rotary is not None:
                q, k = self.rotary(q, k, positions)
            if cache is not None:
                k, v = cache.append(k, v)
        y = self.attend(q, k, v, mask, bias=bias, scale=self.scale, dropout=self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
