"""Rotary positions stretched to texts longer than those trained on, as published ``rope_scaling`` tables say."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from catalog.errors import ConfigError
from catalog.layers.positions import Rotary


class LinearRotary(Rotary):
    """Positions count ``1 / factor``: ``factor`` times as many fit. Chen et al., 2023 (arXiv:2306.15595)."""

    def __init__(self, head_dim, base=10000.0, *, factor, fraction=1.0):
        super().__init__(head_dim, base, fraction=fraction)
        self.factor = factor

    def tables(self, positions):
        return super().tables(positions / self.factor)


class BandedRotary(Rotary):
    """Only slow pairs are slowed down, by ``factor``: those that turn less than ``slow`` times within ``length`` positions.

    Pairs that turn more than ``fast`` times keep their rate; in between the two are mixed. Llama 3.1 (arXiv:2407.21783).
    """

    def __init__(self, head_dim, base=10000.0, *, factor, slow, fast, length, fraction=1.0):
        super().__init__(head_dim, base, fraction=fraction)
        self.factor, self.slow, self.fast, self.length = factor, slow, fast, length

    def rates(self, device):
        rates = super().rates(device)
        turns = self.length * rates / (2 * math.pi)
        kept = ((turns - self.slow) / (self.fast - self.slow)).clamp(0.0, 1.0)
        return torch.lerp(rates / self.factor, rates, kept)


def scaled_rotary(head_dim, base, scaling: Mapping[str, Any] | None, *, fraction=1.0) -> Rotary:
    """The rotary positions that a published ``rope_scaling`` asks for; ``None`` is no scaling.

    Raises ConfigError on a kind that is not here. ``dynamic`` is not: there the rotation of a kept key would depend on how
    long the text was when it was made, so that cached and uncached numbers differ.
    """
    kind = None if scaling is None else scaling.get("rope_type", scaling.get("type"))
    try:
        if kind in (None, "default"):
            return Rotary(head_dim, base, fraction=fraction)
        if kind == "linear":
            return LinearRotary(head_dim, base, factor=float(scaling["factor"]), fraction=fraction)
        if kind == "llama3":
            return BandedRotary(
                head_dim, base, fraction=fraction, factor=float(scaling["factor"]), slow=scaling["low_freq_factor"],
                fast=scaling["high_freq_factor"], length=scaling["original_max_position_embeddings"],
            )  # fmt: skip
    except KeyError as missing:
        raise ConfigError(f"rope_scaling of type '{kind}' lacks {missing}: {dict(scaling)}") from None
    raise ConfigError(f"rope_scaling: no type {kind!r} in the catalog; it has linear, llama3 and default")
