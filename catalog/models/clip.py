"""CLIP: a tower for texts and one for images, trained so that what belongs together points the same way.

Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020).
"""

from dataclasses import dataclass, field

from torch import nn

from catalog.configs import Config, ConfigMap, nested
from catalog.dual import DualEncoder
from catalog.models import clip_text, clip_vision
from catalog.models.clip_text import ClipText, ClipTextConfig, text_rules
from catalog.models.clip_vision import ClipVision, ClipVisionConfig, vision_rules
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class ClipConfig(Config):
    """Sizes of clip-vit-base-patch32. ``projection`` is the width of the common space, whatever the towers say."""

    text: ClipTextConfig = field(default_factory=ClipTextConfig)
    vision: ClipVisionConfig = field(default_factory=ClipVisionConfig)
    projection: int = 512
    scale: float = 2.6592
    init_factor: float = 1.0


CONFIG = ConfigMap(
    text=nested("text_config", ClipTextConfig, clip_text.CONFIG, "clip_text_model"),
    vision=nested("vision_config", ClipVisionConfig, clip_vision.CONFIG, "clip_vision_model"),
    projection="projection_dim", scale="logit_scale_init_value", init_factor="initializer_factor",
    kept=("text_config_dict", "vision_config_dict"),  # said again by text_config and vision_config
)  # fmt: skip

NAMES = NameMap(
    [
        *text_rules("text.", "text_model."),
        *vision_rules("vision.", "vision_model.", lambda c: c.vision.width),
        ("{text_out,vision_out}.*", "{text_projection,visual_projection}.*"),
        ("scale", "logit_scale"),
    ],
    drop=["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"],
)
HEADS = {}


class Clip(DualEncoder):
    """As :class:`catalog.dual.DualEncoder`."""

    config_class = ClipConfig

    def __init__(self, c: ClipConfig):
        super().__init__(c, ClipText(c.text), ClipVision(c.vision), width=c.projection, scale=c.scale)

    def initialise(self, std):
        """As published: the projections by the width that they read."""
        super().initialise(std)
        for out in (self.text_out, self.vision_out):
            nn.init.normal_(out.weight, 0.0, out.in_features**-0.5 * self.config.init_factor)
