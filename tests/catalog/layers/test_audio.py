"""Frames of waveforms against PyTorch's own convolutions and weight norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers.audio import ConvFeatures, ConvPositions, Subsample, channel_norms, group_norms
from catalog.layers.augment import random_spans

SIZES, KERNELS, STRIDES = (6, 4), (5, 3), (3, 2)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("samples", [11, 40, 41, 100])
def test_lengths_are_those_of_the_frames(samples):
    features = ConvFeatures(SIZES, KERNELS, STRIDES, norms=group_norms(SIZES))
    assert features(torch.randn(2, samples)).shape == (2, features.lengths(samples), 4)
    assert features.lengths(torch.tensor([samples])).tolist() == [features.lengths(samples)]


def test_channels_are_normed_in_each_frame_and_groups_over_time():
    waveform = torch.randn(2, 50)
    by_channel = ConvFeatures(SIZES, KERNELS, STRIDES, norms=channel_norms(SIZES), bias=True)
    x = waveform[:, None]
    for block, step in zip(by_channel, STRIDES):
        x = F.conv1d(x, block.conv.weight, block.conv.bias, stride=step)
        x = F.gelu((x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt())
    torch.testing.assert_close(by_channel(waveform), x.transpose(1, 2))
    grouped = ConvFeatures(SIZES, KERNELS, STRIDES, norms=group_norms(SIZES))
    first = F.conv1d(waveform[:, None], grouped[0].conv.weight, stride=STRIDES[0])
    first = F.gelu((first - first.mean(2, keepdim=True)) / (first.var(2, keepdim=True, unbiased=False) + 1e-5).sqrt())
    torch.testing.assert_close(
        grouped(waveform).transpose(1, 2), F.gelu(F.conv1d(first, grouped[1].conv.weight, stride=2))
    )


@pytest.mark.parametrize("kernel", [4, 5])
def test_positions_are_a_weight_normed_convolution(kernel):
    positions = ConvPositions(6, kernel, 2)
    positions.initialise(0.02)
    nn.init.normal_(positions.gain)
    nn.init.normal_(positions.bias)
    conv = nn.Conv1d(6, 6, kernel, padding=kernel // 2, groups=2)
    conv = nn.utils.parametrizations.weight_norm(conv, dim=2)
    with torch.no_grad():
        conv.parametrizations.weight.original0.copy_(positions.gain)
        conv.parametrizations.weight.original1.copy_(positions.direction)
        conv.bias.copy_(positions.bias)
    x = torch.randn(2, 9, 6)
    want = F.gelu(conv(x.transpose(1, 2)))[..., :9].transpose(1, 2)
    torch.testing.assert_close(positions(x), want)


def test_a_fresh_gain_is_the_length_of_its_direction():
    positions = ConvPositions(6, 4, 2)
    positions.initialise(0.02)
    torch.testing.assert_close(positions.gain[0, 0], positions.direction.square().sum((0, 1)).sqrt())


@pytest.mark.parametrize("frames", [8, 9, 15])
def test_subsampling_gates_and_counts(frames):
    shorter = Subsample((6, 4, 4))
    x = torch.randn(2, frames, 6)
    y = x.transpose(1, 2)
    for conv in shorter:
        a, b = F.conv1d(y, conv.weight, conv.bias, stride=2, padding=1).chunk(2, 1)
        y = a * b.sigmoid()
    torch.testing.assert_close(shorter(x), y.transpose(1, 2))
    assert shorter.lengths(frames) == y.shape[2]


def test_spans_cover_the_rate_and_keep_off_the_padding():
    lengths = torch.tensor([400] * 50 + [100] * 50)
    hidden = random_spans((100, 400), 0.2, 10, lengths=lengths)
    assert not hidden[50:, 100:].any()
    edges = F.pad(hidden.int(), (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero()[:, 1], (edges == -1).nonzero()[:, 1]
    assert (ends - begins >= 10).all()  # spans are whole, and touching ones are longer
    assert 0.14 < hidden[:50].float().mean() < 0.2  # 20% counted twice where spans overlap
    assert 0.14 < hidden[50:, :100].float().mean() < 0.2


def test_at_least_so_many_spans_as_far_as_they_fit():
    assert (random_spans((8, 50), 0.0, 10, least=2).sum(1) >= 11).all()
    assert not random_spans((3, 5), 0.9, 10, least=2).any()
    assert (
        random_spans((3, 30), 0.0, 10, least=2, lengths=torch.tensor([30, 15, 5])).sum(1) >= torch.tensor([11, 10, 0])
    ).all()
    assert not random_spans((3, 30), 0.0, 10).any()
