"""Running averages of normalisations (Ioffe and Szegedy, 2015, arXiv:1502.03167) where processes share a batch.

Each process normalises by the rows it has, as PyTorch's data parallelism does: with such layers a loss depends on how a batch
is split, the one thing that is not exact. The averages that evaluation uses are kept equal on all processes, and no row
that only stands in for an empty share gets into them.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.strategies.base import Strategy


class Running:
    """The running averages of ``model``; a model without any costs nothing."""

    def __init__(self, model: nn.Module, strategy: Strategy):
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        self.strategy = strategy

    def listen(self, wanted: bool) -> None:
        """Whether the pass that comes moves the averages; one that does not is normalised by them."""
        for norm in self.norms:
            norm.train(wanted)

    @torch.no_grad()
    def join(self, rows: int) -> None:
        """After the passes of a step: the mean over processes, each by the ``rows`` it had. All call it together."""
        self.listen(True)
        if not self.norms or self.strategy.shard_of_batch()[1] == 1:
            return
        averages: list[Tensor] = [b for norm in self.norms for b in (norm.running_mean, norm.running_var)]
        flat = torch.cat([b.flatten() for b in averages]).double() * rows
        *summed, total = self.strategy.total(torch.cat([flat, flat.new_tensor([rows])])).split(
            [*(b.numel() for b in averages), 1]
        )
        for average, part in zip(averages, summed):
            average.copy_((part / total).view_as(average))
