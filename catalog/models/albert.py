"""ALBERT: a BERT whose layers share their weights, over factorised embeddings.

Lan et al., 2019, "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations" (arXiv:1909.11942).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from catalog import losses
from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import AnswerSpan, Choice, Classify, ClassifyTokens, HeadSpec, MaskedLM, VocabTransform
from catalog.layers import MLP, Attention, DenseFirstToken, LearnedPositions, PostNorm, Stack, TokenEmbedding, masks
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import AlbertPreTrained, Encoded


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(Config):
    """Sizes of albert-xxlarge, the paper's best. ``groups`` is the number of layers with weights of their own."""

    vocab: int = 30000
    token_width: int = 128
    width: int = 4096
    depth: int = 12
    groups: int = 1
    heads: int = 64
    hidden: int = 16384
    positions: int = 512
    segments: int = 2
    act: str = "gelu_new"
    dropout: float = 0.0
    attn_dropout: float = 0.0
    head_dropout: float = 0.1
    norm_eps: float = 1e-12
    pad_id: int | None = 0
    bos_id: int | None = 2
    eos_id: int | tuple[int, ...] | None = 3

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        if self.depth % self.groups:
            raise ConfigError(f"depth {self.depth} does not divide into {self.groups} groups of shared layers")


CONFIG = ConfigMap(
    vocab="vocab_size", token_width="embedding_size", width="hidden_size", depth="num_hidden_layers",
    groups="num_hidden_groups", heads="num_attention_heads", hidden="intermediate_size",
    positions="max_position_embeddings", segments="type_vocab_size", act="hidden_act", dropout="hidden_dropout_prob",
    attn_dropout="attention_probs_dropout_prob", head_dropout="classifier_dropout_prob", norm_eps="layer_norm_eps",
    fixed={"position_embedding_type": "absolute", "inner_group_num": 1},
    kept=("net_structure_type", "gap_size", "num_memory_blocks", "down_scale_factor"),
)  # fmt: skip

LAYER = "encoder.albert_layer_groups.{i}.albert_layers.0"
NAMES = NameMap(
    prefix="albert.",
    drop=["embeddings.position_ids"],
    rules=[
        ("embed.{tokens,positions,segments}.weight", "embeddings.{word,position,token_type}_embeddings.weight"),
        ("embed.norm.*", "embeddings.LayerNorm.*"),
        ("embed.project.*", "encoder.embedding_hidden_mapping_in.*"),
        ("layers.{i}.attn.{q,k,v,out}.*", LAYER + ".attention.{query,key,value,dense}.*"),
        ("layers.{i}.norm1.*", LAYER + ".attention.LayerNorm.*"),
        ("layers.{i}.mlp.{up,down}.*", LAYER + ".{ffn,ffn_output}.*"),
        ("layers.{i}.norm2.*", LAYER + ".full_layer_layer_norm.*"),
        ("pool.dense.*", "pooler.*"),
    ],
)
VOCAB = [
    ("transform.{dense,norm}.*", "predictions.{dense,LayerNorm}.*"),
    ("out.weight", "predictions.decoder.weight"),
    ("out.bias", "predictions.bias"),
]
COPIES = {"predictions.decoder.bias": "out.bias"}
OUT = NameMap([("out.*", "classifier.*")])


class SharedStack(Stack):
    """``depth`` applications of fewer blocks, each used for a run of neighbouring layers."""

    def __init__(self, blocks, depth):
        super().__init__(blocks)
        self.depth = depth

    def forward(self, x, **context):
        for i in range(self.depth):
            x = self[i * len(self) // self.depth](x, **context)
        return x


class Albert(Backbone):
    """input_ids [B, T] -> last_hidden_state [B, T, width], pooler_output [B, width]; unpadded with ``lengths`` [n]."""

    config_class = AlbertConfig

    def __init__(self, c: AlbertConfig, *, pool=True):
        super().__init__()
        self.config = c
        norm = partial(nn.LayerNorm, eps=c.norm_eps)
        self.embed = TokenEmbedding(
            c.vocab, c.token_width, pad=c.pad_id, segments=c.segments, norm=norm(c.token_width), dropout=c.dropout,
            positions=LearnedPositions(c.positions, c.token_width), project=nn.Linear(c.token_width, c.width),
        )  # fmt: skip
        blocks = [
            PostNorm(
                attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
                mlp=MLP(c.width, c.hidden, c.act),
                norm1=norm(c.width), norm2=norm(c.width), dropout=c.dropout, mlp_dropout=0.0,
            )
            for _ in range(c.groups)
        ]  # fmt: skip
        self.layers = SharedStack(blocks, c.depth)
        self.pool = DenseFirstToken(c.width) if pool else None

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, position_ids=None, *, lengths=None):
        mask = masks.padding(attention_mask, lengths)
        if position_ids is None:
            position_ids = mask.positions(input_ids.shape[1], device=input_ids.device)
        states = self.layers(self.embed(input_ids, position_ids, token_type_ids), mask=mask)
        pooled = None if self.pool is None else self.pool(states, mask)
        return Encoded(last_hidden_state=states, pooler_output=pooled, mask=mask)


class MaskedLMAndOrder(MaskedLM):
    """Masked tokens, and whether two texts stand in their right order: ``sop_logits`` [B, 2]."""

    targets = ("labels", "sentence_order_label")

    def __init__(self, backbone, config, *, transform):
        super().__init__(backbone, config, transform=transform)
        self.order, self.drop = nn.Linear(backbone.width, 2), nn.Dropout(config.head_dropout)

    def forward(self, *inputs, labels=None, sentence_order_label=None, **more):
        encoded = self.backbone(*inputs, **more)
        logits = self.scored(self.transform(encoded.last_hidden_state), self.out)
        out = AlbertPreTrained(prediction_logits=logits, sop_logits=self.order(self.drop(encoded.pooler_output)))
        out.loss = self.loss(out, labels=labels, sentence_order_label=sentence_order_label)
        return out

    def terms(self, output, *, labels, sentence_order_label):
        """Two terms: ``masked_lm`` and ``sentence_order``."""
        order = losses.cross_entropy(output.sop_logits, sentence_order_label)
        return {"masked_lm": losses.cross_entropy(output.prediction_logits, labels), "sentence_order": order}

    def counts(self, *, labels, sentence_order_label):
        """Labels of both kinds that are not ignored."""
        return {"masked_lm": losses.count(labels), "sentence_order": losses.count(sentence_order_label)}


def _transform(c):
    return VocabTransform(c.width, c.act, norm=nn.LayerNorm(c.token_width, eps=c.norm_eps), out=c.token_width)


HEADS = {
    "masked-lm": HeadSpec(
        lambda b, c: MaskedLM(b, c, transform=_transform(c)), NameMap(VOCAB, tied=COPIES), backbone={"pool": False}
    ),
    "pre-training": HeadSpec(
        lambda b, c: MaskedLMAndOrder(b, c, transform=_transform(c)),
        NameMap([*VOCAB, ("order.*", "sop_classifier.classifier.*")], tied=COPIES),
    ),
    "sequence-classification": HeadSpec(lambda b, c: Classify(b, c, dropout=c.head_dropout), OUT),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=c.head_dropout), OUT, backbone={"pool": False}
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")]), backbone={"pool": False}),
    "multiple-choice": HeadSpec(lambda b, c: Choice(b, c, dropout=c.head_dropout), OUT),
}
