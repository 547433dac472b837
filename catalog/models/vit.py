"""ViT: a pre-norm encoder over the patches of an image and a class token.

Dosovitskiy et al., 2020, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale" (arXiv:2010.11929).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import Classify, HeadSpec, MaskedImage
from catalog.images import check_patches, grid, size
from catalog.layers import (
    MLP,
    Attention,
    DenseFirstToken,
    FirstToken,
    GridPositions,
    ImageEmbed,
    MaskToken,
    PatchEmbed,
    PreNorm,
    QueryTokens,
    Stack,
    masks,
)
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class VitConfig(Config):
    """Sizes of ViT-base. ``stride`` is the side of the squares of pixels that masked image modelling paints."""

    image: int | tuple[int, ...] = 224
    patch: int | tuple[int, ...] = 16
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    act: str = "gelu"
    dropout: float = 0.0
    attn_dropout: float = 0.0
    norm_eps: float = 1e-12  # as trained; PyTorch's default of 1e-5 changes the outputs
    stride: int = 16

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        check_patches(self.image, self.patch)


CONFIG = ConfigMap(
    image=size("image_size"), patch=size("patch_size"), channels="num_channels", width="hidden_size",
    depth="num_hidden_layers", heads="num_attention_heads", hidden="intermediate_size", act="hidden_act",
    dropout="hidden_dropout_prob", attn_dropout="attention_probs_dropout_prob", norm_eps="layer_norm_eps",
    stride="encoder_stride", fixed={"qkv_bias": True},
)  # fmt: skip

RULES = [
    ("embed.front.0.weight", "embeddings.cls_token"),
    ("embed.mask.weight", "embeddings.mask_token"),
    ("embed.positions.weight", "embeddings.position_embeddings"),
    ("embed.patch.*", "embeddings.patch_embeddings.projection.*"),
    ("layers.{i}.attn.{q,k,v}.*", "encoder.layer.{i}.attention.attention.{query,key,value}.*"),
    ("layers.{i}.attn.out.*", "encoder.layer.{i}.attention.output.dense.*"),
    ("layers.{i}.norm{1,2}.*", "encoder.layer.{i}.layernorm_{before,after}.*"),
    ("layers.{i}.mlp.up.*", "encoder.layer.{i}.intermediate.dense.*"),
    ("layers.{i}.mlp.down.*", "encoder.layer.{i}.output.dense.*"),
    ("norm.*", "layernorm.*"),
    ("pool.dense.*", "pooler.dense.*"),
]
NAMES = NameMap(RULES, prefix="vit.")


class Vit(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, front + patches, width], pooler_output [B, width].

    bool_masked_pos [B, patches] hides patches behind the mask token; images of another size than the configured one need
    interpolate_pos_encoding=True. ``front`` is the number of learned tokens before the patches.
    """

    config_class = VitConfig
    front: ClassVar[int] = 1

    def __init__(self, c: VitConfig, *, pool=True, masked=False):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=c.norm_eps)
        self.embed = ImageEmbed(
            PatchEmbed(c.channels, c.width, c.patch),
            front=[QueryTokens(1, c.width) for _ in range(self.front)],
            mask=MaskToken(c.width) if masked else None,
            positions=GridPositions(grid(c.image, c.patch), c.width, front=self.front, nudge=0.1),
            dropout=c.dropout,
        )
        self.layers = Stack(
            PreNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.norm = norm()
        self.pool = DenseFirstToken(c.width) if pool else None

    def forward(self, pixel_values, bool_masked_pos=None, interpolate_pos_encoding=False):
        states = self.embed(pixel_values, bool_masked_pos, bool(interpolate_pos_encoding))
        states = self.norm(self.layers(states))
        pooled = None if self.pool is None else self.pool(states, masks.padding())
        return Encoded(last_hidden_state=states, pooler_output=pooled)


HEADS = {
    "image-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=FirstToken()), NameMap([("out.*", "classifier.*")]), backbone={"pool": False}
    ),
    "masked-image-modeling": HeadSpec(
        lambda b, c: MaskedImage(b, c, part=slice(1, None)), NameMap([("out.*", "decoder.0.*")]),
        backbone={"pool": False, "masked": True},
    ),
}  # fmt: skip
