"""Heads for images: hidden patches painted, feature maps for dense tasks, and DeiT's pair of classifiers."""

from torch import nn

from catalog import losses
from catalog.errors import ConfigError
from catalog.heads.base import Head
from catalog.images import stage_name
from catalog.layers.conv import ChannelNorm
from catalog.layers.patch import pair
from catalog.losses import Term
from catalog.outputs import Mapped, Reconstructed, Scored, TaughtScored


class MaskedImage(Head):
    """Encoded patches -> the pixels of the image, [B, channels, H, W]. Xie et al., 2021 (arXiv:2111.09886).

    ``part`` cuts the patches out of the tokens [B, T, width], one for each square of ``config.stride`` pixels. The loss is the
    mean distance of pixels under hidden patches; the image is the answer, so both arguments are inputs as well.
    """

    targets = ("pixel_values", "bool_masked_pos")

    def __init__(self, backbone, config, *, part=slice(None)):
        super().__init__(backbone, config)
        self.part = part
        self.out = nn.Conv2d(backbone.width, config.stride**2 * config.channels, 1)
        self.shuffle = nn.PixelShuffle(config.stride)

    def forward(self, pixel_values, bool_masked_pos=None, **more):
        states = self.backbone(pixel_values, bool_masked_pos, **more).last_hidden_state[:, self.part]
        rows, columns = (size // self.config.stride for size in pixel_values.shape[2:])
        squares = states.transpose(1, 2).unflatten(2, (rows, columns))
        out = Reconstructed(reconstruction=self.shuffle(self.out(squares)))
        out.loss = self.loss(out, pixel_values=pixel_values, bool_masked_pos=bool_masked_pos)
        return out

    def terms(self, output, *, pixel_values, bool_masked_pos):
        """One term, ``loss``, over the pixels of hidden patches; all channels of a pixel count once."""
        hidden = self._pixels(bool_masked_pos, pixel_values.shape)[:, None]
        distance = (output.reconstruction - pixel_values).abs() * hidden
        return {"loss": Term(distance.sum() / pixel_values.shape[1], hidden.sum())}

    def counts(self, *, pixel_values, bool_masked_pos):
        """Pixels under hidden patches."""
        return {"loss": self._pixels(bool_masked_pos, pixel_values.shape).sum()}

    def _pixels(self, masked, shape):
        """masked [B, patches] -> which pixels [B, H, W] are hidden."""
        high, wide = pair(self.config.patch)
        squares = masked.bool().unflatten(1, (shape[2] // high, shape[3] // wide))
        return squares.repeat_interleave(high, 1).repeat_interleave(wide, 2)


class MaskedVisualTokens(Head):
    """Encoded patches -> logits [B, patches, vocab] of the visual token behind each. Bao et al., 2021 (arXiv:2106.08254).

    labels are those of the hidden patches in order, [hidden], or one a patch, [B, patches], -100 where there is none.
    """

    targets = ("labels", "bool_masked_pos")

    def __init__(self, backbone, config, *, norm):
        super().__init__(backbone, config)
        self.norm, self.out = norm, nn.Linear(backbone.width, config.vocab)

    def forward(self, pixel_values, bool_masked_pos=None, *, labels=None):
        states = self.backbone(pixel_values, bool_masked_pos).last_hidden_state
        out = Scored(logits=self.out(self.norm(states)[:, 1:]))
        out.loss = self.loss(out, labels=labels, bool_masked_pos=bool_masked_pos)
        return out

    def terms(self, output, *, labels, bool_masked_pos):
        """One term, ``loss``."""
        logits = output.logits if labels.dim() == 2 else output.logits[bool_masked_pos.bool()]
        return {"loss": losses.cross_entropy(logits, labels)}

    def counts(self, *, labels, bool_masked_pos):
        """Labels that are not ignored."""
        return {"loss": losses.count(labels)}


class FeatureMaps(Head):
    """The maps [B, channels, H, W] of the stages ``config.features`` (``None``: the last), as dense tasks take them.

    The backbone gives them by ``maps(pixel_values, chosen)`` and their channels by ``widths``; with ``norm_eps`` each
    chosen map has a layer norm of its own (``None``: none).
    """

    targets = ()

    def __init__(self, backbone, config, *, norm_eps=None):
        super().__init__(backbone, config)
        count = len(backbone.widths)
        self.chosen = sorted(n % count for n in ((-1,) if config.features is None else config.features))
        normed = self.chosen if norm_eps is not None else ()
        self.norms = nn.ModuleDict({stage_name(n): ChannelNorm(backbone.widths[n], eps=norm_eps) for n in normed})

    def forward(self, pixel_values):
        named = zip(map(stage_name, self.chosen), self.backbone.maps(pixel_values, self.chosen))
        return Mapped(feature_maps=tuple(self.norms[name](x) if name in self.norms else x for name, x in named))

    def terms(self, output, **targets):
        """None: feature maps have no loss."""
        return {}

    def counts(self, **targets):
        """None."""
        return {}


class TeacherClassify(Head):
    """Two classifiers, on the class token and on the distillation token, averaged -> logits [B, labels].

    For inference only, as published: the teacher is no part of the model. Touvron et al., 2020 (arXiv:2012.12877).
    """

    targets = ()

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        labels = len(config.labels)
        self.out, self.taught = nn.Linear(backbone.width, labels), nn.Linear(backbone.width, labels)

    def forward(self, pixel_values, **more):
        states = self.backbone(pixel_values, **more).last_hidden_state
        own, taught = self.out(states[:, 0]), self.taught(states[:, 1])
        return TaughtScored(logits=(own + taught) / 2, cls_logits=own, distillation_logits=taught)

    def terms(self, output, **targets):
        """Raises ConfigError: there is no loss without the teacher."""
        return self.counts()

    def counts(self, **targets):
        """Raises ConfigError, as ``terms``."""
        raise ConfigError(
            "'image-classification-with-teacher' has no loss of its own, as the teacher is no part of the model: "
            "fine-tune with the head 'image-classification'"
        )
