"""Contrastive search: of the likeliest tokens the one whose state is least like those of the text so far.

Su et al., 2022, "A Contrastive Framework for Neural Text Generation" (arXiv:2202.06417).
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.generation.cache import Steps
from catalog.generation.rules import Rule, apply
from catalog.generation.stop import Ends


def write(
    steps: Steps, ids: Tensor, rules: list[Rule], ends: Ends, limit: int, *, count: int, alpha: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (tokens [B], scores [B, vocab]) as :func:`catalog.generation.greedy.write` does.

    A candidate's worth is (1 - alpha) * its probability - alpha * its largest cosine similarity to a state of the text;
    each of ``count`` candidates is computed. The states of padding are not the text's (as first published they counted).
    """
    batch, ended = len(ids), torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    first = torch.arange(batch, device=ids.device) * count
    logits = steps(ids)
    context, real = F.normalize(steps.states.float(), dim=-1), ids >= 0
    for _ in range(ids.shape[1], limit):
        scores = apply(rules, ids, logits)
        chances, candidates = scores.softmax(-1).topk(count)
        steps.select(torch.arange(batch, device=ids.device).repeat_interleave(count))
        logits = steps(torch.cat([ids.repeat_interleave(count, 0), candidates.reshape(-1, 1)], 1))
        states = F.normalize(steps.states[:, -1].float(), dim=-1)
        likeness = states.unflatten(0, (batch, count)) @ context.transpose(1, 2)  # [B, count, T]
        likeness = likeness.masked_fill(~real[:, None], -torch.inf).amax(-1)
        best = ((1 - alpha) * chances - alpha * likeness).argmax(-1)
        chosen = first + best
        tokens = candidates.gather(1, best[:, None])[:, 0].masked_fill(ended, -1)
        yield tokens, scores
        ended = ended | ends(tokens)
        if ended.all():
            return
        steps.select(chosen)
        logits, context = logits[chosen], torch.cat([context, states[chosen][:, None]], 1)
        ids, real = torch.cat([ids, tokens[:, None]], 1), F.pad(real, (0, 1), value=True)
