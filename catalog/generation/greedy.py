"""One text a row, token by token: the best one each time, or one drawn."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from catalog.generation.cache import Steps
from catalog.generation.rules import Rule, apply
from catalog.generation.stop import Ends


def write(
    steps: Steps, ids: Tensor, rules: list[Rule], pick: Callable[[Tensor], Tensor], ends: Ends, limit: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (tokens [R], scores [R, vocab]) until every text has ended or is ``limit`` tokens long.

    ids [R, T] is the prompt; ``pick`` makes tokens [R] of scores. A text that has ended goes on with -1.
    """
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(ids.shape[1], limit):
        scores = apply(rules, ids, steps(ids))
        tokens = pick(scores).masked_fill(ended, -1)
        yield tokens, scores
        ended = ended | ends(tokens)
        if ended.all():
            return
        ids = torch.cat([ids, tokens[:, None]], 1)
