"""Patches, masks and positions of grids, against sums and samples written out."""

import math

import pytest
import torch

from catalog.errors import ConfigError
from catalog.layers import GridPositions, ImageEmbed, MaskToken, PatchEmbed, QueryTokens
from catalog.layers.init import initialise


def made(module, seed=0):
    torch.manual_seed(seed)
    initialise(module, 0.5)
    return module


def cubic(distance):
    """Keys' kernel with a = -0.75, as image libraries have it."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def resampling(count, own, ratio):
    """[count, own]: how much each of ``own`` samples is worth in each of ``count``; borders repeat."""
    weights = torch.zeros(count, own, dtype=torch.float64)
    for i in range(count):
        at = (i + 0.5) / ratio - 0.5
        for tap in range(math.floor(at) - 1, math.floor(at) + 3):
            weights[i, min(max(tap, 0), own - 1)] += cubic(at - tap)
    return weights


def test_a_patch_is_its_pixels_times_the_weights():
    embed = made(PatchEmbed(3, 4, (2, 3)))
    pixels = torch.randn(2, 3, 5, 9)
    got = embed(pixels)
    assert embed.grid(pixels) == (2, 3)
    patch = pixels[1, :, 2:4, 3:6]  # second row, second column
    want = (embed.weight * patch).sum((1, 2, 3)) + embed.bias
    torch.testing.assert_close(got[1, 4], want)


def test_another_number_of_channels_is_refused():
    with pytest.raises(ConfigError, match="1 channels where this model takes 3"):
        PatchEmbed(3, 4, 2)(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("nudge", [0.0, 0.1])
@pytest.mark.parametrize("grid", [(5, 7), (2, 3), (3, 4), (6, 8)])
def test_positions_of_another_grid_are_bicubic_samples(grid, nudge):
    positions = made(GridPositions((3, 4), 6, front=2, nudge=nudge))
    got = positions(*grid)
    if grid == (3, 4):
        assert got is positions.weight
        return
    down, right = (resampling(n, own, (n + nudge) / own) for n, own in zip(grid, (3, 4)))
    table = positions.weight[0, 2:].double().unflatten(0, (3, 4))
    want = torch.einsum("ya,xb,abw->yxw", down, right, table).flatten(0, 1)
    torch.testing.assert_close(got[0, 2:].double(), want, rtol=1e-5, atol=1e-5)
    assert torch.equal(got[0, :2], positions.weight[0, :2])


def test_positions_of_another_grid_are_those_of_torch():
    positions = made(GridPositions(4, 6, front=1))
    table = positions.weight[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    want = torch.nn.functional.interpolate(table, size=(6, 3), mode="bicubic", align_corners=False)
    torch.testing.assert_close(positions(6, 3)[:, 1:], want.flatten(2).transpose(1, 2))
    positions.bfloat16()
    assert positions(6, 3).dtype == torch.bfloat16


def test_another_grid_is_refused_where_nobody_asked_for_it():
    with pytest.raises(ConfigError, match="5 x 4 patches does not fit positions for 4 x 4"):
        made(GridPositions(4, 6))(5, 4, interpolate=False)


def test_tokens_stand_in_front_and_hidden_patches_are_the_mask_token():
    parts = {
        "front": [QueryTokens(1, 4), QueryTokens(2, 4)],
        "mask": MaskToken(4),
        "positions": GridPositions(2, 4, front=3),
    }
    embed = made(ImageEmbed(PatchEmbed(3, 4, 2), **parts))
    torch.nn.init.normal_(embed.mask.weight)
    pixels, hidden = torch.randn(2, 3, 4, 4), torch.tensor([[True, False, False, True], [False] * 4])
    got = embed(pixels, hidden) - embed.positions.weight
    torch.testing.assert_close(got[:, 0], embed.front[0].weight[:, 0].expand(2, -1))
    torch.testing.assert_close(got[1, 1:3], embed.front[1].weight[0])
    torch.testing.assert_close(got[0, [3, 6]], embed.mask.weight[0].expand(2, -1))
    torch.testing.assert_close(got[1, 3:], embed.patch(pixels)[1])
    with pytest.raises(ConfigError, match="each of 4 patches"):
        embed(pixels, hidden[:, :1])


def test_hiding_patches_needs_a_mask_token():
    with pytest.raises(ConfigError, match="masked-image-modeling"):
        made(ImageEmbed(PatchEmbed(3, 4, 2)))(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, dtype=torch.bool))
