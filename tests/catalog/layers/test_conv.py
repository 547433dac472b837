"""Convolutional parts and residual branches, against their formulas."""

import pytest
import torch
from torch import nn

from catalog.layers import (
    ChannelNorm,
    ConvNormAct,
    DropPath,
    LayerScale,
    ResidualConv,
    ScaledPreNorm,
    Stage,
    path_rates,
)
from catalog.layers.init import initialise


def test_channels_are_normalised_at_each_place():
    norm = ChannelNorm(5, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 3, 4)
    centred = x - x.mean(1, keepdim=True)
    want = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    want = want * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), want)


def test_a_residual_convolution_is_the_sum_of_its_branches():
    block = ResidualConv(
        [ConvNormAct(2, 4, 3, 2), ConvNormAct(4, 4, 3, act="linear")], shortcut=ConvNormAct(2, 4, 1, 2, act="linear")
    ).eval()
    initialise(block, 0.02)
    x = torch.randn(2, 2, 6, 6)
    scale = (1 + block.convs[0].norm.eps) ** -0.5  # fresh statistics: mean 0, variance 1
    first = nn.functional.conv2d(x, block.convs[0].conv.weight, stride=2, padding=1).mul(scale).relu()
    second = nn.functional.conv2d(first, block.convs[1].conv.weight, padding=1) * scale
    short = nn.functional.conv2d(x, block.shortcut.conv.weight, stride=2) * scale
    torch.testing.assert_close(block(x), (second + short).relu())


def test_fresh_convolutions_keep_the_variance_through_rectifiers():
    layer = ConvNormAct(64, 128, 3)
    initialise(layer, 0.02)
    assert float(layer.conv.weight.detach().std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_a_stage_changes_the_resolution_first():
    stage = Stage([nn.ReLU()], down=nn.AvgPool2d(2))
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(stage(x), nn.functional.avg_pool2d(x, 2).relu())


def test_branches_are_dropped_whole_and_the_rest_made_up_for():
    torch.manual_seed(0)
    path, x = DropPath(0.25), torch.ones(4000, 2, 3)
    kept = path(x)
    rows = kept[:, 0, 0]
    assert torch.equal(kept, rows[:, None, None].expand_as(kept))
    assert torch.equal(rows.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert float(rows.mean()) == pytest.approx(1.0, abs=0.05)
    assert path.eval()(x) is x


def test_rates_grow_linearly():
    assert path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert path_rates(0.3, 1) == [0.0]


def test_scales_start_at_their_value_and_weigh_each_branch():
    scales = [LayerScale(3, 0.1), LayerScale(3, 0.5)]
    block = ScaledPreNorm(
        attn=nn.Tanh(), mlp=nn.ReLU(), norm1=nn.Identity(), norm2=nn.Identity(), scale1=scales[0], scale2=scales[1]
    )
    initialise(block, 0.02)
    x = torch.randn(2, 4, 3)
    middle = x + 0.1 * x.tanh()
    torch.testing.assert_close(block(x), middle + 0.5 * middle.relu())
