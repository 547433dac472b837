"""One tower of a pair by itself: its pooled state in the common space."""

from torch import nn

from catalog.errors import ConfigError
from catalog.heads.base import Head
from catalog.outputs import ImageProjected, TextProjected


class ProjectText(Head):
    """Texts -> text_embeds [B, projection]; no loss, as it takes both towers (see :mod:`catalog.dual`)."""

    targets = ()

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.out = nn.Linear(backbone.width, config.projection, bias=False)

    def forward(self, *inputs, **more):
        encoded = self.backbone(*inputs, **more)
        return self.pack(self.out(encoded.pooler_output), encoded.last_hidden_state)

    def pack(self, embeds, states):
        """The published output."""
        return TextProjected(text_embeds=embeds, last_hidden_state=states)

    def terms(self, output, **targets):
        """Raises ConfigError: one tower has no loss."""
        raise ConfigError("one tower has nothing to be compared with: train the model of both towers")

    counts = terms


class ProjectImage(ProjectText):
    """Images -> image_embeds [B, projection]; no loss."""

    def pack(self, embeds, states):
        """The published output."""
        return ImageProjected(image_embeds=embeds, last_hidden_state=states)
