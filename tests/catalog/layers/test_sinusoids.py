"""Tables of sines against the formulas written out, and attention that keeps positions out of what it reads."""

import math

import pytest
import torch

from catalog.layers import SinusoidGrid, SinusoidPositions
from catalog.layers.placed import PlacedAttention


def test_sines_then_cosines_down_to_one_in_ten_thousand():
    table = SinusoidPositions(8)(torch.tensor([[0, 1, 5]]))[0]
    for row, position in zip(table, (0, 1, 5)):
        for i in range(4):
            angle = position / 10000 ** (i / 3)
            assert float(row[i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(row[4 + i]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_grid_counts_real_rows_and_columns_only():
    real = torch.zeros(1, 3, 4, dtype=torch.bool)
    real[0, :2, :3] = True
    table = SinusoidGrid(8)(real)[0].view(3, 4, 8)
    for row in range(2):
        for column in range(3):
            shares = (row + 1) / (2 + 1e-6), (column + 1) / (3 + 1e-6)
            want = [
                f(2 * math.pi * share / rate) for share in shares for rate in (1, 100) for f in (math.sin, math.cos)
            ]
            torch.testing.assert_close(table[row, column], torch.tensor(want), atol=1e-5, rtol=0)
    alone = SinusoidGrid(8)(torch.ones(1, 2, 3, dtype=torch.bool))[0].view(2, 3, 8)
    torch.testing.assert_close(table[:2, :3], alone)


def test_positions_ask_and_are_found_but_are_not_read():
    torch.manual_seed(0)
    attention = PlacedAttention(8, 2)
    x, memory, places, others = (torch.randn(1, n, 8) for n in (3, 5, 3, 5))
    got = attention(x, memory, positions=places, memory_positions=others)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        q, k, v = (
            attention.q(x + places)[..., part],
            attention.k(memory + others)[..., part],
            attention.v(memory)[..., part],
        )
        heads.append((q @ k.transpose(1, 2) / 2).softmax(-1) @ v)
    torch.testing.assert_close(got, attention.out(torch.cat(heads, -1)))
    torch.testing.assert_close(
        attention(x, positions=places), attention(x, x, positions=places, memory_positions=places)
    )
