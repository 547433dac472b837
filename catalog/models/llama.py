"""LLaMA: a pre-norm decoder with rotary positions, root-mean-square norms and a gated MLP, all without biases.

Touvron et al., 2023, "LLaMA: Open and Efficient Foundation Language Models" (arXiv:2302.13971); fewer key/value heads:
"Llama 2" (arXiv:2307.09288).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from catalog.configs import Config, ConfigMap
from catalog.decoder import Decoder
from catalog.errors import ConfigError
from catalog.heads import CausalLM, Classify, HeadSpec
from catalog.layers import Attention, GatedMLP, LastToken, PreNorm, RMSNorm, Stack, TokenEmbedding
from catalog.layers.rotary import scaled_rotary
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(Config):
    """Sizes of LLaMA-7B. ``kv_heads`` None is as many as ``heads``, ``head_dim`` None the width divided by them.

    ``rotary_scaling`` is the published table (:func:`catalog.layers.rotary.scaled_rotary`).
    """

    vocab: int = 32000
    width: int = 4096
    depth: int = 32
    heads: int = 32
    kv_heads: int | None = None
    head_dim: int | None = None
    hidden: int = 11008
    positions: int = 2048
    act: str = "silu"
    attn_bias: bool = False
    mlp_bias: bool = False
    attn_dropout: float = 0.0
    norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    rotary_scaling: Mapping[str, Any] | None = None
    tied: bool = False
    bos_id: int | None = 1
    eos_id: int | tuple[int, ...] | None = 2

    def check(self):
        if self.head_dim is None and self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads; set head_dim to choose it")
        if self.heads % (self.kv_heads or self.heads):
            raise ConfigError(f"{self.heads} heads do not divide into groups for {self.kv_heads} key/value heads")


TABLE = {
    "vocab": "vocab_size", "width": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads", "head_dim": "head_dim", "hidden": "intermediate_size",
    "positions": "max_position_embeddings", "act": "hidden_act", "attn_bias": "attention_bias", "mlp_bias": "mlp_bias",
    "attn_dropout": "attention_dropout", "norm_eps": "rms_norm_eps", "rotary_base": "rope_theta",
    "rotary_scaling": "rope_scaling",
}  # fmt: skip

CONFIG = ConfigMap(**TABLE, kept=("max_sequence_length",))

NAMES = NameMap(
    prefix="model.",
    drop=["layers.{i}.self_attn.rotary_emb.inv_freq"],
    rules=[
        ("embed.tokens.weight", "embed_tokens.weight"),
        ("layers.{i}.attn.{q,k,v,out}.*", "layers.{i}.self_attn.{q,k,v,o}_proj.*"),
        ("layers.{i}.mlp.{gate,up,down}.*", "layers.{i}.mlp.{gate,up,down}_proj.*"),
        ("layers.{i}.norm{1,2}.weight", "layers.{i}.{input,post_attention}_layernorm.weight"),
        ("norm.weight", "norm.weight"),
    ],
)


class Llama(Decoder):
    """As :class:`Decoder`."""

    config_class = LlamaConfig

    def __init__(self, c: LlamaConfig):
        super().__init__()
        self.config = c
        head_dim = c.head_dim or c.width // c.heads
        norm = partial(RMSNorm, c.width, c.norm_eps)
        self.embed = TokenEmbedding(c.vocab, c.width, pad=c.pad_id)
        self.layers = Stack(
            PreNorm(
                attn=Attention(
                    c.width, c.heads, kv_heads=c.kv_heads, head_dim=head_dim, bias=c.attn_bias,
                    rotary=scaled_rotary(head_dim, c.rotary_base, c.rotary_scaling), dropout=c.attn_dropout,
                ),
                mlp=GatedMLP(c.width, c.hidden, c.act, bias=c.mlp_bias),
                norm1=norm(), norm2=norm(),
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.norm = norm()


HEADS = {
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, bias=False), NameMap([("out.weight", "lm_head.weight")])),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=LastToken(), bias=False), NameMap([("out.*", "score.*")])
    ),
}
