"""ResNet: four stages of residual convolutions, basic (two 3x3) or bottleneck (1x1, 3x3, 1x1).

He et al., 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385); the stride in the bottleneck's 3x3
convolution is Goyal et al., 2017 (arXiv:1706.02677).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import Classify, FeatureMaps, HeadSpec
from catalog.images import FEATURES, FEATURES_LEGACY, Staged, check_features, several
from catalog.layers import ConvNormAct, ResidualConv, Stage
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class ResnetConfig(Config):
    """Sizes of ResNet-50. ``early`` puts a bottleneck's stride into its first convolution (the paper's own layout)."""

    channels: int = 3
    stem: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    block: str = "bottleneck"
    act: str = "relu"
    first_stride: bool = False
    early: bool = False
    features: tuple[int, ...] | None = None

    def check(self):
        if self.block not in BLOCKS:
            raise ConfigError(f"no block '{self.block}'; blocks: {', '.join(BLOCKS)}")
        if len(self.widths) != len(self.depths):
            raise ConfigError(f"widths {self.widths} and depths {self.depths} are one number a stage each")
        check_features(self.features, len(self.depths))


CONFIG = ConfigMap(
    channels="num_channels", stem="embedding_size", widths=several("hidden_sizes"), depths=several("depths"),
    block="layer_type", act="hidden_act", first_stride="downsample_in_first_stage", early="downsample_in_bottleneck",
    features=FEATURES, legacy=FEATURES_LEGACY, kept=("stage_names",),
)  # fmt: skip

BLOCK = "encoder.stages.{i}.layers.{j}"
NAMES = NameMap(
    [
        ("embed.0.{conv,norm}.*", "embedder.embedder.{convolution,normalization}.*"),
        ("stages.{i}.blocks.{j}.convs.{k}.{conv,norm}.*", BLOCK + ".layer.{k}.{convolution,normalization}.*"),
        ("stages.{i}.blocks.{j}.shortcut.{conv,norm}.*", BLOCK + ".shortcut.{convolution,normalization}.*"),
    ],
    prefix="resnet.",
)


def _shortcut(conv, inputs, outputs, stride):
    return conv(inputs, outputs, 1, stride, act="linear") if inputs != outputs or stride != 1 else None


def _basic(conv, inputs, outputs, stride, c):
    convs = conv(inputs, outputs, 3, stride), conv(outputs, outputs, 3, act="linear")
    return ResidualConv(convs, shortcut=_shortcut(conv, inputs, outputs, stride), act=c.act)


def _bottleneck(conv, inputs, outputs, stride, c):
    inner, first, second = outputs // 4, stride if c.early else 1, 1 if c.early else stride
    convs = conv(inputs, inner, 1, first), conv(inner, inner, 3, second), conv(inner, outputs, 1, act="linear")
    return ResidualConv(convs, shortcut=_shortcut(conv, inputs, outputs, stride), act=c.act)


BLOCKS = {"basic": _basic, "bottleneck": _bottleneck}


class Resnet(Staged):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, width, H / 32, W / 32], pooler_output [B, width, 1, 1].

    ``norm`` is made of a channel count (detection networks freeze theirs).
    """

    config_class = ResnetConfig

    def __init__(self, c: ResnetConfig, *, norm=nn.BatchNorm2d):
        super().__init__()
        self.config, self.widths = c, (c.stem, *c.widths)
        conv = partial(ConvNormAct, norm=norm, act=c.act)
        self.embed = nn.Sequential(conv(c.channels, c.stem, 7, 2), nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        for i, depth in enumerate(c.depths):
            stride = 2 if i or c.first_stride else 1
            inputs = [self.widths[i]] + [c.widths[i]] * (depth - 1)
            strides = [stride] + [1] * (depth - 1)
            self.stages.append(
                Stage(BLOCKS[c.block](conv, n, c.widths[i], stride, c) for n, stride in zip(inputs, strides))
            )
        self.pool = nn.AdaptiveAvgPool2d(1)


HEADS = {
    "image-classification": HeadSpec(
        lambda b, c: Classify(b, c, transform=nn.Flatten()), NameMap([("out.*", "classifier.1.*")])
    ),
    "feature-maps": HeadSpec(FeatureMaps, prefix=""),
}
