"""Beam search: several texts a prompt at a time, the likeliest kept; in one group, or in groups that push each other apart.

Groups: Vijayakumar et al., 2016 (arXiv:1610.02424).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.generation.cache import Steps
from catalog.generation.rules import Diversity, Rule, apply
from catalog.generation.sample import draw_several

FAR = -1e9  # the score of a beam that does not exist yet: all of a prompt's beams begin as the same text


class Plan(NamedTuple):
    """Sizes and choices of one search."""

    beams: int
    groups: int
    limit: int
    ends: tuple[int, ...]
    length_penalty: float = 1.0
    early: bool | str = False
    drawn: bool = False
    generator: torch.Generator | None = None


class Finished:
    """The best texts that have ended, for each prompt: scores [B, size], ids [B, size, limit], -1 behind each end."""

    def __init__(self, batch, size, plan: Plan, device):
        self.plan = plan
        self.scores = torch.full((batch, size), -torch.inf, device=device)
        self.ids = torch.full((batch, size, plan.limit), -1, device=device)
        self.done = torch.zeros(batch, dtype=torch.bool, device=device)

    def worth(self, total, length):
        """The sum of log-probabilities as a score: divided by length ** length_penalty."""
        return total / length**self.plan.length_penalty

    def add(self, total: Tensor, ids: Tensor, length: int, where: Tensor) -> None:
        """Take in texts ids [B, n, T] with ``total`` [B, n] ``where`` [B, n] says so, unless their prompt is done."""
        # an impossible text still comes before an empty place
        scores = self.worth(total, length).clamp_min(torch.finfo(total.dtype).min)
        scores = scores.masked_fill(~where | self.done[:, None], -torch.inf)
        ids = F.pad(ids, (0, self.plan.limit - ids.shape[2]), value=-1)
        order = torch.cat([self.scores, scores], 1).sort(dim=-1, descending=True, stable=True)
        best = order.indices[:, : self.scores.shape[1]]
        self.scores = order.values[:, : self.scores.shape[1]]
        self.ids = torch.cat([self.ids, ids], 1).gather(1, best[..., None].expand(-1, -1, self.plan.limit))

    def settle(self, best: Tensor, length: int) -> None:
        """Close the prompts that no running text can change; best [B] is the best running total at this length."""
        full = self.scores[:, -1] > -torch.inf
        if self.plan.early is not True:
            reach = self.plan.limit if self.plan.early == "never" and self.plan.length_penalty > 0 else length
            full &= self.scores[:, -1] >= self.worth(best, reach)
        self.done |= full


def search(steps: Steps, ids: Tensor, rules: list[Rule], plan: Plan, keep_scores: list | None = None):
    """The best texts of each prompt: (ids [B, beams, T'], scores [B, beams]), best first, -1 behind a text's end.

    ids [B * beams, T]: each prompt once for each of its beams. ``keep_scores`` receives the scores of every step
    [B * beams, vocab].
    """
    size = plan.beams // plan.groups
    batch, device = len(ids) // plan.beams, ids.device
    totals = torch.full((batch, plan.groups, size), FAR, device=device)
    totals[..., 0] = 0.0
    first = torch.arange(batch * plan.groups, device=device).view(batch, plan.groups, 1) * size
    pools = [Finished(batch, size, plan, device) for _ in range(plan.groups)]
    diversity = next((rule for rule in rules if isinstance(rule, Diversity)), None)
    while True:
        logs = steps(ids).log_softmax(-1).view(batch, plan.groups, size, -1)
        texts = ids.view(batch, plan.groups, size, -1)
        parents, tokens, seen = [], [], []
        for group, pool in enumerate(pools):
            if diversity is not None:
                diversity.chosen = torch.cat(tokens, 1) if tokens else None
            scores = apply(rules, texts[:, group].flatten(0, 1), logs[:, group].flatten(0, 1)).view_as(logs[:, group])
            parent, token, totals[:, group] = _advance(pool, texts[:, group], totals[:, group], scores)
            parents.append(parent)
            tokens.append(token)
            seen.append(scores)
        if keep_scores is not None:
            keep_scores.append(torch.stack(seen, 1).flatten(0, 2))
        rows = (first + torch.stack(parents, 1)).flatten()
        ids = torch.cat([ids[rows], torch.stack(tokens, 1).view(-1, 1)], 1)
        if ids.shape[1] >= plan.limit or all(pool.done.all() for pool in pools):
            break
        steps.select(rows)
    return _best(pools, ids.view(batch, plan.groups, size, -1), totals)


def _advance(pool, texts, totals, scores):
    """One step of one group: texts [B, size, T], totals [B, size], scores [B, size, vocab] -> parents, tokens, totals."""
    plan, length = pool.plan, texts.shape[2]
    size, vocab = scores.shape[1:]
    every = (totals[..., None] + scores).flatten(1)
    # ends leave the beams, so that many candidates may be lost
    count = min(max(2, 1 + len(plan.ends)) * size, every.shape[1])
    if plan.drawn:
        best, at = draw_several(every, count, plan.generator)
    else:
        best, at = every.topk(count)
    parents, tokens = at // vocab, at % vocab
    ends = torch.isin(tokens, torch.tensor(plan.ends, device=tokens.device, dtype=tokens.dtype))
    if ends[:, :size].any():  # an end further down would not have been among the beams
        ended = texts.gather(1, parents[:, :size, None].expand(-1, -1, length))
        pool.add(best[:, :size], torch.cat([ended, tokens[:, :size, None]], 2), length, ends[:, :size])
    pool.settle(best[:, 0], length + 1)
    going = ends.to(torch.int8).argsort(dim=1, stable=True)[:, :size]
    tokens = tokens.gather(1, going)
    return parents.gather(1, going), tokens.masked_fill(pool.done[:, None], -1), best.gather(1, going)


def _best(pools, texts, totals):
    """The finished texts of all groups, and those cut off at the limit where there is room, best first."""
    for group, pool in enumerate(pools):
        everywhere = torch.ones_like(totals[:, group], dtype=torch.bool)
        pool.add(totals[:, group], texts[:, group], texts.shape[-1], everywhere)
    scores, order = torch.cat([pool.scores for pool in pools], 1).sort(dim=-1, descending=True, stable=True)
    ids = torch.cat([pool.ids for pool in pools], 1)
    return ids.gather(1, order[..., None].expand_as(ids)), scores
