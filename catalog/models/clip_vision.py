"""CLIP's image tower: a pre-norm encoder over patches and a class token, with one norm more in front.

Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020).
"""

from dataclasses import dataclass

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import HeadSpec, ProjectImage
from catalog.images import check_patches, grid
from catalog.layers import GridPositions, ImageEmbed, PatchEmbed, QueryTokens
from catalog.model import Backbone
from catalog.models.clip_text import UNREAD, start_tower, tower, tower_rules
from catalog.namemap import NameMap
from catalog.ops import Reshape
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class ClipVisionConfig(Config):
    """Sizes of the image tower of clip-vit-base-patch32."""

    image: int = 224
    patch: int = 32
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    projection: int = 512
    act: str = "quick_gelu"
    attn_dropout: float = 0.0
    norm_eps: float = 1e-5
    init_factor: float = 1.0

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        check_patches(self.image, self.patch)


CONFIG = ConfigMap(
    image="image_size", patch="patch_size", channels="num_channels", width="hidden_size", depth="num_hidden_layers",
    heads="num_attention_heads", hidden="intermediate_size", projection="projection_dim", act="hidden_act",
    attn_dropout="attention_dropout", norm_eps="layer_norm_eps", init_factor="initializer_factor", kept=UNREAD,
)  # fmt: skip


def vision_rules(ours, published, width=lambda c: c.width):
    """All of the image tower; ``width(config)`` is its width."""
    token = Reshape(lambda c: (1, 1, width(c)), lambda c: (width(c),))
    table = Reshape(lambda c: (1, -1, width(c)), lambda c: (-1, width(c)))
    return [
        *tower_rules(ours, published),
        (f"{ours}embed.front.0.weight", f"{published}embeddings.class_embedding", token),
        (f"{ours}embed.positions.weight", f"{published}embeddings.position_embedding.weight", table),
        (f"{ours}embed.patch.*", f"{published}embeddings.patch_embedding.*"),
        (f"{ours}{{front_norm,norm}}.*", f"{published}{{pre_layrnorm,post_layernorm}}.*"),
    ]


NAMES = NameMap(vision_rules("", "vision_model."), drop=["vision_model.embeddings.position_ids"])


class ClipVision(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, 1 + patches, width], pooler_output [B, width].

    The pooled state alone passes the last norm. Images of another size need interpolate_pos_encoding=True.
    """

    config_class = ClipVisionConfig

    def __init__(self, c: ClipVisionConfig):
        super().__init__()
        self.config = c
        patch = PatchEmbed(c.channels, c.width, c.patch)
        patch.bias = None  # as published
        self.embed = ImageEmbed(
            patch, front=[QueryTokens(1, c.width)], positions=GridPositions(grid(c.image, c.patch), c.width)
        )
        self.front_norm, self.norm = (nn.LayerNorm(c.width, eps=c.norm_eps) for _ in range(2))
        self.layers = tower(c)

    def forward(self, pixel_values, interpolate_pos_encoding=False):
        states = self.embed(pixel_values, interpolate=bool(interpolate_pos_encoding))
        states = self.layers(self.front_norm(states))
        return Encoded(last_hidden_state=states, pooler_output=self.norm(states[:, 0]))

    def initialise(self, std):
        """As published; see :func:`catalog.models.clip_text.start_tower`."""
        factor, embed = self.config.init_factor, self.embed
        nn.init.normal_(embed.front[0].weight, 0.0, self.config.width**-0.5 * factor)
        for table in (embed.patch, embed.positions):
            nn.init.normal_(table.weight, 0.0, std * factor)
        start_tower(self.layers, self.config)


HEADS = {"projection": HeadSpec(ProjectImage, NameMap([("out.*", "visual_projection.*")]))}
