"""OPT: GPT-3 rebuilt in the open, a pre-norm decoder with learned positions and relu.

Zhang et al., 2022, "OPT: Open Pre-trained Transformer Language Models" (arXiv:2205.01068). The 350M size is post-norm, and
its token vectors are narrower than its states. Galactica (arXiv:2211.09085) has neither biases nor scales in its norms.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from catalog.configs import Config, ConfigMap, Field
from catalog.decoder import Decoder
from catalog.errors import ConfigError
from catalog.heads import AnswerSpan, CausalLM, Classify, HeadSpec
from catalog.layers import MLP, Attention, LastToken, LearnedPositions, PostNorm, PreNorm, Stack, TokenEmbedding
from catalog.namemap import NameMap


@dataclass(frozen=True, kw_only=True)
class OptConfig(Config):
    """Sizes of OPT 125M. ``embed_width`` is that of token vectors and of what comes out (None: ``width``)."""

    vocab: int = 50272
    width: int = 768
    embed_width: int | None = None
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    positions: int = 2048
    act: str = "relu"
    dropout: float = 0.1
    attn_dropout: float = 0.0
    pre_norm: bool = True
    last_norm: bool = True
    bias: bool = True
    norm_scale: bool = True
    pad_id: int | None = 1
    bos_id: int | None = 2
    eos_id: int | tuple[int, ...] | None = 2

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", embed_width="word_embed_proj_dim", depth="num_hidden_layers",
    heads="num_attention_heads", hidden="ffn_dim", positions="max_position_embeddings", act="activation_function",
    dropout="dropout", attn_dropout="attention_dropout", pre_norm="do_layer_norm_before", bias="enable_bias",
    norm_scale="layer_norm_elementwise_affine", init_std="init_std",
    last_norm=Field("_remove_final_layer_norm", lambda removed: not removed, lambda kept: not kept),
    fixed={"layerdrop": 0.0}, kept=("activation_dropout",),
)  # fmt: skip

NAMES = NameMap(
    prefix="model.",
    rules=[
        ("embed.{tokens,positions}.weight", "decoder.embed_{tokens,positions}.weight"),
        ("embed.project.weight", "decoder.project_in.weight"),
        ("layers.{i}.attn.{q,k,v,out}.*", "decoder.layers.{i}.self_attn.{q,k,v,out}_proj.*"),
        ("layers.{i}.mlp.{up,down}.*", "decoder.layers.{i}.fc{1,2}.*"),
        ("layers.{i}.norm{1,2}.*", "decoder.layers.{i}.{self_attn,final}_layer_norm.*"),
        ("norm.*", "decoder.final_layer_norm.*"),
        ("project.weight", "decoder.project_out.weight"),
    ],
)


class WidenedEmbedding(TokenEmbedding):
    """Token vectors widened, then positions; nothing is dropped out."""

    def forward(self, ids, positions):
        return self.project(self.tokens(ids)) + self.positions(positions)


class Opt(Decoder):
    """As :class:`Decoder`; the states that come out are [B, T, embed_width]."""

    config_class = OptConfig
    records: ClassVar = {**Decoder.records, "hidden_states": ("layers", "project")}

    def __init__(self, c: OptConfig):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, elementwise_affine=c.norm_scale)
        narrow = self.width != c.width
        self.embed = WidenedEmbedding(
            c.vocab, self.width, pad=c.pad_id, positions=LearnedPositions(c.positions, c.width, offset=2),
            project=nn.Linear(self.width, c.width, bias=False) if narrow else None,
        )  # fmt: skip
        block = PreNorm if c.pre_norm else PostNorm
        self.layers = Stack(
            block(
                attn=Attention(c.width, c.heads, bias=c.bias, dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act, bias=c.bias),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.norm = norm() if c.pre_norm and c.last_norm else nn.Identity()
        self.project = nn.Linear(c.width, self.width, bias=False) if narrow else nn.Identity()

    @property
    def width(self):
        return self.config.embed_width or self.config.width

    def context(self, input_ids, attention_mask, position_ids, lengths, past_key_values, use_cache):
        context = super().context(input_ids, attention_mask, position_ids, lengths, past_key_values, use_cache)
        keys = context.mask.keys
        if position_ids is None and keys is not None:  # padding stands before the first position, as published
            context.positions = torch.where(keys[:, context.past :], context.positions, -1)
        return context

    def decode(self, states, context, bias=None):
        encoded = super().decode(states, context, bias)
        encoded.last_hidden_state = self.project(encoded.last_hidden_state)
        return encoded


HEADS = {
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, bias=False), NameMap([("out.weight", "lm_head.weight")])),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=LastToken(), bias=False), NameMap([("out.*", "score.*")])
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
}
