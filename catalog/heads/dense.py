"""Heads that give every pixel a class."""

from torch import nn

from catalog import losses
from catalog.heads.base import Head
from catalog.layers.conv import ConvNormAct
from catalog.layers.pyramid import UperDecoder, resize
from catalog.namemap import NameMap
from catalog.outputs import PixelScored


class ConvClassifier(nn.Module):
    """``depth`` convolutions and a class for each place; [B, inputs, H, W] -> [B, labels, H, W]."""

    def __init__(self, inputs, width, labels, *, depth=1):
        super().__init__()
        self.convs = nn.Sequential(*(ConvNormAct(width if i else inputs, width, 3) for i in range(depth)))
        self.out = nn.Conv2d(width if depth else inputs, labels, 1)

    def forward(self, x):
        return self.out(self.convs(x))


class ClassifyPixels(Head):
    """Maps of falling resolution -> logits [B, labels, H, W] at the finest, by a UperNet decoder of this ``width``.

    ``neck`` makes them, of these ``channels``, from the backbone's maps ``config.tapped``; ``auxiliary`` classifies the third
    by itself (``None``: none), and its loss counts ``config.aux_weight``. labels [B, rows, columns] are a class a pixel, or
    ``config.ignore``; logits are resized to them. Xiao et al., 2018 (arXiv:1807.10221).
    """

    def __init__(self, backbone, config, *, neck, channels, width, auxiliary=None):
        super().__init__(backbone, config)
        self.neck, self.decoder = neck, UperDecoder(channels, width, config.scales)
        self.out, self.auxiliary = nn.Conv2d(width, len(config.labels), 1), auxiliary

    def forward(self, pixel_values, *, labels=None):
        maps = self.neck(self.backbone.maps(pixel_values, self.config.tapped))
        out = PixelScored(logits=self.out(self.decoder(maps)))
        if self.auxiliary is not None:
            out.auxiliary_logits = self.auxiliary(maps[2])
        out.loss = self.loss(out, labels=labels)
        return out

    def terms(self, output, *, labels):
        """``loss`` and, with a second classifier, ``auxiliary``, over the pixels that have a class."""
        terms = {"loss": self._term(output.logits, labels)}
        if self.auxiliary is not None:
            terms["auxiliary"] = self._term(output.auxiliary_logits, labels)._replace(weight=self.config.aux_weight)
        return terms

    def counts(self, *, labels):
        """Pixels that have a class, for each term."""
        count = losses.count(labels, self.config.ignore)
        return {"loss": count} if self.auxiliary is None else {"loss": count, "auxiliary": count}

    def _term(self, logits, labels):
        logits = resize(logits, labels.shape[1:]).permute(0, 2, 3, 1)
        return losses.cross_entropy(logits, labels, self.config.ignore)


# how BEiT and those after it publish the parts of ClassifyPixels over one-scale maps
PIXEL_NAMES = NameMap([
    ("neck.up{4,2}.{k}.*", "fpn{1,2}.{k}.*"),
    ("decoder.pooled.convs.{k}.{conv,norm}.*", "decode_head.psp_modules.{k}.1.{conv,bn}.*"),
    ("decoder.pooled.merge.{conv,norm}.*", "decode_head.bottleneck.{conv,bn}.*"),
    ("decoder.sides.{k}.{conv,norm}.*", "decode_head.lateral_convs.{k}.{conv,bn}.*"),
    ("decoder.smooth.{k}.{conv,norm}.*", "decode_head.fpn_convs.{k}.{conv,bn}.*"),
    ("decoder.merge.{conv,norm}.*", "decode_head.fpn_bottleneck.{conv,bn}.*"),
    ("out.*", "decode_head.classifier.*"),
    ("auxiliary.convs.{k}.{conv,norm}.*", "auxiliary_head.convs.{k}.{conv,bn}.*"),
    ("auxiliary.out.*", "auxiliary_head.classifier.*"),
])  # fmt: skip
