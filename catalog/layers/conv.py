"""Parts of convolutional networks; maps are [B, channels, H, W] throughout."""

from torch import nn

from catalog.layers.mlp import activation


class ConvNormAct(nn.Module):
    """act(norm(conv(x))), [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]; ``norm`` is made of a channel count."""

    def __init__(self, inputs, outputs, kernel, stride=1, *, groups=1, norm=nn.BatchNorm2d, act="relu"):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm, self.act = norm(outputs), activation(act)

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))

    def initialise(self, std):
        # the scale that keeps the variance through rectifiers: He et al., 2015 (arXiv:1502.01852)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")


class ResidualConv(nn.Module):
    """act(shortcut(x) + convs(x)). He et al., 2015 (arXiv:1512.03385)."""

    def __init__(self, convs, *, shortcut=None, act="relu"):
        super().__init__()
        self.convs, self.shortcut, self.act = nn.Sequential(*convs), shortcut or nn.Identity(), activation(act)

    def forward(self, x):
        return self.act(self.convs(x) + self.shortcut(x))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each place or frame; [B, channels, ...] -> same."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Stage(nn.Module):
    """``down`` changes the resolution (``None``: it stays), then the blocks, one after another; one map to one map."""

    def __init__(self, blocks, *, down=None):
        super().__init__()
        self.down, self.blocks = down or nn.Identity(), nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(self.down(x))
