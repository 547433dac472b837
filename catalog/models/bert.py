"""BERT: a post-norm encoder over token, position and segment embeddings.

Devlin et al., 2018, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import (
    AnswerSpan,
    CausalLM,
    Choice,
    Classify,
    ClassifyTokens,
    HeadSpec,
    MaskedLM,
    MaskedLMAndRelation,
    VocabTransform,
)
from catalog.layers import (
    MLP,
    Attention,
    Cache,
    DenseFirstToken,
    LearnedPositions,
    PostNorm,
    Stack,
    TokenEmbedding,
    masks,
)
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class BertConfig(Config):
    """Sizes of BERT-base. ``causal`` makes a decoder of it; ``head_dropout`` is that of task heads (None: ``dropout``)."""

    vocab: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    positions: int = 512
    segments: int = 2
    act: str = "gelu"
    dropout: float = 0.1
    attn_dropout: float = 0.1
    head_dropout: float | None = None
    norm_eps: float = 1e-12  # as trained; PyTorch's default of 1e-5 changes the outputs
    causal: bool = False
    pad_id: int | None = 0

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", depth="num_hidden_layers", heads="num_attention_heads",
    hidden="intermediate_size", positions="max_position_embeddings", segments="type_vocab_size", act="hidden_act",
    dropout="hidden_dropout_prob", attn_dropout="attention_probs_dropout_prob", head_dropout="classifier_dropout",
    norm_eps="layer_norm_eps", causal="is_decoder", fixed={"position_embedding_type": "absolute"},
)  # fmt: skip

RULES = [
    ("embed.{tokens,positions,segments}.weight", "embeddings.{word,position,token_type}_embeddings.weight"),
    ("embed.norm.*", "embeddings.LayerNorm.*"),
    ("layers.{i}.attn.{q,k,v}.*", "encoder.layer.{i}.attention.self.{query,key,value}.*"),
    ("layers.{i}.attn.out.*", "encoder.layer.{i}.attention.output.dense.*"),
    ("layers.{i}.norm1.*", "encoder.layer.{i}.attention.output.LayerNorm.*"),
    ("layers.{i}.mlp.up.*", "encoder.layer.{i}.intermediate.dense.*"),
    ("layers.{i}.mlp.down.*", "encoder.layer.{i}.output.dense.*"),
    ("layers.{i}.norm2.*", "encoder.layer.{i}.output.LayerNorm.*"),
    ("pool.dense.*", "pooler.dense.*"),
]
LEGACY = [("**.LayerNorm.gamma", "**.LayerNorm.weight"), ("**.LayerNorm.beta", "**.LayerNorm.bias")]
NAMES = NameMap(RULES, prefix="bert.", drop=["embeddings.position_ids"], legacy=LEGACY)

VOCAB_RULES = [
    ("transform.{dense,norm}.*", "cls.predictions.transform.{dense,LayerNorm}.*"),
    ("out.weight", "cls.predictions.decoder.weight"),
    ("out.bias", "cls.predictions.bias"),
]
RELATION = "cls.seq_relationship.*"
COPIES = {"cls.predictions.decoder.bias": "out.bias"}
OUT = NameMap([("out.*", "classifier.*")])


class Bert(Backbone):
    """input_ids [B, T] -> last_hidden_state [B, T, width], pooler_output [B, width].

    attention_mask [B, T] is 1 at real tokens, token_type_ids [B, T] tells the two texts apart, position_ids [B, T] are
    counted from each sequence's first real token unless given. An unpadded batch is [1, total] with ``lengths`` [n].
    """

    config_class = BertConfig
    position_pad = None  # RoBERTa has a position of its own for padding

    def __init__(self, c: BertConfig, *, pool=True):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=c.norm_eps)
        self.embed = TokenEmbedding(
            c.vocab, c.width, pad=c.pad_id, segments=c.segments, norm=norm(), dropout=c.dropout,
            positions=LearnedPositions(c.positions, c.width, pad=self.position_pad),
        )  # fmt: skip
        self.layers = Stack(
            PostNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act),
                norm1=norm(), norm2=norm(), dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip
        self.pool = DenseFirstToken(c.width) if pool else None
        self.mask = masks.causal if c.causal else masks.padding

    def forward(
        self, input_ids, attention_mask=None, token_type_ids=None, position_ids=None, *, lengths=None,
        past_key_values=None, use_cache=False,
    ):  # fmt: skip
        mask = self.mask(attention_mask, lengths)
        cache = Cache(past_key_values, len(self.layers)) if use_cache or past_key_values else None
        if position_ids is None:
            position_ids = self.positions(input_ids, mask, cache.length if cache else 0, lengths)
        states = self.embed(input_ids, position_ids, token_type_ids)
        states = self.layers(states, mask=mask, cache=cache)
        return Encoded(
            last_hidden_state=states,
            pooler_output=None if self.pool is None else self.pool(states, mask),
            past_key_values=cache.tensors() if cache else None,
            mask=mask,
        )

    def positions(self, input_ids, mask, past, lengths):
        """The position of each token [1 or B, T], counted from the first real token of its sequence."""
        return mask.positions(input_ids.shape[1], past, input_ids.device)


def head_dropout(c):
    """The dropout rate of task heads."""
    return c.dropout if c.head_dropout is None else c.head_dropout


def vocab_transform(c):
    """What stands before the vocabulary matrix."""
    return VocabTransform(c.width, c.act, norm=nn.LayerNorm(c.width, eps=c.norm_eps))


HEADS = {
    "masked-lm": HeadSpec(
        lambda b, c: MaskedLM(b, c, transform=vocab_transform(c)),
        NameMap(VOCAB_RULES, tied=COPIES), backbone={"pool": False},
    ),
    "causal-lm": HeadSpec(
        lambda b, c: CausalLM(b, c, transform=vocab_transform(c)),
        NameMap(VOCAB_RULES, tied=COPIES), backbone={"pool": False},
    ),
    "pre-training": HeadSpec(
        lambda b, c: MaskedLMAndRelation(b, c, transform=vocab_transform(c)),
        NameMap([*VOCAB_RULES, ("relation.*", RELATION)], tied=COPIES),
    ),
    "next-sentence": HeadSpec(lambda b, c: Classify(b, c, labels=2), NameMap([("out.*", RELATION)])),
    "sequence-classification": HeadSpec(lambda b, c: Classify(b, c, dropout=head_dropout(c)), OUT),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=head_dropout(c)), OUT, backbone={"pool": False}
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")]), backbone={"pool": False}),
    "multiple-choice": HeadSpec(lambda b, c: Choice(b, c, dropout=head_dropout(c)), OUT),
}  # fmt: skip
