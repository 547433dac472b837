"""Attention within windows of a map; maps are [B, H, W, width] here. Liu et al., 2021 (arXiv:2103.14030)."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers import masks
from catalog.layers.attention import Attention


def pad_to(x, sides: tuple[int, int]):
    """Zeros below and to the right of maps [B, H, W, width] until both sizes divide by ``sides``."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % sides[1], 0, -x.shape[1] % sides[0]))


def partition(x, side: int):
    """Maps [B, H, W, width] cut into windows, row by row: [B * windows, side * side, width]."""
    return x.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3).flatten(0, 2).flatten(1, 2)


def assemble(x, batch: int, rows: int, columns: int, side: int):
    """The inverse of :func:`partition`; ``rows`` and ``columns`` count windows."""
    x = x.unflatten(1, (side, side)).unflatten(0, (batch, rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def relative_index(rows: int, columns: int, window: tuple[int, int], device=None):
    """Which row of a table [(2 h - 1) (2 w - 1), ...] holds each pair of places of a map; int64 [n, n], n = rows * columns.

    Places are counted row by row; the table's rows count the offsets (query minus key) from the most negative on.
    """
    y = torch.arange(rows, device=device).repeat_interleave(columns)
    x = torch.arange(columns, device=device).repeat(rows)
    down = y[:, None] - y[None, :] + window[0] - 1
    right = x[:, None] - x[None, :] + window[1] - 1
    return down * (2 * window[1] - 1) + right


class WindowBias(nn.Module):
    """A learned bias a head for each offset within a window: side (at most ``window``) -> [1, heads, side**2, side**2]."""

    def __init__(self, window, heads):
        super().__init__()
        self.window, self.table = window, nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))

    def forward(self, side):
        index = relative_index(side, side, (self.window, self.window), self.table.device)
        return self.table[index].permute(2, 0, 1)[None]

    def initialise(self, std):
        nn.init.zeros_(self.table)


class TokenWindowBias(nn.Module):
    """A learned bias a head for each offset within a grid of patches, with a token in front: -> [1, heads, 1 + n, 1 + n].

    The last three rows of the table are for the token to a patch, a patch to the token, and the token to itself.
    Bao et al., 2021 (arXiv:2106.08254).
    """

    def __init__(self, grid, heads):
        super().__init__()
        self.grid = grid
        self.table = nn.Parameter(torch.empty((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3, heads))

    def forward(self):
        rows = self.table.shape[0]
        index = F.pad(relative_index(*self.grid, self.grid, self.table.device), (1, 0), value=rows - 2)
        index = F.pad(index, (0, 0, 1, 0), value=rows - 3)
        corner = torch.zeros_like(index, dtype=torch.bool)
        corner[0, 0] = True
        return self.table[index.masked_fill(corner, rows - 1)].permute(2, 0, 1)[None]

    def initialise(self, std):
        nn.init.zeros_(self.table)


class BiasedAttention(Attention):
    """Attention over patches, with keys that have no bias; what ``window`` gives, [1, heads, T, T] (``None``: nothing), is
    added to the scores beside what is handed in."""

    def __init__(self, width, heads, *, window=None, dropout=0.0):
        super().__init__(width, heads, k_bias=False, dropout=dropout)
        self.bias = window

    def forward(self, x, *, bias=None, **context):
        if self.bias is not None:
            bias = self.bias() if bias is None else self.bias() + bias
        return super().forward(x, bias=bias, **context)


class WindowAttention(Attention):
    """Attention within windows of ``window`` places a side, which ``shift`` moves against the map; [B, H, W, width] -> same.

    A map no larger than a window is one window and is not shifted, unless ``whole``: then it is filled up and treated as any
    other. What is filled up takes part as zeros, as the checkpoints were trained.
    """

    def __init__(self, width, heads, window, shift=0, *, whole=False, dropout=0.0):
        super().__init__(width, heads, dropout=dropout)
        self.bias, self.window, self.shift, self.whole = WindowBias(window, heads), window, shift, whole

    def forward(self, x):
        batch, rows, columns = x.shape[:3]
        side, shift = self.window, self.shift
        if not self.whole and min(rows, columns) <= side:
            side, shift = min(rows, columns), 0
        x = pad_to(x, (side, side))
        height, width = x.shape[1:3]
        mask = None
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
            mask = masks.regions(self.regions(height, width, x.device).repeat(batch, 1))
        y = super().forward(partition(x, side), mask=mask, bias=self.bias(side))
        y = assemble(y, batch, height // side, width // side, side)
        if shift:
            y = y.roll((shift, shift), (1, 2))
        return y[:, :rows, :columns]

    def regions(self, height, width, device):
        """After the shift a window may hold places from opposite borders: the region of each, int64 [windows, side**2]."""
        part = [
            (place >= size - self.window).long() + (place >= size - self.shift).long()
            for size in (height, width)
            for place in [torch.arange(size, device=device)]
        ]
        regions = 3 * part[0][:, None] + part[1][None, :]
        return partition(regions[None, :, :, None], self.window)[..., 0]


class PatchMerge(nn.Module):
    """Each square of four places becomes one of twice the width: [B, H, W, width] -> [B, H / 2, W / 2, 2 width]."""

    def __init__(self, width, *, norm):
        super().__init__()
        self.norm, self.reduce = norm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        x = pad_to(x, (2, 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # down first, as published
        return self.reduce(self.norm(torch.cat(corners, -1)))
