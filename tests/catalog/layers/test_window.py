"""Window attention against attention over the whole map, with pairs of other windows left out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.layers import PatchMerge, TokenWindowBias, WindowAttention
from catalog.layers.init import initialise
from catalog.layers.window import assemble, pad_to, partition, relative_index


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_windows_put_together_are_the_map(batch, rows, columns, side):
    x = torch.randn(batch, rows * side, columns * side, 2)
    windows = partition(x, side)
    assert torch.equal(windows[columns * rows - 1], x[0, -side:, -side:].flatten(0, 1))
    assert torch.equal(assemble(windows, batch, rows, columns, side), x)


def test_the_index_depends_on_the_offset_alone():
    index = relative_index(2, 3, (2, 3))
    assert index.shape == (6, 6) and index.min() == 0 and index.max() == 14
    assert index[0, 5] == 0 and index[5, 0] == 14 and (index.diagonal() == 7).all()
    assert index[0, 1] == index[3, 4] == 6 and index[3, 0] == 12  # one to the left; one down
    # a smaller map in the same window reads the same offsets
    assert torch.equal(relative_index(2, 2, (2, 3)), index[[0, 1, 3, 4]][:, [0, 1, 3, 4]])


def dense(attn, x, side, shift):
    """The same over all pairs of places: those whose windows differ do not count."""
    rows, columns = x.shape[1:3]
    x = x.flatten(1, 2)
    q, k, v = (part(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (attn.q, attn.k, attn.v))
    y = torch.arange(rows).repeat_interleave(columns)
    z = torch.arange(columns).repeat(rows)
    group = torch.stack([(y - shift).div(side, rounding_mode="floor"), (z - shift).div(side, rounding_mode="floor")])
    same = (group[:, :, None] == group[:, None, :]).all(0)
    down, right = y[:, None] - y[None], z[:, None] - z[None]
    reach = attn.window - 1
    index = (down + reach).clamp(0, 2 * reach) * (2 * attn.window - 1) + (right + reach).clamp(0, 2 * reach)
    bias = attn.bias.table[index].permute(2, 0, 1)
    scores = (q @ k.transpose(-1, -2) * attn.head_dim**-0.5 + bias).masked_fill(~same, -torch.inf)
    return attn.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)).unflatten(1, (rows, columns))


def made(window, shift, **how):
    torch.manual_seed(0)
    attn = WindowAttention(8, 2, window, shift, **how)
    initialise(attn, 0.4)
    torch.nn.init.normal_(attn.bias.table)
    return attn.double()


@pytest.mark.parametrize("rows, columns, window, shift", [(6, 9, 3, 0), (6, 9, 3, 1), (8, 8, 4, 2), (4, 6, 2, 1)])
def test_places_read_their_window_only(rows, columns, window, shift):
    attn = made(window, shift)
    x = torch.randn(2, rows, columns, 8, dtype=torch.float64)
    torch.testing.assert_close(attn(x), dense(attn, x, window, shift))


def test_a_map_within_one_window_is_not_shifted():
    x = torch.randn(2, 4, 4, 8, dtype=torch.float64)
    attn = made(4, 2)
    torch.testing.assert_close(attn(x), dense(attn, x, 4, 0))
    smaller = x[:, :3, :3]
    torch.testing.assert_close(attn(smaller), dense(attn, smaller, 3, 0))
    whole = made(4, 2, whole=True)
    torch.testing.assert_close(whole(x), dense(whole, x, 4, 2))


def test_what_is_filled_up_takes_part_as_zeros():
    attn = made(3, 1)
    x = torch.randn(1, 5, 7, 8, dtype=torch.float64)
    full = torch.zeros(1, 6, 9, 8, dtype=torch.float64)
    full[:, :5, :7] = x
    assert torch.equal(pad_to(x, (3, 3)), full)
    torch.testing.assert_close(attn(x), dense(attn, full, 3, 1)[:, :5, :7])


def test_merging_lays_four_places_side_by_side():
    merge = PatchMerge(2, norm=lambda width: torch.nn.Identity())
    initialise(merge, 0.5)
    x = torch.randn(1, 3, 4, 2)
    got = merge(x)
    assert got.shape == (1, 2, 2, 4)
    four = torch.cat([x[0, 0, 2], x[0, 1, 2], x[0, 0, 3], x[0, 1, 3]])
    torch.testing.assert_close(got[0, 0, 1], merge.reduce.weight @ four)
    edge = torch.cat([x[0, 2, 0], torch.zeros(2), x[0, 2, 1], torch.zeros(2)])
    torch.testing.assert_close(got[0, 1, 0], merge.reduce.weight @ edge)


def test_the_token_in_front_has_biases_of_its_own():
    bias = TokenWindowBias((2, 3), 2)
    table = torch.nn.init.normal_(bias.table)
    got = bias()[0]
    assert got.shape == (2, 7, 7) and table.shape == (3 * 5 + 3, 2)
    assert torch.equal(got[:, 0, 0], table[17])
    assert torch.equal(got[:, 0, 1:], table[15, :, None].expand(-1, 6))
    assert torch.equal(got[:, 1:, 0], table[16, :, None].expand(-1, 6))
    assert torch.equal(got[:, 1:, 1:], table[relative_index(2, 3, (2, 3))].permute(2, 0, 1))
