"""Convolutional networks under detectors: by the name that the timm library gave them, or by a configuration."""

from torch import nn

from catalog.models import resnet
from catalog.models.resnet import ResnetConfig

# backbones that published files name after the timm library
SMALL = {"block": "basic", "widths": (64, 128, 256, 512)}
TIMM = {
    "resnet18": ResnetConfig(**SMALL, depths=(2, 2, 2, 2)),
    "resnet34": ResnetConfig(**SMALL, depths=(3, 4, 6, 3)),
    "resnet50": ResnetConfig(),
    "resnet101": ResnetConfig(depths=(3, 4, 23, 3)),
    "resnet152": ResnetConfig(depths=(3, 8, 36, 3)),
}


def cnn_rules(ours: str, published: str, *, by_name: bool) -> list[tuple]:
    """Rules of a name map for the network at these paths: timm's names where it came by name, ResNet's own otherwise."""
    if not by_name:
        return [(f"{ours}.{rule.ours.text}", f"{published}.{rule.published.text}") for rule in resnet.NAMES.rules]
    rules = [(f"{ours}.embed.0.{{conv,norm}}.*", f"{published}.{{conv1,bn1}}.*")]
    for i in range(4):
        block, theirs = f"{ours}.stages.{i}.blocks.{{j}}", f"{published}.layer{i + 1}.{{j}}"
        rules.append((f"{block}.shortcut.{{conv,norm}}.*", f"{theirs}.downsample.{{0,1}}.*"))
        for k in range(3):
            rules.append((f"{block}.convs.{k}.{{conv,norm}}.*", f"{theirs}.{{conv{k + 1},bn{k + 1}}}.*"))
    return rules


def dilate(stage):
    """Let a stage keep its resolution: no stride, and every later 3x3 convolution twice as wide."""
    for conv in (m for m in stage.modules() if isinstance(m, nn.Conv2d)):
        if conv.stride != (1, 1):
            conv.stride = (1, 1)
        elif conv.kernel_size == (3, 3):
            conv.dilation = conv.padding = (2, 2)
