"""ConvNeXT: depthwise convolutions with the proportions of a transformer.

Liu et al., 2022, "A ConvNet for the 2020s" (arXiv:2201.03545).
"""

from dataclasses import dataclass

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import Classify, FeatureMaps, HeadSpec
from catalog.images import FEATURES, FEATURES_LEGACY, Staged, check_features, several
from catalog.layers import MLP, ChannelNorm, DropPath, LayerScale, Stage, path_rates
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class ConvNextConfig(Config):
    """Sizes of ConvNeXT-tiny. ``scale`` is where the factor on each block starts (0: there is none)."""

    image: int = 224
    channels: int = 3
    patch: int = 4
    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    act: str = "gelu"
    scale: float = 1e-6
    path: float = 0.0
    norm_eps: float = 1e-12  # of the last norm only
    features: tuple[int, ...] | None = None

    def check(self):
        if len(self.widths) != len(self.depths):
            raise ConfigError(f"widths {self.widths} and depths {self.depths} are one number a stage each")
        check_features(self.features, len(self.depths))


CONFIG = ConfigMap(
    image="image_size", channels="num_channels", patch="patch_size", widths=several("hidden_sizes"),
    depths=several("depths"), act="hidden_act", scale="layer_scale_init_value", path="drop_path_rate",
    norm_eps="layer_norm_eps", features=FEATURES, legacy=FEATURES_LEGACY, kept=("stage_names", "num_stages"),
)  # fmt: skip

BLOCK = "encoder.stages.{i}.layers.{j}"
NAMES = NameMap(
    [
        ("embed.{0,1}.*", "embeddings.{patch_embeddings,layernorm}.*"),
        ("stages.{i}.down.{0,1}.*", "encoder.stages.{i}.downsampling_layer.{0,1}.*"),
        ("stages.{i}.blocks.{j}.{conv,norm}.*", BLOCK + ".{dwconv,layernorm}.*"),
        ("stages.{i}.blocks.{j}.mlp.{up,down}.*", BLOCK + ".{pwconv1,pwconv2}.*"),
        ("stages.{i}.blocks.{j}.scale.weight", BLOCK + ".layer_scale_parameter"),
        ("pool.norm.*", "layernorm.*"),
    ],
    prefix="convnext.",
)
EPS = 1e-6  # of every norm but the last, as trained


class ConvNextBlock(nn.Module):
    """x + path(scale(mlp(norm(conv(x))))), each channel convolved by itself; [B, width, H, W] -> same."""

    def __init__(self, width, *, mlp, norm, scale=None, path=0.0):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp, self.scale, self.path = norm, mlp, scale or nn.Identity(), DropPath(path)

    def forward(self, x):
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x + self.path(self.scale(self.mlp(y)).permute(0, 3, 1, 2))


class MeanNorm(nn.Module):
    """norm(mean over all places), [B, width, H, W] -> [B, width]."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x.mean((2, 3)))


class ConvNext(Staged):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, width, H / 32, W / 32], pooler_output [B, width]."""

    config_class = ConvNextConfig

    def __init__(self, c: ConvNextConfig, *, pool=True):
        super().__init__()
        self.config, self.widths = c, (c.widths[0], *c.widths)
        self.embed = nn.Sequential(
            nn.Conv2d(c.channels, c.widths[0], c.patch, c.patch), ChannelNorm(c.widths[0], eps=EPS)
        )
        rates = iter(path_rates(c.path, sum(c.depths)))
        self.stages = nn.ModuleList(
            Stage(
                (self.block(c, width, next(rates)) for _ in range(depth)),
                down=self.down(c.widths[i - 1], width) if i else None,
            )
            for i, (width, depth) in enumerate(zip(c.widths, c.depths))
        )
        self.pool = MeanNorm(nn.LayerNorm(c.widths[-1], eps=c.norm_eps)) if pool else None

    def block(self, c, width, path):
        """One block at this width, dropped at the rate ``path`` while training."""
        scale = LayerScale(width, c.scale) if c.scale > 0 else None
        mlp, norm = MLP(width, 4 * width, c.act), nn.LayerNorm(width, eps=EPS)
        return ConvNextBlock(width, mlp=mlp, norm=norm, scale=scale, path=path)

    @staticmethod
    def down(inputs, outputs):
        """Half the resolution."""
        return nn.Sequential(ChannelNorm(inputs, eps=EPS), nn.Conv2d(inputs, outputs, 2, 2))


HEADS = {
    "image-classification": HeadSpec(Classify, NameMap([("out.*", "classifier.*")])),
    "feature-maps": HeadSpec(
        lambda b, c: FeatureMaps(b, c, norm_eps=EPS),
        NameMap([("norms.stage{i}.*", "hidden_states_norms.stage{i}.*"), ("norms.stem.*", "hidden_states_norms.stem.*")]),
        prefix="", backbone={"pool": False},
    ),
}  # fmt: skip
