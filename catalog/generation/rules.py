"""Rules over the scores of the next token: each takes the ids so far and the scores, and returns the scores changed.

ids [R, T] int64, -1 where no token stands (padding); scores [R, vocab] fp32, logits or log-probabilities. A rule changes
neither in place. Those that only make sense when drawing at random are in ``sample.py``; the order of all in ``order.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor], Tensor]


def apply(rules: Iterable[Rule], ids: Tensor, scores: Tensor) -> Tensor:
    """The scores after every rule in turn."""
    for rule in rules:
        scores = rule(ids, scores)
    return scores


def _marked(ids: Tensor, size: int) -> Tensor:
    """Bool [R, size], True at the ids of each row; negative ids mark nothing."""
    marks = torch.zeros(len(ids), size + 1, dtype=torch.bool, device=ids.device)
    return marks.scatter_(1, torch.where(ids < 0, size, ids), True)[:, :size]


def _rows(source: Tensor, ids: Tensor) -> Tensor:
    """What belongs to each text [B, S], once for each of the text's rows [R, S]."""
    return source.repeat_interleave(len(ids) // len(source), 0)


def _lowered(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    return scores.index_fill(1, torch.tensor(tokens, device=scores.device), -torch.inf)


class SequenceBias:
    """Adds to the score of a sequence's last token wherever the tokens before it have just been written."""

    def __init__(self, biases: Mapping[Sequence[int], float]):
        self.biases = {tuple(tokens): float(bias) for tokens, bias in biases.items()}

    def __call__(self, ids, scores):
        total = torch.zeros_like(scores)
        for (*before, last), bias in self.biases.items():
            if len(before) <= ids.shape[1]:
                met = (ids[:, ids.shape[1] - len(before) :] == torch.tensor(before, device=ids.device)).all(1)
                total[:, last] += torch.where(met, bias, 0.0)
        return scores + total


class BadWords(SequenceBias):
    """These sequences are never completed; one that is an end token alone is passed over."""

    def __init__(self, words: Iterable[Sequence[int]], ends: Sequence[int] = ()):
        super().__init__({tuple(word): -torch.inf for word in words if tuple(word) not in {(end,) for end in ends}})


class Diversity:
    """Lowers tokens by ``penalty`` for each time that an earlier group of beams took them in this step.

    ``chosen`` [B, n] are those groups' tokens (-1: none), set by the search. Vijayakumar et al., 2016 (arXiv:1610.02424).
    """

    def __init__(self, penalty: float):
        self.penalty, self.chosen = penalty, None

    def __call__(self, ids, scores):
        if self.chosen is None:
            return scores
        vocab, ones = scores.shape[1], torch.ones_like(self.chosen, dtype=scores.dtype)
        count = torch.zeros(len(self.chosen), vocab + 1, device=scores.device)
        count = count.scatter_add_(1, torch.where(self.chosen < 0, vocab, self.chosen), ones)[:, :vocab]
        return scores - self.penalty * _rows(count, scores)


class RepetitionPenalty:
    """Makes tokens that stand in the text less likely (``penalty`` > 1) or more (< 1), whatever the score's sign.

    ``source`` [B, S]: the tokens looked for, instead of those written so far. Keskar et al., 2019 (arXiv:1909.05858).
    """

    def __init__(self, penalty: float, source: Tensor | None = None):
        self.penalty, self.source = penalty, source

    def __call__(self, ids, scores):
        seen = _marked(ids if self.source is None else _rows(self.source, ids), scores.shape[1])
        return torch.where(seen, torch.where(scores < 0, scores * self.penalty, scores / self.penalty), scores)


class NoRepeatNgram:
    """No run of ``size`` tokens is written twice, or, with ``source`` [B, S], taken from there."""

    def __init__(self, size: int, source: Tensor | None = None):
        self.size, self.source = size, source

    def __call__(self, ids, scores):
        source = ids if self.source is None else _rows(self.source, ids)
        if source.shape[1] < self.size or ids.shape[1] < self.size - 1:
            return scores
        runs = source.unfold(1, self.size, 1)  # [R, S - size + 1, size]
        before = ids[:, ids.shape[1] - self.size + 1 :]
        met = ((runs[..., :-1] == before[:, None]) & (before[:, None] >= 0)).all(-1)
        return scores.masked_fill(_marked(torch.where(met, runs[..., -1], -1), scores.shape[1]), -torch.inf)


class NoEndBefore:
    """No end token until the text, with what it began with, is ``length`` tokens long."""

    def __init__(self, length: int, ends: Sequence[int]):
        self.length, self.ends = length, ends

    def __call__(self, ids, scores):
        return _lowered(scores, self.ends) if ids.shape[1] < self.length else scores


class Force:
    """At these lengths of the text the next token is given: length -> one or several equally good ids."""

    def __init__(self, table: Mapping[int, Sequence[int]]):
        self.table = table

    def __call__(self, ids, scores):
        if ids.shape[1] not in self.table:
            return scores
        given = torch.tensor(self.table[ids.shape[1]], device=scores.device)
        return torch.full_like(scores, -torch.inf).index_fill(1, given, 0.0)


class Suppress:
    """These tokens are not written: at one length of the text (``at``), or never."""

    def __init__(self, tokens: Sequence[int], at: int | None = None):
        self.tokens, self.at = tokens, at

    def __call__(self, ids, scores):
        return _lowered(scores, self.tokens) if self.at in (None, ids.shape[1]) else scores


class GrowingEnd:
    """Raises the end tokens' scores by a factor that grows with each token beyond ``start``."""

    def __init__(self, start: int, factor: float, ends: Sequence[int]):
        self.start, self.factor, self.ends = start, factor, ends

    def __call__(self, ids, scores):
        over = ids.shape[1] - self.start
        if over <= 0:
            return scores
        ends = torch.tensor(self.ends, device=scores.device)
        return scores.index_add(1, ends, scores[:, ends].abs() * (self.factor**over - 1))


def finite(ids: Tensor, scores: Tensor) -> Tensor:
    """Not-a-number becomes 0, an infinity the largest or smallest number there is."""
    return torch.nan_to_num(scores, nan=0.0)


def normalise(ids: Tensor, scores: Tensor) -> Tensor:
    """Scores as log-probabilities."""
    return scores.log_softmax(-1)
