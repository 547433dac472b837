"""The parts that models are made of."""

from catalog.layers import masks
from catalog.layers.attend import attend, use_kernel
from catalog.layers.attention import Attention
from catalog.layers.blocks import CrossPostNorm, CrossPreNorm, Parallel, PostNorm, PreNorm, Stack
from catalog.layers.cache import Cache, LayerCache
from catalog.layers.embed import TokenEmbedding
from catalog.layers.mlp import MLP, GatedMLP, activation
from catalog.layers.norms import FrozenBatchNorm2d, RMSNorm
from catalog.layers.pooling import DenseFirstToken, FirstToken, LastToken, MeanTokens
from catalog.layers.positions import Alibi, BucketBias, InterleavedRotary, LearnedPositions, Rotary
from catalog.layers.sinusoids import SinusoidPositions

__all__ = [
    "MLP",
    "Alibi",
    "Attention",
    "BucketBias",
    "Cache",
    "CrossPostNorm",
    "CrossPreNorm",
    "DenseFirstToken",
    "FirstToken",
    "FrozenBatchNorm2d",
    "GatedMLP",
    "InterleavedRotary",
    "LastToken",
    "LayerCache",
    "LearnedPositions",
    "MeanTokens",
    "Parallel",
    "PostNorm",
    "PreNorm",
    "RMSNorm",
    "Rotary",
    "SinusoidPositions",
    "Stack",
    "TokenEmbedding",
    "activation",
    "attend",
    "masks",
    "use_kernel",
]
