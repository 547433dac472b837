"""Mistral: LLaMA's block, each token reading no more than a window of what stands before it.

Jiang et al., 2023, "Mistral 7B" (arXiv:2310.06825).
"""

from dataclasses import dataclass
from functools import partial

from catalog.configs import ConfigMap
from catalog.layers import masks
from catalog.models import llama


@dataclass(frozen=True, kw_only=True)
class MistralConfig(llama.LlamaConfig):
    """Sizes of Mistral 7B. A token reads ``window`` tokens, itself among them (None: all)."""

    kv_heads: int | None = 8
    hidden: int = 14336
    positions: int = 131072
    window: int | None = 4096


CONFIG = ConfigMap(**llama.TABLE, window="sliding_window")
NAMES, HEADS = llama.NAMES, llama.HEADS


class Mistral(llama.Llama):
    """As :class:`catalog.decoder.Decoder`."""

    config_class = MistralConfig

    def __init__(self, c: MistralConfig):
        super().__init__(c)
        self.mask = partial(masks.causal, window=c.window)
