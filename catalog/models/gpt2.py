"""GPT-2: a pre-norm decoder with learned positions and one table for tokens going in and coming out.

Radford et al., 2019, "Language Models are Unsupervised Multitask Learners".
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.decoder import Decoder
from catalog.errors import ConfigError
from catalog.heads import AnswerSpan, CausalLM, CausalLMAndChoice, Classify, ClassifyTokens, HeadSpec
from catalog.layers import MLP, Attention, LastToken, LearnedPositions, PreNorm, Stack, TokenEmbedding
from catalog.namemap import NameMap
from catalog.ops import Split, Transpose


@dataclass(frozen=True, kw_only=True)
class Gpt2Config(Config):
    """Sizes of the smallest GPT-2. ``hidden`` None is four times the width.

    Scores are divided by the root of the head's width where ``scaled``, and by the layer's number where ``layer_scaled``
    (Karamcheti et al., 2021, Mistral). ``head_dropout`` is that of the token head (None: 0.1).
    """

    vocab: int = 50257
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int | None = None
    positions: int = 1024
    act: str = "gelu_new"
    dropout: float = 0.1
    attn_dropout: float = 0.1
    embed_dropout: float = 0.1
    head_dropout: float | None = None
    choice_dropout: float = 0.1
    norm_eps: float = 1e-5
    scaled: bool = True
    layer_scaled: bool = False
    bos_id: int | None = 50256
    eos_id: int | tuple[int, ...] | None = 50256

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="n_embd", depth="n_layer", heads="n_head", hidden="n_inner", positions="n_positions",
    act="activation_function", dropout="resid_pdrop", attn_dropout="attn_pdrop", embed_dropout="embd_pdrop",
    head_dropout="classifier_dropout", choice_dropout="summary_first_dropout", norm_eps="layer_norm_epsilon",
    scaled="scale_attn_weights", layer_scaled="scale_attn_by_inverse_layer_idx",
    fixed={"summary_type": "cls_index", "summary_use_proj": True, "summary_activation": None,
           "summary_proj_to_labels": True},
    # the first changes no number in fp32; the others are traces of the trainers that GPT-Sw3 and Megatron-GPT2 came from
    kept=("reorder_and_upcast_attn", "normalize_attention_scores", "apply_query_key_layer_scaling"),
)  # fmt: skip

NAMES = NameMap(
    prefix="transformer.",
    drop=["h.{i}.attn.bias", "h.{i}.attn.masked_bias"],  # the causal triangle
    rules=[
        ("embed.{tokens,positions}.weight", "{wte,wpe}.weight"),
        ("layers.{i}.attn.{q,k,v}.*", "h.{i}.attn.c_attn.*", Split(transpose=True)),
        ("layers.{i}.attn.out.*", "h.{i}.attn.c_proj.*", Transpose()),
        ("layers.{i}.mlp.up.*", "h.{i}.mlp.c_fc.*", Transpose()),
        ("layers.{i}.mlp.down.*", "h.{i}.mlp.c_proj.*", Transpose()),
        ("layers.{i}.norm{1,2}.*", "h.{i}.ln_{1,2}.*"),
        ("norm.*", "ln_f.*"),
    ],
)


class SharedSegments(TokenEmbedding):
    """Tokens and positions; segments, where given, are ids of the token table (speakers of a dialogue)."""

    def forward(self, ids, positions, segments=None):
        x = self.tokens(ids) + self.positions(positions)
        return self.drop(x if segments is None else x + self.tokens(segments))


class Gpt2(Decoder):
    """As :class:`Decoder`; token_type_ids [B, T] are ids of the token table, their vectors are added."""

    config_class = Gpt2Config

    def __init__(self, c: Gpt2Config):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=c.norm_eps)
        self.embed = SharedSegments(
            c.vocab, c.width, positions=LearnedPositions(c.positions, c.width), dropout=c.embed_dropout
        )
        self.layers = Stack(
            PreNorm(
                attn=Attention(c.width, c.heads, scale=_scale(c, i), dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden or 4 * c.width, c.act),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for i in range(c.depth)
        )  # fmt: skip
        self.norm = norm()

    def forward(
        self, input_ids, attention_mask=None, token_type_ids=None, position_ids=None, *, lengths=None,
        past_key_values=None, use_cache=False,
    ):  # fmt: skip
        context = self.context(input_ids, attention_mask, position_ids, lengths, past_key_values, use_cache)
        return self.decode(self.embed(input_ids, context.positions, token_type_ids), context)

    def initialise(self, std):
        """What the residual stream sums up starts smaller, by the root of the number of sums (section 2.3)."""
        for block in self.layers:
            for last in (block.attn.out, block.mlp.down):
                nn.init.normal_(last.weight, 0.0, std * (2 * self.config.depth) ** -0.5)


def _scale(c, layer):
    root = (c.width // c.heads) ** -0.5 if c.scaled else 1.0
    return root / (layer + 1) if c.layer_scaled else root


LM = [("out.weight", "lm_head.weight")]

HEADS = {
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, bias=False), NameMap(LM)),
    "double-heads": HeadSpec(
        lambda b, c: CausalLMAndChoice(b, c, dropout=c.choice_dropout),
        NameMap([*LM, ("choice.*", "multiple_choice_head.summary.*")]),
    ),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=LastToken(), bias=False), NameMap([("out.*", "score.*")])
    ),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=0.1 if c.head_dropout is None else c.head_dropout),
        NameMap([("out.*", "classifier.*")]),
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
}
