"""Swin Transformer: attention within windows that shift from block to block, over maps that shrink from stage to stage.

Liu et al., 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (arXiv:2103.14030).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.nn import functional as F

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import Classify, FeatureMaps, HeadSpec, MaskedImage
from catalog.images import FEATURES, FEATURES_LEGACY, Staged, check_features, check_patches, pair, several, size
from catalog.layers import (
    MLP,
    ImageEmbed,
    MaskToken,
    PatchEmbed,
    PatchMerge,
    ScaledPreNorm,
    Stage,
    WindowAttention,
    path_rates,
)
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class SwinConfig(Config):
    """Sizes of Swin-tiny; ``width`` is that of the first stage, and doubles with each. ``stride`` as in ViT."""

    image: int | tuple[int, ...] = 224
    patch: int | tuple[int, ...] = 4
    channels: int = 3
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    ratio: float = 4.0  # of an MLP's hidden width
    act: str = "gelu"
    dropout: float = 0.0
    attn_dropout: float = 0.0
    path: float = 0.1
    norm_eps: float = 1e-5
    stride: int = 32
    features: tuple[int, ...] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each stage."""
        return tuple(self.width * 2**i for i in range(len(self.depths)))

    def check(self):
        if len(self.heads) != len(self.depths):
            raise ConfigError(f"heads {self.heads} and depths {self.depths} are one number a stage each")
        for width, heads in zip(self.widths, self.heads):
            if width % heads:
                raise ConfigError(f"width {width} does not divide into {heads} heads")
        check_patches(self.image, self.patch)
        check_features(self.features, len(self.depths))


CONFIG = ConfigMap(
    image=size("image_size"), patch=size("patch_size"), channels="num_channels", width="embed_dim",
    depths=several("depths"), heads=several("num_heads"), window="window_size", ratio="mlp_ratio", act="hidden_act",
    dropout="hidden_dropout_prob", attn_dropout="attention_probs_dropout_prob", path="drop_path_rate",
    norm_eps="layer_norm_eps", stride="encoder_stride", features=FEATURES, legacy=FEATURES_LEGACY,
    fixed={"qkv_bias": True, "use_absolute_embeddings": False},
    kept=("hidden_size", "num_layers", "stage_names", "path_norm"),
)  # fmt: skip

BLOCK = "encoder.layers.{i}.blocks.{j}"
RULES = [
    ("embed.mask.weight", "embeddings.mask_token"),
    ("embed.patch.*", "embeddings.patch_embeddings.projection.*"),
    ("embed.norm.*", "embeddings.norm.*"),
    ("stages.{i}.blocks.{j}.attn.{q,k,v}.*", BLOCK + ".attention.self.{query,key,value}.*"),
    ("stages.{i}.blocks.{j}.attn.bias.table", BLOCK + ".attention.self.relative_position_bias_table"),
    ("stages.{i}.blocks.{j}.attn.out.*", BLOCK + ".attention.output.dense.*"),
    ("stages.{i}.blocks.{j}.norm{1,2}.*", BLOCK + ".layernorm_{before,after}.*"),
    ("stages.{i}.blocks.{j}.mlp.up.*", BLOCK + ".intermediate.dense.*"),
    ("stages.{i}.blocks.{j}.mlp.down.*", BLOCK + ".output.dense.*"),
    ("norm.*", "layernorm.*"),
]


def names(c: SwinConfig) -> NameMap:
    """The published merging stands at the end of a stage, ours at the start of the next."""
    merging = [
        (f"stages.{i + 1}.down.{{norm,reduce}}.*", f"encoder.layers.{i}.downsample.{{norm,reduction}}.*")
        for i in range(len(c.depths) - 1)
    ]
    index = BLOCK + ".attention.self.relative_position_index"
    return NameMap([*RULES, *merging], prefix="swin.", drop=[index])


def _tokens(x):
    return x.flatten(1, 2)


def _channels_first(x):
    return x.permute(0, 3, 1, 2)


class Swin(Staged):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, patches, width], pooler_output [B, width].

    bool_masked_pos [B, patches] hides patches behind the mask token. ``featuring`` is how the published feature extractor
    differs: no last norm, windows shift on maps of any size, and a hidden state is what a stage gives before merging.
    """

    config_class = SwinConfig

    def __init__(self, c: SwinConfig, *, pool=True, masked=False, featuring=False):
        super().__init__()
        self.config, self.widths, self.featuring = c, (c.width, *c.widths), featuring
        norm = partial(nn.LayerNorm, eps=c.norm_eps)
        self.embed = ImageEmbed(
            PatchEmbed(c.channels, c.width, c.patch), norm=norm(c.width),
            mask=MaskToken(c.width) if masked else None, dropout=c.dropout,
        )  # fmt: skip
        rates = iter(path_rates(c.path, sum(c.depths)))
        self.stages = nn.Sequential()
        for i, (width, depth) in enumerate(zip(c.widths, c.depths)):
            blocks = (self._block(c, i, shifted=j % 2 == 1, path=next(rates)) for j in range(depth))
            self.stages.append(Stage(blocks, down=PatchMerge(width // 2, norm=norm) if i else None))
        self.norm = None if featuring else norm(c.widths[-1])
        self.pool = pool

    def _block(self, c, stage, *, shifted, path):
        width, shift = c.widths[stage], c.window // 2 if shifted else 0
        return ScaledPreNorm(
            attn=WindowAttention(
                width, c.heads[stage], c.window, shift, whole=self.featuring, dropout=c.attn_dropout
            ),
            mlp=MLP(width, int(c.ratio * width), c.act),
            norm1=nn.LayerNorm(width, eps=c.norm_eps), norm2=nn.LayerNorm(width, eps=c.norm_eps),
            dropout=c.dropout, path=path,
        )  # fmt: skip

    def recorded(self):
        """Attention weights are those of each stage's last block, as published."""
        weights = [f"stages.{i}.blocks.{depth - 1}.attn" for i, depth in enumerate(self.config.depths)]
        last = f"stages.{len(self.stages) - 1}"
        if self.featuring:
            return {"hidden_states": ("stages", last, _tokens), "attentions": weights}
        merged = ("stages.*.blocks", last)
        return {
            "hidden_states": (*merged, _tokens), "reshaped_hidden_states": (*merged, _channels_first),
            "attentions": weights,
        }  # fmt: skip

    def stem(self, pixels, masked=None):
        """The patches as a map [B, H / patch, W / patch, width]; the image is filled up to whole patches."""
        high, wide = pair(self.config.patch)
        pixels = F.pad(pixels, (0, -pixels.shape[3] % wide, 0, -pixels.shape[2] % high))
        return self.embed(pixels, masked).unflatten(1, self.embed.patch.grid(pixels))

    def maps(self, pixel_values, chosen):
        found = [self.stem(pixel_values)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return [_channels_first(found[n]) for n in chosen]

    def forward(self, pixel_values, bool_masked_pos=None):
        states = self.norm(_tokens(self.stages(self.stem(pixel_values, bool_masked_pos))))
        return Encoded(last_hidden_state=states, pooler_output=states.mean(1) if self.pool else None)


HEADS = {
    "image-classification": HeadSpec(Classify, NameMap([("out.*", "classifier.*")])),
    "masked-image-modeling": HeadSpec(
        MaskedImage, NameMap([("out.*", "decoder.0.*")]), backbone={"pool": False, "masked": True}
    ),
    "feature-maps": HeadSpec(
        lambda b, c: FeatureMaps(b, c, norm_eps=1e-5),
        NameMap([("norms.stage{i}.*", "hidden_states_norms.stage{i}.*"), ("norms.stem.*", "hidden_states_norms.stem.*")]),
        prefix="", backbone={"featuring": True},
    ),
}  # fmt: skip
