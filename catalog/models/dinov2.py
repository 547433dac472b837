"""DINOv2: ViT with a learned factor on each branch, and gated MLPs in its largest size.

Oquab et al., 2023, "DINOv2: Learning Robust Visual Features without Supervision" (arXiv:2304.07193).
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import Classify, FeatureMaps, HeadSpec
from catalog.images import FEATURES, FEATURES_LEGACY, check_features, check_patches, grid, patch_map, size
from catalog.layers import (
    MLP,
    Attention,
    GatedMLP,
    GridPositions,
    ImageEmbed,
    LayerScale,
    MaskToken,
    PatchEmbed,
    QueryTokens,
    ScaledPreNorm,
    Stack,
    path_rates,
)
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.ops import Reshape, Split
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class Dinov2Config(Config):
    """Sizes of DINOv2-base. ``ratio`` is that of an MLP's hidden width, ``scale`` where the factor on a branch starts,
    ``map_norm`` whether feature maps pass the last norm."""

    image: int | tuple[int, ...] = 518
    patch: int | tuple[int, ...] = 14
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    ratio: int | float = 4
    act: str = "gelu"
    gated: bool = False
    dropout: float = 0.0
    attn_dropout: float = 0.0
    path: float = 0.0
    scale: float = 1.0
    norm_eps: float = 1e-6
    map_norm: bool = True
    features: tuple[int, ...] | None = None

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        check_patches(self.image, self.patch)
        check_features(self.features, self.depth)


CONFIG = ConfigMap(
    image=size("image_size"), patch=size("patch_size"), channels="num_channels", width="hidden_size",
    depth="num_hidden_layers", heads="num_attention_heads", ratio="mlp_ratio", act="hidden_act", gated="use_swiglu_ffn",
    dropout="hidden_dropout_prob", attn_dropout="attention_probs_dropout_prob", path="drop_path_rate",
    scale="layerscale_value", norm_eps="layer_norm_eps", map_norm="apply_layernorm", features=FEATURES,
    legacy=FEATURES_LEGACY, kept=("stage_names",), fixed={"qkv_bias": True, "reshape_hidden_states": True},
)  # fmt: skip

LAYER = "encoder.layer.{i}"
RULES = [
    ("embed.front.0.weight", "embeddings.cls_token"),
    ("embed.mask.weight", "embeddings.mask_token", Reshape(lambda c: (1, 1, c.width), lambda c: (1, c.width))),
    ("embed.positions.weight", "embeddings.position_embeddings"),
    ("embed.patch.*", "embeddings.patch_embeddings.projection.*"),
    ("layers.{i}.attn.{q,k,v}.*", LAYER + ".attention.attention.{query,key,value}.*"),
    ("layers.{i}.attn.out.*", LAYER + ".attention.output.dense.*"),
    ("layers.{i}.norm{1,2}.*", LAYER + ".norm{1,2}.*"),
    ("layers.{i}.scale{1,2}.weight", LAYER + ".layer_scale{1,2}.lambda1"),
    ("norm.*", "layernorm.*"),
]
PLAIN = [("layers.{i}.mlp.{up,down}.*", LAYER + ".mlp.{fc1,fc2}.*")]
GATED = [
    ("layers.{i}.mlp.{gate,up}.*", LAYER + ".mlp.weights_in.*", Split(2)),
    ("layers.{i}.mlp.down.*", LAYER + ".mlp.weights_out.*"),
]


def names(c: Dinov2Config) -> NameMap:
    """Gated MLPs have matrices under names of their own."""
    return NameMap([*RULES, *(GATED if c.gated else PLAIN)], prefix="dinov2.")


def _mlp(c):
    hidden = int(c.width * c.ratio)
    if c.gated:  # two thirds, to a multiple of 8: as many parameters as the plain one
        return GatedMLP(c.width, (hidden * 2 // 3 + 7) // 8 * 8, bias=True)
    return MLP(c.width, hidden, c.act)


class ClassAndMean(nn.Module):
    """The class token's state beside the mean of the patches', [B, 2 width]."""

    def forward(self, states, mask):
        return torch.cat([states[:, 0], states[:, 1:].mean(1)], -1)


class Dinov2(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, 1 + patches, width], pooler_output [B, width].

    Images of any size: positions are resampled. bool_masked_pos [B, patches] hides patches behind the mask token.
    """

    config_class = Dinov2Config

    def __init__(self, c: Dinov2Config):
        super().__init__()
        self.config, self.widths = c, (c.width,) * (c.depth + 1)
        norm, scale = partial(nn.LayerNorm, c.width, eps=c.norm_eps), partial(LayerScale, c.width, c.scale)
        self.embed = ImageEmbed(
            PatchEmbed(c.channels, c.width, c.patch), front=[QueryTokens(1, c.width)], mask=MaskToken(c.width),
            positions=GridPositions(grid(c.image, c.patch), c.width, nudge=0.1), dropout=c.dropout,
        )  # fmt: skip
        self.layers = Stack(
            ScaledPreNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout), mlp=_mlp(c), norm1=norm(), norm2=norm(),
                scale1=scale(), scale2=scale(), dropout=c.dropout, path=path,
            )
            for path in path_rates(c.path, c.depth)
        )  # fmt: skip
        self.norm = norm()

    def recorded(self):
        """The last state is the last block's, before the norm."""
        return {**self.records, "hidden_states": ("layers", f"layers.{self.config.depth - 1}")}

    def maps(self, pixel_values, chosen):
        """Patches as maps [B, width, rows, columns] as they leave the layers ``chosen``; 0 is before the first."""
        states = self.layers.states(self.embed(pixel_values))
        chosen = [self.norm(states[n]) if self.config.map_norm else states[n] for n in chosen]
        shape = self.embed.patch.grid(pixel_values)
        return [patch_map(x, shape) for x in chosen]

    def forward(self, pixel_values, bool_masked_pos=None):
        states = self.norm(self.layers(self.embed(pixel_values, bool_masked_pos)))
        return Encoded(last_hidden_state=states, pooler_output=states[:, 0])


HEADS = {
    "image-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=ClassAndMean(), width=2 * c.width), NameMap([("out.*", "classifier.*")])
    ),
    "feature-maps": HeadSpec(FeatureMaps, prefix=""),
}
