"""Maps of several resolutions brought together, against the sums written out."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers import OneScalePyramid, PooledScales, UperDecoder
from catalog.layers.init import initialise


def made(module):
    torch.manual_seed(0)
    initialise(module, 0.3)
    return module.eval()


def test_means_over_grids_stand_beside_the_map():
    pooled = made(PooledScales(3, 2, (1, 2)))
    x = torch.randn(1, 3, 4, 4)
    one = pooled.convs[0](x.mean((2, 3), keepdim=True)).expand(-1, -1, 4, 4)
    four = torch.stack([x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for i in (0, 2) for j in (0, 2)], -1)
    two = F.interpolate(pooled.convs[1](four.unflatten(2, (2, 2))), size=(4, 4), mode="bilinear")
    torch.testing.assert_close(pooled(x), pooled.merge(torch.cat([x, one, two], 1)))


def test_coarse_maps_are_added_to_finer_ones():
    decoder = made(UperDecoder([3, 4, 5], 2, (1,)))
    fine, middle, coarse = (torch.randn(1, c, n, n) for c, n in ((3, 8), (4, 4), (5, 2)))

    def up(x, n):
        return F.interpolate(x, size=(n, n), mode="bilinear", align_corners=False)

    top = decoder.pooled(coarse)
    second = decoder.sides[1](middle) + up(top, 4)
    first = decoder.sides[0](fine) + up(second, 8)
    parts = [decoder.smooth[0](first), up(decoder.smooth[1](second), 8), up(top, 8)]
    torch.testing.assert_close(decoder([fine, middle, coarse]), decoder.merge(torch.cat(parts, 1)))


def test_one_scale_becomes_four():
    pyramid = made(OneScalePyramid(3))
    maps = [torch.randn(1, 3, 4, 4) for _ in range(4)]
    got = pyramid(maps)
    assert [m.shape[-1] for m in got] == [16, 8, 4, 2]
    # a transposed convolution of kernel and stride 2 writes one square a place
    square = (
        torch.einsum("c,cokl->okl", maps[1][0, :, 1, 2], pyramid.up2[0].weight) + pyramid.up2[0].bias[:, None, None]
    )
    torch.testing.assert_close(got[1][0, :, 2:4, 4:6], square)
    middle = nn.functional.gelu(pyramid.up4[1](pyramid.up4[0](maps[0])))
    torch.testing.assert_close(got[0], pyramid.up4[3](middle))
    assert got[2] is maps[2]
    assert torch.equal(got[3][0, :, 0, 1], maps[3][0, :, :2, 2:].amax((1, 2)))
    assert [m.shape[-1] for m in pyramid(maps[:3])] == [16, 8, 4, 4]
