"""Keys and values of the tokens seen so far, as an explicit argument.

``past_key_values`` goes in and comes out as the published nested tuple: one entry a layer, (key, value) or, with cross
attention, (key, value, cross key, cross value), each [B, kv_heads, S, head_dim]. Plain tensors in, plain tensors out:
nothing is hidden, so a decoding step exports like any other graph.
"""

import torch
from torch import Tensor


class LayerCache:
    """The cache of one layer: its own keys and values, and those it read from a fixed memory."""

    def __init__(self, key: Tensor | None = None, value: Tensor | None = None, *cross: Tensor):
        self.key, self.value, self.cross = key, value, cross

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add new tokens [B, kv_heads, T, head_dim]; returns all of them."""
        if self.key is not None:
            key, value = torch.cat([self.key, key], 2), torch.cat([self.value, value], 2)
        self.key, self.value = key, value
        return key, value

    def memory(self) -> "MemoryCache":
        """The part that cross attention uses: keys and values of the memory, computed once."""
        return MemoryCache(self)


class MemoryCache:
    """Keys and values of a memory that does not grow (the encoder's states)."""

    def __init__(self, layer: LayerCache):
        self.layer = layer

    @property
    def filled(self) -> bool:
        """Whether the memory's keys and values are known already."""
        return bool(self.layer.cross)

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the memory's keys and values."""
        self.layer.cross = (key, value)
        return self.layer.cross

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys and values kept before."""
        return self.layer.cross


class Cache:
    """The caches of all layers of one stack, made from ``past_key_values`` (``None`` or empty: nothing seen yet)."""

    def __init__(self, past_key_values: tuple | None, depth: int):
        past = past_key_values or [()] * depth
        self.layers = [LayerCache(*entry) for entry in past]

    @property
    def length(self) -> int:
        """Number of tokens already seen."""
        return 0 if self.layers[0].key is None else self.layers[0].key.shape[2]

    def __getitem__(self, layer: int) -> LayerCache:
        return self.layers[layer]

    def tensors(self) -> tuple[tuple[Tensor, ...], ...]:
        """The published ``past_key_values``, to be passed to the next call."""
        return tuple((layer.key, layer.value, *layer.cross) for layer in self.layers)
