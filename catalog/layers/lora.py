"""Low-rank adapters: a frozen linear layer plus a product of two small matrices that learn.

Hu et al., 2021, "LoRA" (arXiv:2106.09685); over a base in few bits: Dettmers et al., 2023, "QLoRA" (arXiv:2305.14314).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catalog.layers.quantised import QuantisedLinear


class Adapted(nn.Module):
    """What both adapted layers have: ``lora_a`` [rank, in] and ``lora_b`` [out, rank], the latter zero at first."""

    def adapt(self, rank: int, alpha: float, dropout: float, dtype: torch.dtype, device: torch.device) -> None:
        """Add the two matrices; their product counts ``alpha / rank``. ``dropout`` is of what they are given."""
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, dtype=dtype, device=device))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, dtype=dtype, device=device))
        nn.init.kaiming_uniform_(self.lora_a, a=5**0.5)

    def learnt(self, x: Tensor) -> Tensor:
        """What the adapter adds: x [..., in] -> [..., out]."""
        x = F.dropout(x.to(self.lora_a.dtype), self.dropout, self.training)
        return F.linear(F.linear(x, self.lora_a), self.lora_b) * (self.alpha / self.rank)

    def delta(self) -> Tensor:
        """What the adapter adds to the weight [out, in], fp32 or wider."""
        a, b = (t.detach().to(torch.promote_types(t.dtype, torch.float32)) for t in (self.lora_a, self.lora_b))
        return b @ a * (self.alpha / self.rank)


class LoRALinear(Adapted, nn.Linear):
    """An ``nn.Linear`` with an adapter: its ``weight`` and ``bias`` keep their names and identity, and are frozen."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, dropout: float):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.adapt(rank, alpha, dropout, self.weight.dtype, self.weight.device)

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        return y + self.learnt(x).to(y.dtype)

    def merged(self) -> nn.Linear:
        """One linear layer that computes the same."""
        return _linear((self.weight.detach() + self.delta()).to(self.weight.dtype), self.bias)


class LoRAQuantised(Adapted, QuantisedLinear):
    """A :class:`QuantisedLinear` with an adapter, which is in fp32."""

    def __init__(self, linear: nn.Linear, form: str, rank: int, alpha: float, dropout: float):
        QuantisedLinear.__init__(self, linear, form)
        self.adapt(rank, alpha, dropout, torch.float32, self.codes.device)

    def forward(self, x):
        y = QuantisedLinear.forward(self, x)
        return y + self.learnt(x).to(y.dtype)

    def merged(self) -> nn.Linear:
        """One linear layer over the base as its few bits say it, which is what the adapter was trained on; fp32."""
        return _linear(self.dense() + self.delta(), self.bias)


def _linear(weight: Tensor, bias: nn.Parameter | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight, made.bias = nn.Parameter(weight), bias
    return made


def dense(layer: QuantisedLinear) -> nn.Linear:
    """A quantised layer without an adapter as a linear one, fp32."""
    return _linear(layer.dense(), layer.bias)
