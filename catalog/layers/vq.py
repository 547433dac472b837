"""Continuous states as entries of learned codebooks."""

import torch
from torch import nn
from torch.nn import functional as F


class GumbelQuantizer(nn.Module):
    """Each frame as one entry out of each of ``groups`` codebooks: features [B, T, inputs] -> codes [B, T, width].

    Also returns the perplexity of the choice, a scalar between ``groups`` and ``groups * entries``: over the frames where
    ``where`` [B, T] is True, or all. Training draws the entries at ``temperature`` and passes gradients straight through;
    evaluation takes the likeliest. Jang et al., 2016 (arXiv:1611.01144); Baevski et al., 2019 (arXiv:1910.05453).
    """

    def __init__(self, inputs, width, *, groups, entries, temperature=2.0):
        super().__init__()
        self.score = nn.Linear(inputs, groups * entries)
        self.entries = nn.Parameter(torch.empty(1, groups * entries, width // groups))
        self.groups, self.temperature = groups, temperature

    def forward(self, features, where=None):
        scores = self.score(features).unflatten(-1, (self.groups, -1))  # [B, T, groups, entries]
        if self.training:
            chosen = F.gumbel_softmax(scores.float(), self.temperature, hard=True).to(scores.dtype)
            shares = scores.float().softmax(-1)
        else:
            chosen = shares = F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
        codes = torch.einsum("btge,gew->btgw", chosen, self.entries[0].unflatten(0, (self.groups, -1)))
        return codes.flatten(-2), perplexity(shares, where)

    def initialise(self, std):
        """Whatever ``std``, as published."""
        nn.init.normal_(self.score.weight, 0.0, 1.0)
        nn.init.zeros_(self.score.bias)
        nn.init.uniform_(self.entries)


def perplexity(shares, where=None):
    """How many entries are in use: exp(entropy of the mean share), summed over groups; shares [B, T, groups, entries]."""
    where = torch.ones(shares.shape[:2], device=shares.device) if where is None else where
    mean = (shares * where[..., None, None]).sum((0, 1)) / where.sum()
    return torch.exp(-(mean * torch.log(mean + 1e-7)).sum(-1)).sum()
