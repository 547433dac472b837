"""DistilBERT: BERT at half the depth, without segments and pooler.

Sanh et al., 2019, "DistilBERT, a distilled version of BERT" (arXiv:1910.01108).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import (
    AnswerSpan,
    Choice,
    Classify,
    ClassifyTokens,
    DenseTransform,
    HeadSpec,
    MaskedLM,
    VocabTransform,
)
from catalog.layers import MLP, Attention, FirstToken, LearnedPositions, PostNorm, Stack, TokenEmbedding, masks
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig(Config):
    """Sizes of distilbert-base."""

    vocab: int = 30522
    width: int = 768
    depth: int = 6
    heads: int = 12
    hidden: int = 3072
    positions: int = 512
    act: str = "gelu"
    dropout: float = 0.1
    attn_dropout: float = 0.1
    answer_dropout: float = 0.1
    head_dropout: float = 0.2
    pad_id: int | None = 0

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="dim", depth="n_layers", heads="n_heads", hidden="hidden_dim",
    positions="max_position_embeddings", act="activation", dropout="dropout", attn_dropout="attention_dropout",
    answer_dropout="qa_dropout", head_dropout="seq_classif_dropout",
    kept=("sinusoidal_pos_embds", "tie_weights_"),  # how the table was made; it is stored all the same
)  # fmt: skip

NAMES = NameMap(
    prefix="distilbert.",
    drop=["embeddings.position_ids"],
    rules=[
        ("embed.{tokens,positions}.weight", "embeddings.{word,position}_embeddings.weight"),
        ("embed.norm.*", "embeddings.LayerNorm.*"),
        ("layers.{i}.attn.{q,k,v,out}.*", "transformer.layer.{i}.attention.{q_lin,k_lin,v_lin,out_lin}.*"),
        ("layers.{i}.norm{1,2}.*", "transformer.layer.{i}.{sa,output}_layer_norm.*"),
        ("layers.{i}.mlp.{up,down}.*", "transformer.layer.{i}.ffn.{lin1,lin2}.*"),
    ],
)
SCORE = NameMap([("transform.dense.*", "pre_classifier.*"), ("out.*", "classifier.*")])


class DistilBert(Backbone):
    """input_ids [B, T] -> last_hidden_state [B, T, width]; unpadded as [1, total] with ``lengths`` [n]."""

    config_class = DistilBertConfig

    def __init__(self, c: DistilBertConfig):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, c.width, eps=1e-12)  # not in the published config
        self.embed = TokenEmbedding(
            c.vocab, c.width, pad=c.pad_id, norm=norm(), dropout=c.dropout,
            positions=LearnedPositions(c.positions, c.width),
        )  # fmt: skip
        self.layers = Stack(
            PostNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act),
                norm1=norm(), norm2=norm(), mlp_dropout=c.dropout,
            )
            for _ in range(c.depth)
        )  # fmt: skip

    def forward(self, input_ids, attention_mask=None, *, position_ids=None, lengths=None):
        mask = masks.padding(attention_mask, lengths)
        if position_ids is None:
            position_ids = mask.positions(input_ids.shape[1], device=input_ids.device)
        return Encoded(last_hidden_state=self.layers(self.embed(input_ids, position_ids), mask=mask), mask=mask)


def _first(c):
    return {"pool": FirstToken(), "transform": DenseTransform(c.width, "relu"), "dropout": c.head_dropout}


HEADS = {
    "masked-lm": HeadSpec(
        lambda b, c: MaskedLM(b, c, transform=VocabTransform(c.width, c.act, norm=nn.LayerNorm(c.width, eps=1e-12))),
        NameMap([("transform.{dense,norm}.*", "vocab_{transform,layer_norm}.*"), ("out.*", "vocab_projector.*")]),
    ),
    "sequence-classification": HeadSpec(lambda b, c: Classify(b, c, **_first(c)), SCORE),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=c.dropout), NameMap([("out.*", "classifier.*")])
    ),
    "question-answering": HeadSpec(
        lambda b, c: AnswerSpan(b, c, dropout=c.answer_dropout), NameMap([("out.*", "qa_outputs.*")])
    ),
    "multiple-choice": HeadSpec(lambda b, c: Choice(b, c, **_first(c)), SCORE),
}
