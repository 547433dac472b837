"""The parts that models are made of."""

from catalog.layers import masks
from catalog.layers.attend import attend, use_kernel
from catalog.layers.attention import Attention
from catalog.layers.blocks import CrossPostNorm, CrossPreNorm, Parallel, PostNorm, PreNorm, Stack
from catalog.layers.cache import Cache, LayerCache
from catalog.layers.conv import ChannelNorm, ConvNormAct, ResidualConv, Stage
from catalog.layers.embed import TokenEmbedding
from catalog.layers.mlp import MLP, GatedMLP, activation
from catalog.layers.norms import FrozenBatchNorm2d, RMSNorm
from catalog.layers.patch import GridPositions, ImageEmbed, MaskToken, PatchEmbed, QueryTokens
from catalog.layers.pooling import DenseFirstToken, FirstToken, LastToken, MeanPatches, MeanTokens
from catalog.layers.positions import Alibi, BucketBias, InterleavedRotary, LearnedPositions, Rotary
from catalog.layers.pyramid import OneScalePyramid, PooledScales, UperDecoder
from catalog.layers.residual import DropPath, LayerScale, ScaledPreNorm, path_rates
from catalog.layers.sinusoids import SinusoidGrid, SinusoidPositions
from catalog.layers.window import BiasedAttention, PatchMerge, TokenWindowBias, WindowAttention, WindowBias

__all__ = [
    "MLP",
    "Alibi",
    "Attention",
    "BiasedAttention",
    "BucketBias",
    "Cache",
    "ChannelNorm",
    "ConvNormAct",
    "CrossPostNorm",
    "CrossPreNorm",
    "DenseFirstToken",
    "DropPath",
    "FirstToken",
    "FrozenBatchNorm2d",
    "GatedMLP",
    "GridPositions",
    "ImageEmbed",
    "InterleavedRotary",
    "LastToken",
    "LayerCache",
    "LayerScale",
    "LearnedPositions",
    "MaskToken",
    "MeanPatches",
    "MeanTokens",
    "OneScalePyramid",
    "Parallel",
    "PatchEmbed",
    "PatchMerge",
    "PooledScales",
    "PostNorm",
    "PreNorm",
    "QueryTokens",
    "RMSNorm",
    "ResidualConv",
    "Rotary",
    "ScaledPreNorm",
    "SinusoidGrid",
    "SinusoidPositions",
    "Stack",
    "Stage",
    "TokenEmbedding",
    "TokenWindowBias",
    "UperDecoder",
    "WindowAttention",
    "WindowBias",
    "activation",
    "attend",
    "masks",
    "path_rates",
    "use_kernel",
]
