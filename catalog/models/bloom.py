"""BLOOM: a pre-norm decoder that knows positions only by ALiBi, with a norm over its token embeddings.

BigScience Workshop, 2022, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model" (arXiv:2211.05100).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.decoder import Decoder
from catalog.errors import ConfigError
from catalog.heads import AnswerSpan, CausalLM, Classify, ClassifyTokens, HeadSpec
from catalog.layers import MLP, Alibi, Attention, LastToken, PreNorm, Stack, TokenEmbedding
from catalog.namemap import NameMap
from catalog.ops import PerGroup


@dataclass(frozen=True, kw_only=True)
class BloomConfig(Config):
    """Sizes of BLOOM 176B. ``head_dropout`` is that of the token head (None: ``dropout``)."""

    vocab: int = 250880
    width: int = 14336
    depth: int = 70
    heads: int = 112
    dropout: float = 0.0
    attn_dropout: float = 0.0
    head_dropout: float | None = None
    norm_eps: float = 1e-5
    bos_id: int | None = 1
    eos_id: int | tuple[int, ...] | None = 2
    pad_id: int | None = 3

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", depth="n_layer", heads="n_head", dropout="hidden_dropout",
    attn_dropout="attention_dropout", head_dropout="classifier_dropout", norm_eps="layer_norm_epsilon",
    legacy={"n_embed": "width", "num_attention_heads": "heads"},  # as in the published files themselves
    fixed={"apply_residual_connection_post_layernorm": False},
    kept=("n_inner", "seq_length", "offset_alibi", "slow_but_exact", "attention_softmax_in_fp32", "unk_token_id",
          "masked_softmax_fusion", "bias_dropout_fusion", "skip_bias_add", "skip_bias_add_qkv"),
)  # fmt: skip

NAMES = NameMap(
    prefix="transformer.",
    rules=[
        ("embed.tokens.weight", "word_embeddings.weight"),
        ("embed.norm.*", "word_embeddings_layernorm.*"),
        ("layers.{i}.attn.{q,k,v}.*", "h.{i}.self_attention.query_key_value.*", PerGroup()),
        ("layers.{i}.attn.out.*", "h.{i}.self_attention.dense.*"),
        ("layers.{i}.mlp.{up,down}.*", "h.{i}.mlp.dense_{h_to_4h,4h_to_h}.*"),
        ("layers.{i}.norm{1,2}.*", "h.{i}.{input,post_attention}_layernorm.*"),
        ("norm.*", "ln_f.*"),
    ],
)


class Bloom(Decoder):
    """As :class:`Decoder`, without position_ids: positions are the mask's, so that padding on either side is nothing."""

    config_class = BloomConfig

    def __init__(self, c: BloomConfig):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=c.norm_eps)
        self.embed = TokenEmbedding(c.vocab, c.width, norm=norm())
        self.alibi = Alibi(c.heads)
        self.layers = Stack(
            PreNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
                mlp=MLP(c.width, 4 * c.width, "gelu_pytorch_tanh"),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.norm = norm()

    def forward(self, input_ids, attention_mask=None, *, lengths=None, past_key_values=None, use_cache=False):
        context = self.context(input_ids, attention_mask, None, lengths, past_key_values, use_cache)
        keys = context.mask.positions(context.past + input_ids.shape[1], 0, input_ids.device)
        return self.decode(self.embed(input_ids), context, bias=self.alibi(keys))


HEADS = {
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, bias=False), NameMap([("out.weight", "lm_head.weight")])),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=LastToken(), bias=False), NameMap([("out.*", "score.*")])
    ),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=c.dropout if c.head_dropout is None else c.head_dropout),
        NameMap([("out.*", "classifier.*")]),
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
}
