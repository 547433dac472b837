"""Rotary positions turn as the papers say, also where they are stretched to longer texts."""

import math

import pytest
import torch

from catalog.errors import ConfigError
from catalog.layers import InterleavedRotary, Rotary
from catalog.layers.rotary import scaled_rotary

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def pair(size=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 1, 1, 1, size, generator=generator)


def score(rotary, q, k, at, to):
    turned, _ = rotary(q, q, torch.tensor([[at]]))
    _, other = rotary(k, k, torch.tensor([[to]]))
    return float((turned * other).sum())


@pytest.mark.parametrize("rotary", [Rotary(8), InterleavedRotary(8), Rotary(8, fraction=0.5)])
def test_only_distances_count(rotary):
    q, k = pair()
    assert score(rotary, q, k, 7, 3) == pytest.approx(score(rotary, q, k, 104, 100), abs=1e-4)
    assert score(rotary, q, k, 7, 3) != pytest.approx(score(rotary, q, k, 7, 4), abs=1e-3)


def test_a_pair_turns_by_its_rate():
    q = torch.zeros(1, 1, 1, 8)
    q[..., 1] = 1.0
    turned, _ = Rotary(8)(q, q, torch.tensor([[5]]))
    angle = 5 * 10000.0 ** (-2 / 8)
    assert float(turned[0, 0, 0, 1]) == pytest.approx(math.cos(angle), abs=1e-6)
    assert float(turned[0, 0, 0, 5]) == pytest.approx(math.sin(angle), abs=1e-6)  # its partner is half a head away
    turned, _ = InterleavedRotary(8)(q, q, torch.tensor([[5]]))
    assert float(turned[0, 0, 0, 0]) == pytest.approx(-math.sin(5.0), abs=1e-6)  # its partner is its neighbour


def test_angles_keep_fp32_in_a_bf16_model():
    q = torch.ones(1, 1, 1, 8, dtype=torch.bfloat16)
    turned, _ = Rotary(8)(q, q, torch.tensor([[4001]]))
    assert turned.dtype == torch.bfloat16
    want = math.cos(4001.0) - math.sin(4001.0)
    assert float(turned[0, 0, 0, 0]) == pytest.approx(want, rel=1e-2)  # 4001 itself is no bf16 number


def test_linear_scaling_puts_twice_as_many_where_they_were():
    q, k = pair()
    plain, scaled = Rotary(8), scaled_rotary(8, 10000.0, {"type": "linear", "factor": 2.0})
    assert score(scaled, q, k, 6, 2) == pytest.approx(score(plain, q, k, 3, 1), abs=1e-6)


def test_llama3_scaling_slows_only_slow_pairs():
    size, base = 128, 500000.0
    rates = scaled_rotary(size, base, LLAMA3).rates(None).tolist()
    kinds = set()
    for i, rate in enumerate(rates):
        plain = base ** (-2 * i / size)
        wave = 2 * math.pi / plain
        if wave < 8192 / 4:
            want, kind = plain, "kept"
        elif wave > 8192 / 1:
            want, kind = plain / 8, "slowed"
        else:
            smooth = (8192 / wave - 1) / (4 - 1)
            want, kind = (1 - smooth) * plain / 8 + smooth * plain, "mixed"
        kinds.add(kind)
        assert rate == pytest.approx(want, rel=1e-5)
    assert kinds == {"kept", "slowed", "mixed"}


def test_no_scaling_and_the_default_are_plain():
    for scaling in (None, {"rope_type": "default"}):
        assert type(scaled_rotary(8, 10000.0, scaling)) is Rotary


def test_what_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no type 'dynamic'"):
        scaled_rotary(8, 10000.0, {"type": "dynamic", "factor": 2.0})
    with pytest.raises(ConfigError, match="'linear' lacks 'factor'"):
        scaled_rotary(8, 10000.0, {"type": "linear"})
