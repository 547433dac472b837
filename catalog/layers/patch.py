"""From pixels to states: patches, the tokens that stand in front of them, and where each patch lies."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog.errors import ConfigError


def pair(size: int | tuple) -> tuple[int, int]:
    """A size as (rows, columns); one number stands for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class PatchEmbed(nn.Conv2d):
    """Each patch of an image as a vector, row by row: [B, channels, H, W] -> [B, rows * columns, width].

    ``patch`` is its side, or (height, width). What is left over at the right and the bottom is not read.
    Dosovitskiy et al., 2020 (arXiv:2010.11929). Raises ConfigError on another number of channels.
    """

    def __init__(self, channels, width, patch):
        super().__init__(channels, width, pair(patch), stride=pair(patch))

    def forward(self, pixels):
        if pixels.shape[1] != self.in_channels:
            raise ConfigError(
                f"pixel_values {list(pixels.shape)} has {pixels.shape[1]} channels where this model takes "
                f"{self.in_channels}; the layout is [batch, channels, height, width]"
            )
        return super().forward(pixels).flatten(2).transpose(1, 2)

    def grid(self, pixels) -> tuple[int, int]:
        """(rows, columns) of the patches of ``pixels`` [B, channels, H, W]."""
        return pixels.shape[-2] // self.stride[0], pixels.shape[-1] // self.stride[1]


class QueryTokens(nn.Module):
    """``count`` learned vectors, the same for every example: batch size -> [B, count, width]. A class token is one."""

    def __init__(self, count, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, width))

    def forward(self, batch):
        return self.weight.expand(batch, -1, -1)

    def initialise(self, std):
        nn.init.trunc_normal_(self.weight, std=std)


class MaskToken(nn.Module):
    """A learned vector in the place of what is hidden; x [B, N, width], masked [B, N] (true: hidden) -> [B, N, width]."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, 1, width))

    def forward(self, x, masked):
        if masked.shape[1] != x.shape[1]:
            raise ConfigError(
                f"bool_masked_pos {list(masked.shape)} does not say for each of {x.shape[1]} patches whether it is hidden"
            )
        return torch.where(masked[..., None].bool(), self.weight, x)

    def initialise(self, std):
        nn.init.zeros_(self.weight)


class GridPositions(nn.Module):
    """A learned vector for each of ``front`` tokens and for each patch of a grid: (rows, columns) -> [1, N, width].

    Another grid than the one it was trained on takes bicubic samples, in fp32. With ``nudge`` the ratio of the sizes is taken
    as (size + nudge) / trained: how DINO was evaluated, and the ViT checkpoints after it; 0 aligns the corners of the image.
    """

    def __init__(self, grid, width, *, front=1, nudge=0.0):
        super().__init__()
        self.grid, self.front, self.nudge = pair(grid), front, nudge
        self.weight = nn.Parameter(torch.empty(1, front + self.grid[0] * self.grid[1], width))

    def forward(self, rows, columns, interpolate=True):
        if (rows, columns) == self.grid:
            return self.weight
        if not interpolate:
            raise ConfigError(
                f"an image of {rows} x {columns} patches does not fit positions for {self.grid[0]} x {self.grid[1]}: "
                "resize it, or pass interpolate_pos_encoding=True"
            )
        table = self.weight[:, self.front :].float().unflatten(1, self.grid).permute(0, 3, 1, 2)
        if self.nudge:
            ratios = tuple((size + self.nudge) / own for size, own in zip((rows, columns), self.grid))
            table = F.interpolate(table, scale_factor=ratios, mode="bicubic")
        else:
            table = F.interpolate(table, size=(rows, columns), mode="bicubic")
        patches = table.flatten(2).transpose(1, 2).to(self.weight.dtype)
        return torch.cat([self.weight[:, : self.front], patches], 1)

    def initialise(self, std):
        nn.init.trunc_normal_(self.weight, std=std)


class ImageEmbed(nn.Module):
    """Patches as states, tokens in front, positions added: pixels [B, channels, H, W] -> [B, front + rows * columns, width].

    ``norm`` acts on the patches; ``mask`` (a MaskToken) replaces those where ``masked`` [B, rows * columns] is true.
    """

    def __init__(self, patch, *, front=(), norm=None, mask=None, positions=None, dropout=0.0):
        super().__init__()
        self.patch, self.front = patch, nn.ModuleList(front)
        self.norm = nn.Identity() if norm is None else norm
        self.mask, self.positions, self.drop = mask, positions, nn.Dropout(dropout)

    def forward(self, pixels, masked=None, interpolate=True):
        x = self.norm(self.patch(pixels))
        if masked is not None:
            if self.mask is None:
                raise ConfigError("bool_masked_pos needs a mask token; the model has one under 'masked-image-modeling'")
            x = self.mask(x, masked)
        x = torch.cat([*(token(x.shape[0]) for token in self.front), x], 1)
        if self.positions is not None:
            x = x + self.positions(*self.patch.grid(pixels), interpolate)
        return self.drop(x)
