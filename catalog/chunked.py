"""Scores over a large vocabulary that are formed a piece at a time, or only when somebody asks for them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint


class Chunked:
    """Stands where a head's logits [..., vocab] would: ``states`` [..., width], and ``project``, which makes logits of them.

    The loss of :mod:`catalog.losses` and ``argmax`` form the logits of ``chunk`` positions at a time. The loss's backward pass
    forms them once more, so that neither pass holds more than a piece; value and gradients are those of the plain loss but
    for the order of additions. Anything else done to it is done to the logits, which are then formed all at once.
    """

    def __init__(self, states: Tensor, project: Callable[[Tensor], Tensor], chunk: int):
        self.states, self.project, self.chunk = states, project, chunk

    def whole(self) -> Tensor:
        """The logits [..., vocab]."""
        return self.project(self.states)

    def cross_entropy(self, labels: Tensor, ignore: int) -> Tensor:
        """Cross entropy against ``labels`` [...], summed over those that are not ``ignore``."""
        totals = [
            checkpoint(self._piece, states, aims, ignore, use_reentrant=False, preserve_rng_state=False)
            for states, aims in zip(self._pieces(), labels.flatten().split(self.chunk), strict=True)
        ]
        return torch.stack(totals).sum()

    def argmax(self, dim: int = -1) -> Tensor:
        """The vocabulary entry with the highest score at each position, [...]."""
        if dim not in (-1, self.states.dim() - 1):
            return self.whole().argmax(dim)
        found = [self.project(piece).argmax(-1) for piece in self._pieces()]
        return torch.cat(found).view(self.states.shape[:-1])

    def _pieces(self) -> Iterator[Tensor]:
        yield from self.states.flatten(0, -2).split(self.chunk)

    def _piece(self, states: Tensor, labels: Tensor, ignore: int) -> Tensor:
        logits = self.project(states)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()  # pieces are added up: in half formats the later ones would count for less
        return F.cross_entropy(logits, labels, ignore_index=ignore, reduction="sum")

    def __getattr__(self, name: str):
        if name.startswith("__"):  # of Python's own protocols, as copying
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def __getitem__(self, index) -> Tensor:
        return self.whole()[index]


pytree.register_pytree_node(  # sharded models look for tensors in what they return
    Chunked,
    lambda c: ([c.states], (c.project, c.chunk)),
    lambda states, rest: Chunked(*states, *rest),
    serialized_type_name="catalog.chunked.Chunked",
)
