"""BEiT: ViT with a bias for each offset between patches, pre-trained to name the visual tokens behind hidden patches.

Bao et al., 2021, "BEiT: BERT Pre-Training of Image Transformers" (arXiv:2106.08254).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import PIXEL_NAMES, Classify, ClassifyPixels, ConvClassifier, HeadSpec, MaskedVisualTokens
from catalog.images import check_patches, grid, patch_map, several, size
from catalog.layers import (
    MLP,
    BiasedAttention,
    FirstToken,
    GridPositions,
    ImageEmbed,
    LayerScale,
    MaskToken,
    MeanPatches,
    OneScalePyramid,
    PatchEmbed,
    QueryTokens,
    ScaledPreNorm,
    Stack,
    TokenWindowBias,
    masks,
    path_rates,
)
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class BeitConfig(Config):
    """Sizes of BEiT-base. Positions are learned vectors (``absolute``), a bias in each layer (``relative``) or one for all
    (``shared``); ``mean`` pools the patches instead of the class token. ``taps``, ``scales`` and ``aux*`` are of segmentation.
    """

    vocab: int = 8192
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
    path: float = 0.1
    scale: float = 0.1
    norm_eps: float = 1e-12
    masked: bool = False
    absolute: bool = False
    relative: bool = False
    shared: bool = False
    mean: bool = True
    taps: tuple[int, ...] = (3, 5, 7, 11)
    scales: tuple[int, ...] = (1, 2, 3, 6)
    aux: bool = True
    aux_weight: float = 0.4
    aux_width: int = 256
    aux_depth: int = 1
    ignore: int = 255

    @property
    def tapped(self) -> list[int]:
        """The states that segmentation reads, 0 before the first layer: one before each of ``taps``, as published."""
        return [n - 1 for n in self.taps if n > 0]

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        if len(self.taps) != 4 or len(self.tapped) < 3 or max(self.tapped) > self.depth:
            raise ConfigError(f"taps {self.taps} must be four numbers of layers, at most one of them 0")
        check_patches(self.image, self.patch)


CONFIG = ConfigMap(
    vocab="vocab_size", image=size("image_size"), patch=size("patch_size"), channels="num_channels",
    width="hidden_size", depth="num_hidden_layers", heads="num_attention_heads", hidden="intermediate_size",
    act="hidden_act", dropout="hidden_dropout_prob", attn_dropout="attention_probs_dropout_prob",
    path="drop_path_rate", scale="layer_scale_init_value", norm_eps="layer_norm_eps", masked="use_mask_token",
    absolute="use_absolute_position_embeddings", relative="use_relative_position_bias",
    shared="use_shared_relative_position_bias", mean="use_mean_pooling", taps=several("out_indices"),
    scales=several("pool_scales"), aux="use_auxiliary_head", aux_weight="auxiliary_loss_weight",
    aux_width="auxiliary_channels", aux_depth="auxiliary_num_convs", ignore="semantic_loss_ignore_index",
    fixed={"auxiliary_concat_input": False}, kept=("out_features", "stage_names", "add_fpn", "reshape_hidden_states"),
)  # fmt: skip

LAYER, TABLE = "encoder.layer.{i}", "relative_position_bias.relative_position_bias_table"
RULES = [
    ("embed.front.0.weight", "embeddings.cls_token"),
    ("embed.mask.weight", "embeddings.mask_token"),
    ("embed.positions.weight", "embeddings.position_embeddings"),
    ("embed.patch.*", "embeddings.patch_embeddings.projection.*"),
    ("bias.table", f"encoder.{TABLE}"),
    ("layers.{i}.attn.{q,k,v}.*", LAYER + ".attention.attention.{query,key,value}.*"),
    ("layers.{i}.attn.bias.table", f"{LAYER}.attention.attention.{TABLE}"),
    ("layers.{i}.attn.out.*", LAYER + ".attention.output.dense.*"),
    ("layers.{i}.norm{1,2}.*", LAYER + ".layernorm_{before,after}.*"),
    ("layers.{i}.mlp.up.*", LAYER + ".intermediate.dense.*"),
    ("layers.{i}.mlp.down.*", LAYER + ".output.dense.*"),
    ("layers.{i}.scale{1,2}.weight", LAYER + ".lambda_{1,2}"),
    ("norm.*", "layernorm.*"),
    ("pool.norm.*", "pooler.layernorm.*"),
]
INDEX = "attention.attention.relative_position_bias.relative_position_index"
DROP = ["encoder.relative_position_bias.relative_position_index", f"{LAYER}.{INDEX}"]
NAMES = NameMap(RULES, prefix="beit.", drop=DROP)


class Beit(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, 1 + patches, width], pooler_output [B, width].

    bool_masked_pos [B, patches] hides patches behind the mask token. Images have the configured size.
    """

    config_class = BeitConfig

    def __init__(self, c: BeitConfig, *, pool=True):
        super().__init__()
        self.config = c
        norm, shape = partial(nn.LayerNorm, c.width, eps=c.norm_eps), grid(c.image, c.patch)
        self.embed = ImageEmbed(
            PatchEmbed(c.channels, c.width, c.patch), front=[QueryTokens(1, c.width)],
            mask=MaskToken(c.width) if c.masked else None,
            positions=GridPositions(shape, c.width) if c.absolute else None, dropout=c.dropout,
        )  # fmt: skip
        self.bias = TokenWindowBias(shape, c.heads) if c.shared else None
        self.layers = Stack(self._layer(c, norm, shape, path) for path in path_rates(c.path, c.depth))
        self.norm = nn.Identity() if c.mean else norm()
        self.pool = None if not pool else MeanPatches(norm()) if c.mean else FirstToken()

    def _layer(self, c, norm, shape, path):
        window = TokenWindowBias(shape, c.heads) if c.relative else None
        scales = [LayerScale(c.width, c.scale) if c.scale > 0 else None for _ in range(2)]
        return ScaledPreNorm(
            attn=BiasedAttention(c.width, c.heads, window=window, dropout=c.attn_dropout),
            mlp=MLP(c.width, c.hidden, c.act), norm1=norm(), norm2=norm(), scale1=scales[0], scale2=scales[1],
            dropout=c.dropout, path=path,
        )  # fmt: skip

    def recorded(self):
        """The last state is the last block's, before the norm."""
        return {**self.records, "hidden_states": ("layers", f"layers.{self.config.depth - 1}")}

    def embedded(self, pixels, masked=None):
        """What the layers receive: states [B, 1 + patches, width], and the bias that they share."""
        c, shape = self.config, self.embed.patch.grid(pixels)
        if shape != grid(c.image, c.patch):
            raise ConfigError(
                f"pixel_values {list(pixels.shape)} make {shape[0]} x {shape[1]} patches, and this model's positions are for "
                f"images of {c.image}: resize them"
            )
        return self.embed(pixels, masked), None if self.bias is None else self.bias()

    def maps(self, pixel_values, chosen):
        """Patches as maps [B, width, rows, columns] as they leave the layers ``chosen``; 0 is before the first."""
        x, bias = self.embedded(pixel_values)
        states = self.layers.states(x, bias=bias)
        return [patch_map(states[n], self.embed.patch.grid(pixel_values)) for n in chosen]

    def forward(self, pixel_values, bool_masked_pos=None):
        x, bias = self.embedded(pixel_values, bool_masked_pos)
        states = self.norm(self.layers(x, bias=bias))
        pooled = None if self.pool is None else self.pool(states, masks.padding())
        return Encoded(last_hidden_state=states, pooler_output=pooled)


def _segment(b, c):
    labels = len(c.labels)
    auxiliary = ConvClassifier(c.width, c.aux_width, labels, depth=c.aux_depth) if c.aux else None
    return ClassifyPixels(
        b, c, neck=OneScalePyramid(c.width), channels=[c.width] * 4, width=c.width, auxiliary=auxiliary
    )


HEADS = {
    "image-classification": HeadSpec(Classify, NameMap([("out.*", "classifier.*")]), backbone={"pool": True}),
    "masked-image-modeling": HeadSpec(
        lambda b, c: MaskedVisualTokens(b, c, norm=nn.LayerNorm(c.width, eps=c.norm_eps)),
        NameMap([("norm.*", "layernorm.*"), ("out.*", "lm_head.*")]), backbone={"pool": False},
    ),
    "semantic-segmentation": HeadSpec(_segment, PIXEL_NAMES, backbone={"pool": False}),
}  # fmt: skip
