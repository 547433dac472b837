"""GPT-NeoX: a decoder whose attention and MLP read the same states, with rotary positions on a part of each head.

Black et al., 2022, "GPT-NeoX-20B: An Open-Source Autoregressive Language Model" (arXiv:2204.06745).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.decoder import Decoder
from catalog.errors import ConfigError
from catalog.heads import AnswerSpan, CausalLM, Classify, ClassifyTokens, HeadSpec
from catalog.layers import MLP, Attention, LastToken, Parallel, PreNorm, Stack, TokenEmbedding
from catalog.layers.rotary import scaled_rotary
from catalog.namemap import NameMap
from catalog.ops import PerGroup


@dataclass(frozen=True, kw_only=True)
class GptNeoxConfig(Config):
    """Sizes of GPT-NeoX-20B. ``rotary_part`` is the share of each head that turns; ``head_dropout`` that of the token head."""

    vocab: int = 50432
    width: int = 6144
    depth: int = 44
    heads: int = 64
    hidden: int = 24576
    positions: int = 2048
    act: str = "gelu"
    parallel: bool = True
    dropout: float = 0.0
    attn_dropout: float = 0.0
    head_dropout: float = 0.1
    norm_eps: float = 1e-5
    rotary_part: float = 0.25
    rotary_base: float = 10000.0
    rotary_scaling: Mapping[str, Any] | None = None
    tied: bool = False
    bos_id: int | None = 0
    eos_id: int | tuple[int, ...] | None = 2

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", depth="num_hidden_layers", heads="num_attention_heads",
    hidden="intermediate_size", positions="max_position_embeddings", act="hidden_act", parallel="use_parallel_residual",
    dropout="hidden_dropout", attn_dropout="attention_dropout", head_dropout="classifier_dropout",
    norm_eps="layer_norm_eps", rotary_part="rotary_pct", rotary_base="rotary_emb_base", rotary_scaling="rope_scaling",
    fixed={"attention_bias": True}, kept=("attention_probs_dropout_prob", "hidden_dropout_prob"),  # of old files, unread
)  # fmt: skip

NAMES = NameMap(
    prefix="gpt_neox.",
    drop=["layers.{i}.attention.bias", "layers.{i}.attention.masked_bias", "layers.{i}.attention.rotary_emb.inv_freq"],
    rules=[
        ("embed.tokens.weight", "embed_in.weight"),
        ("layers.{i}.attn.{q,k,v}.*", "layers.{i}.attention.query_key_value.*", PerGroup()),
        ("layers.{i}.attn.out.*", "layers.{i}.attention.dense.*"),
        ("layers.{i}.mlp.{up,down}.*", "layers.{i}.mlp.dense_{h_to_4h,4h_to_h}.*"),
        ("layers.{i}.norm{1,2}.*", "layers.{i}.{input,post_attention}_layernorm.*"),
        ("norm.*", "final_layer_norm.*"),
    ],
)


class GptNeox(Decoder):
    """As :class:`Decoder`."""

    config_class = GptNeoxConfig

    def __init__(self, c: GptNeoxConfig):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=c.norm_eps)
        rotary = partial(scaled_rotary, c.width // c.heads, c.rotary_base, c.rotary_scaling, fraction=c.rotary_part)
        block = Parallel if c.parallel else PreNorm
        self.embed = TokenEmbedding(c.vocab, c.width, dropout=c.dropout)
        self.layers = Stack(
            block(
                attn=Attention(c.width, c.heads, rotary=rotary(), dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.norm = norm()


HEADS = {
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, bias=False), NameMap([("out.weight", "embed_out.weight")])),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=LastToken(), bias=False), NameMap([("out.*", "score.*")])
    ),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=c.head_dropout), NameMap([("out.*", "classifier.*")])
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
}
