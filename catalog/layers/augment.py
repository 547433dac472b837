"""Random hiding of parts of the input while training, as tensor operations: no draw changes the graph."""

import torch
from torch import Tensor
from torch.nn import functional as F


def random_spans(
    shape, rate: float, size: int, *, least: int = 0, lengths: Tensor | None = None, device=None
) -> Tensor:
    """Bool [B, T], True within spans of ``size`` that cover about ``rate`` of each row, overlaps counted twice.

    At least ``least`` spans a row, as far as they fit; ``lengths`` [B] keeps them off the padding behind each row.
    Park et al., 2019, SpecAugment (arXiv:1904.08779).
    """
    batch, length = shape
    if length < size:
        return torch.zeros(batch, length, dtype=torch.bool, device=device)
    real = torch.full((batch,), length, device=device) if lengths is None else lengths
    count = (rate * real / size + torch.rand((), device=device)).floor().clamp_min(least).minimum(real // size)
    most = min(max(int(rate * length / size + 1), least), length - size + 1)
    room = torch.arange(length - size + 1, device=device) < (real - size + 1)[:, None]
    order = torch.rand(room.shape, device=device).masked_fill(~room, -1.0)
    starts = order.topk(most).indices
    kept = torch.arange(most, device=device) < count[:, None]
    begun = torch.zeros(room.shape, device=device).scatter(1, starts, kept.float())
    return F.max_pool1d(F.pad(begun, (size - 1, size - 1))[:, None], size, stride=1)[:, 0] > 0
