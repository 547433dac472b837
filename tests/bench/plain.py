"""The networks of catalog_speed.py written straight down in torch.nn: what the catalog's parts are measured against."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Linear, scaled_dot_product_attention, linear."""

    def __init__(self, width, heads, bias=True, scale=None):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))

    def forward(self, x, memory=None, bias=None, causal=False):
        memory = x if memory is None else memory
        q, k, v = (
            f(s).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f, s in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        y = F.scaled_dot_product_attention(q, k, v, bias, is_causal=causal, scale=self.scale)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention (and cross attention) and two linear layers, each with its residual; norms before or after."""

    def __init__(self, attn, mlp, norms, cross=None, post=False):
        super().__init__()
        self.parts = nn.ModuleList([attn, *([cross] if cross else []), mlp])
        self.norms, self.post, self.cross = nn.ModuleList(norms), post, cross is not None

    def forward(self, x, memory=None, **options):
        for i, (part, norm) in enumerate(zip(self.parts, self.norms)):
            inner = x if self.post else norm(x)
            y = part(inner, **options) if i == 0 else part(inner, memory) if self.cross and i == 1 else part(inner)
            x = norm(x + y) if self.post else x + y
        return x


def mlp(width, hidden, act, bias=True):
    """Two linear layers with an activation between them."""
    return nn.Sequential(nn.Linear(width, hidden, bias=bias), act, nn.Linear(hidden, width, bias=bias))


class Encoder(nn.Module):
    """Tables of tokens and positions (or patches), blocks, a last norm and matrix: BERT, GPT-2 or ViT by its arguments."""

    def __init__(self, *, embed, positions, depth, act, outputs, post=False, causal=False, eps=1e-12, tied=False):
        super().__init__()
        width, norm = 768, lambda: nn.LayerNorm(768, eps=eps)
        self.embed, self.positions = embed, nn.Parameter(torch.randn(positions, width) * 0.02)
        self.segments = nn.Parameter(torch.randn(width) * 0.02) if post else None
        self.front = norm() if post else None
        self.first = None if isinstance(embed, nn.Embedding) else nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            Block(Attention(width, 12), mlp(width, 3072, act), [norm(), norm()], post=post) for _ in range(depth)
        )
        self.norm, self.causal = None if post else norm(), causal
        self.transform = nn.Sequential(nn.Linear(width, width), act, norm()) if post else nn.Identity()
        self.out = nn.Linear(width, outputs, bias=not causal)
        if tied:
            self.out.weight = embed.weight

    def forward(self, x):
        x = self.embed(x)
        if self.first is not None:
            x = torch.cat([self.first.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = x + self.positions[: x.shape[1]]
        x = x if self.front is None else self.front(x + self.segments)
        for block in self.blocks:
            x = block(x, causal=self.causal)
        x = x if self.norm is None else self.norm(x)
        return self.out(self.transform(x if self.first is None else x[:, 0]))


class RMSNorm(nn.Module):
    """As T5 has it: the mean of squares in fp32."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class T5Small(nn.Module):
    """Two stacks of six blocks; biases by distance are looked up in a table, once a stack."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(32128, 512)
        self.tables = nn.ModuleList(nn.Embedding(32, 8) for _ in range(2))
        self.sides = nn.ModuleList(nn.ModuleList(self._block(side) for _ in range(6)) for side in range(2))
        self.norms = nn.ModuleList(RMSNorm(512) for _ in range(2))

    @staticmethod
    def _block(cross):
        attn = [Attention(512, 8, bias=False, scale=1.0) for _ in range(1 + cross)]
        norms = [RMSNorm(512) for _ in range(2 + cross)]
        return Block(attn[0], mlp(512, 2048, nn.ReLU(), bias=False), norms, attn[1] if cross else None)

    def forward(self, source, target):
        memory = None
        for side, ids in enumerate((source, target)):
            x, steps = self.embed(ids), torch.arange(ids.shape[1])
            distance = (steps[None] - steps[:, None]).abs().clamp(max=31)
            bias = self.tables[side](distance).permute(2, 0, 1)[None]
            if side:
                future = torch.ones(distance.shape, dtype=torch.bool).triu(1)
                bias = bias.masked_fill(future, torch.finfo(bias.dtype).min)
            for block in self.sides[side]:
                x = block(x, memory, bias=bias)
            memory = self.norms[side](x)
        return F.linear(memory * 512**-0.5, self.embed.weight)
