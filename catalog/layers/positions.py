"""Positions, in the three places where they can act: added to the states, applied to q and k, added to the scores."""

import math

import torch
from torch import nn


class LearnedPositions(nn.Embedding):
    """A learned vector a position, added to the states; positions [B, T] -> [B, T, width].

    ``offset`` rows stand unused in front (2 in BART and OPT: the published table is that much longer); row ``pad`` learns
    nothing.
    """

    def __init__(self, count, width, *, offset=0, pad=None):
        super().__init__(count + offset, width, padding_idx=pad)
        self.offset = offset

    def forward(self, positions):
        return super().forward(positions + self.offset)


class Rotary(nn.Module):
    """Rotates pairs of the first ``fraction`` of each head by an angle that grows with the position.

    q [B, heads, T, d], k [B, kv_heads, T, d], positions [1 or B, T] -> q, k. Pair i of d/2 turns by
    position * base**(-2 i / d). ``halves`` pairs element i with i + d/2 (LLaMA, NeoX).
    Tables are fp32 whatever the model's type. Su et al., 2021 (arXiv:2104.09864).
    """

    def __init__(self, head_dim, base=10000.0, *, fraction=1.0):
        super().__init__()
        self.size, self.base = int(head_dim * fraction), base

    def forward(self, q, k, positions):
        cos, sin = self.tables(positions)
        return self.turn(q, cos, sin), self.turn(k, cos, sin)

    def tables(self, positions):
        """cos and sin [1 or B, 1, T, size / 2], fp32."""
        angles = positions[:, None, :, None].float() * self.rates(positions.device)
        return angles.cos(), angles.sin()

    def rates(self, device):
        """How far each pair turns from one position to the next, [size / 2], fp32."""
        return torch.pow(self.base, -torch.arange(0, self.size, 2, device=device, dtype=torch.float32) / self.size)

    def turn(self, x, cos, sin):
        """Rotate the first ``size`` elements of x [B, heads, T, d]."""
        part, rest = x[..., : self.size], x[..., self.size :]
        a, b = part.float().chunk(2, -1)
        turned = torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)
        return torch.cat([turned, rest], -1) if rest.shape[-1] else turned


class InterleavedRotary(Rotary):
    """Rotary positions on neighbouring pairs (2 i, 2 i + 1), as GPT-J and CodeGen were trained."""

    def turn(self, x, cos, sin):
        part, rest = x[..., : self.size], x[..., self.size :]
        a, b = part.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2).to(x.dtype)
        return torch.cat([turned, rest], -1) if rest.shape[-1] else turned


def alibi_slopes(heads: int) -> list[float]:
    """The slope of each head: 2**(-8 i / heads), interleaved where the head count is no power of two.

    Press et al., 2021 (arXiv:2108.12409).
    """
    near = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / near) for i in range(near)]
    return slopes + [2 ** (-4 * (2 * i + 1) / near) for i in range(heads - near)]


class Alibi(nn.Module):
    """A bias that grows with the key's position, slope by slope: key_positions [1 or B, S] -> [1 or B, heads, 1, S]."""

    def __init__(self, heads):
        super().__init__()
        self.slopes = alibi_slopes(heads)

    def forward(self, key_positions):
        slopes = torch.tensor(self.slopes, device=key_positions.device)
        return slopes[:, None, None] * key_positions[:, None, None, :].float()


class BucketBias(nn.Module):
    """A learned bias a head for each bucket of relative distance; near distances have buckets of their own.

    queries T, keys S -> [1, heads, T, S]; the last query stands beside the last key.
    Raffel et al., 2019 (arXiv:1910.10683), section 2.1.
    """

    def __init__(self, heads, buckets=32, distance=128, *, two_way=True):
        super().__init__()
        self.table = nn.Embedding(buckets, heads)
        self.buckets, self.distance, self.two_way = buckets, distance, two_way

    def forward(self, queries, keys, device=None):
        query = torch.arange(keys - queries, keys, device=device)[:, None]
        relative = torch.arange(keys, device=device)[None, :] - query
        return self.table(self.bucket(relative)).permute(2, 0, 1)[None]

    def bucket(self, relative):
        """The bucket of each relative position (key minus query), int64."""
        count, start = self.buckets, torch.zeros_like(relative)
        if self.two_way:
            count //= 2
            start = torch.where(relative > 0, count, 0)
            distance = relative.abs()
        else:
            distance = (-relative).clamp_min(0)
        exact = count // 2
        far = torch.log(distance.clamp_min(1).float() / exact) / math.log(self.distance / exact) * (count - exact)
        far = (exact + far.long()).clamp_max(count - 1)
        return start + torch.where(distance < exact, distance, far)
