"""Losses as sums over real targets, so that no split of a batch can change them.

Every loss is a :class:`Term`: the sum over its targets, the number of targets, and the weight of the term in the total.
The published mean is ``weight * total / count``, summed over terms. A trainer that splits a batch adds the totals of all
parts and divides by the count of the whole.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.chunked import Chunked

IGNORE = -100  # the published label of a position without a target


class Term(NamedTuple):
    """One part of a loss: ``total`` (sum over targets), ``count`` (number of targets), ``weight`` in the total loss."""

    total: Tensor
    count: Tensor | float
    weight: float = 1.0


def mean(terms: dict[str, Term]) -> Tensor:
    """The published loss: the weighted sum of each term's mean. A term without targets is NaN, as published."""
    return sum(term.weight * term.total / term.count for term in terms.values())


def count(labels: Tensor, ignore: int = IGNORE) -> Tensor:
    """Number of real targets in ``labels``; scalar int64."""
    return (labels != ignore).sum()


def cross_entropy(logits: Tensor | Chunked, labels: Tensor, ignore: int = IGNORE) -> Term:
    """logits [..., classes], labels [...] with ``ignore`` where there is no target."""
    if isinstance(logits, Chunked):
        return Term(logits.cross_entropy(labels, ignore), count(labels, ignore))
    total = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=ignore, reduction="sum")
    return Term(total, count(labels, ignore))


def next_token(logits: Tensor | Chunked, labels: Tensor, lengths: Tensor | None = None) -> Term:
    """Cross entropy of each position's logits [B, T, vocab] against the label [B, T] one to the right.

    ``lengths`` [n] are those of the sequences of an unpadded batch: the first label of each is nobody's target.
    """
    labels = shifted(labels, lengths)
    return cross_entropy(logits, labels)


def shifted(labels: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Labels [B, T] moved one to the left; the last position of every sequence has no target."""
    moved = F.pad(labels[..., 1:], (0, 1), value=IGNORE)
    if lengths is None:
        return moved
    ends = torch.as_tensor(lengths, device=labels.device).cumsum(0) - 1
    return moved.index_fill(1, ends, IGNORE)


def mean_squared(predictions: Tensor, labels: Tensor) -> Term:
    """Squared differences of ``predictions`` and ``labels``, which must have equally many elements."""
    predictions, labels = predictions.flatten(), labels.flatten()
    return Term(
        F.mse_loss(predictions, labels.to(predictions.dtype), reduction="sum"), labels.new_tensor(labels.numel())
    )


def binary(logits: Tensor, labels: Tensor) -> Term:
    """Independent yes/no decisions; logits and labels [B, classes]. The count is that of the decisions."""
    total = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="sum")
    return Term(total, torch.tensor(labels.numel(), device=labels.device))
