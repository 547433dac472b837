"""Drawing the next token at random: what is left of the distribution, and the draw itself.

The classes are rules (see ``rules.py``). Each that cuts leaves at least ``keep`` tokens.
"""

import torch
from torch import Tensor


def _without(scores, cut):
    return scores.masked_fill(cut, -torch.inf)


def _best(scores, count):
    """Bool [R, vocab], True at scores no lower than the ``count``-th best."""
    return scores >= scores.topk(min(count, scores.shape[-1])).values[:, -1:]


class Temperature:
    """Sharpens the distribution below 1, flattens it above."""

    def __init__(self, temperature: float):
        self.temperature = temperature

    def __call__(self, ids, scores):
        return scores / self.temperature


class TopK:
    """Keeps the ``count`` best tokens, and those as good as the last of them. Fan et al., 2018 (arXiv:1805.04833)."""

    def __init__(self, count: int, keep: int = 1):
        self.count = max(count, keep)

    def __call__(self, ids, scores):
        return _without(scores, ~_best(scores, self.count))


class TopP:
    """Keeps the fewest best tokens that together have probability ``mass``. Holtzman et al., 2019 (arXiv:1904.09751)."""

    def __init__(self, mass: float, keep: int = 1):
        self.mass, self.keep = mass, keep

    def __call__(self, ids, scores):
        ordered, order = scores.sort(-1)  # ascending: what is cut comes first
        cut = ordered.softmax(-1).cumsum(-1) <= 1 - self.mass
        cut[:, -self.keep :] = False
        return _without(scores, cut.scatter(1, order, cut))


class MinP:
    """Keeps tokens with at least ``share`` of the best one's probability. Nguyen et al., 2024 (arXiv:2407.01082)."""

    def __init__(self, share: float, keep: int = 1):
        self.share, self.keep = share, keep

    def __call__(self, ids, scores):
        probabilities = scores.softmax(-1)
        cut = probabilities < self.share * probabilities.amax(-1, keepdim=True)
        return _without(scores, cut & ~_best(scores, self.keep))


class Typical:
    """Keeps the tokens whose surprise is nearest to the expected one, up to probability ``mass``.

    Meister et al., 2022 (arXiv:2202.00666).
    """

    def __init__(self, mass: float, keep: int = 1):
        self.mass, self.keep = mass, keep

    def __call__(self, ids, scores):
        logs = scores.log_softmax(-1)
        oddness = (-logs - _entropy(logs)).abs()
        ordered, order = oddness.sort(-1)
        before = logs.exp().gather(1, order).cumsum(-1) < self.mass
        last = before.sum(-1, keepdim=True).clamp_max(scores.shape[-1] - 1)
        cut = ordered > ordered.gather(1, last)
        cut[:, : self.keep] = False
        return _without(scores, cut.scatter(1, order, cut))


class Epsilon:
    """Keeps tokens of at least this probability. Hewitt et al., 2022 (arXiv:2210.15191)."""

    def __init__(self, least: float, keep: int = 1):
        self.least, self.keep = least, keep

    def __call__(self, ids, scores):
        return _without(scores, (scores.softmax(-1) < self.least) & ~_best(scores, self.keep))


class Eta:
    """As Epsilon, the bar lowered where the distribution is flat. Hewitt et al., 2022 (arXiv:2210.15191)."""

    def __init__(self, least: float, keep: int = 1):
        self.least, self.keep = least, keep

    def __call__(self, ids, scores):
        logs = scores.log_softmax(-1)
        least = (self.least**0.5 * (-_entropy(logs)).exp()).clamp_max(self.least)
        return _without(scores, (logs.exp() < least) & ~_best(scores, self.keep))


def _entropy(logs):
    """[R, 1], in nats; what has no probability adds nothing."""
    return -(logs.exp() * logs).nansum(-1, keepdim=True)


def draw(scores: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token a row, with the probabilities that scores [R, vocab] stand for -> [R].

    The largest of p / e with e exponential: as random as a draw from p, without a transfer from the device.
    """
    chances = scores.softmax(-1)
    return (chances / torch.empty_like(chances).exponential_(generator=generator)).argmax(-1)


def draw_several(scores: Tensor, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """``count`` different tokens a row, drawn one after another without putting back -> (scores, tokens), best first."""
    noise = -torch.empty_like(scores).exponential_(generator=generator).log()
    tokens = (scores + noise).topk(count).indices
    drawn, order = scores.gather(1, tokens).sort(-1, descending=True)
    return drawn, tokens.gather(1, order)
