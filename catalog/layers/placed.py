"""Attention whose positions are vectors added to what asks and to what is found, never to what is read (DETR)."""

from torch import nn

from catalog.layers.attention import Attention
from catalog.layers.blocks import Stack


class PlacedAttention(Attention):
    """As :class:`Attention`; ``positions`` [B, T, width] and ``memory_positions`` [B, S, width] are added before q and k."""

    def forward(self, x, memory=None, *, mask=None, positions=None, memory_positions=None, bias=None, cache=None):
        if memory is None:
            memory, memory_positions = x, positions
        q = self._split(self.q(x + positions))
        k = self._split(self.k(memory + memory_positions))
        v = self._split(self.v(memory))
        y = self.attend(q, k, v, mask, bias=bias, scale=self.scale, dropout=self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(2))


class PlacedCrossPostNorm(nn.Module):
    """As :class:`catalog.layers.CrossPostNorm` over placed attention; the memory has positions of its own."""

    def __init__(self, *, attn, cross, mlp, norm1, norm2, norm3, dropout=0.0):
        super().__init__()
        self.attn, self.cross, self.mlp = attn, cross, mlp
        self.norm1, self.norm2, self.norm3 = norm1, norm2, norm3
        self.drop = nn.Dropout(dropout)

    def forward(self, x, memory, *, memory_mask, positions, memory_positions, cache=None):
        x = self.norm1(x + self.drop(self.attn(x, positions=positions)))
        seen = self.cross(x, memory, mask=memory_mask, positions=positions, memory_positions=memory_positions)
        x = self.norm2(x + self.drop(seen))
        return self.norm3(x + self.drop(self.mlp(x)))


class Side(nn.Module):
    """Encoder or decoder: blocks, each skipped with probability ``skip`` in training, and the norm behind them, if any."""

    def __init__(self, blocks, *, skip, norm=None):
        super().__init__()
        self.layers, self.norm = Stack(blocks, skip=skip), norm or nn.Identity()

    def forward(self, x, *memory, **context):
        return self.norm(self.layers(x, *memory, **context))
