"""A whole model on every process, a share of each batch for each."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from trainer.options import OptimOptions
from trainer.strategies.base import Fill
from trainer.strategies.buckets import Buckets
from trainer.strategies.several import Several, alike


class Ddp(Several):
    """See :class:`trainer.strategies.base.Strategy`. Weights and optimizer are equal on all processes at all times."""

    def setup(self, model: nn.Module, fill: Fill | None = None) -> nn.Module:
        return alike(super().setup(model, fill))

    def optimizer(self, options: OptimOptions) -> None:
        super().optimizer(options)
        self.buckets = Buckets(self.params, reduce=self.precision.reduce)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.buckets.armed = False
        try:
            yield
        finally:
            self.buckets.armed = True

    def reduce(self) -> None:
        self.buckets.finish()
