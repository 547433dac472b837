"""ELECTRA: a BERT encoder trained to tell replaced tokens from real ones; its embeddings may be narrower than its states.

Clark et al., 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators" (arXiv:2003.10555).
"""

from dataclasses import dataclass

from torch import nn

from catalog import losses
from catalog.configs import ConfigMap
from catalog.heads import (
    AnswerSpan,
    CausalLM,
    Choice,
    Classify,
    ClassifyTokens,
    DenseTransform,
    Head,
    HeadSpec,
    MaskedLM,
    VocabTransform,
)
from catalog.layers import FirstToken, LearnedPositions, TokenEmbedding, activation
from catalog.models import bert
from catalog.namemap import NameMap
from catalog.outputs import Scored


@dataclass(frozen=True, kw_only=True)
class ElectraConfig(bert.BertConfig):
    """Sizes of electra-small."""

    token_width: int = 128
    width: int = 256
    heads: int = 4
    hidden: int = 1024
    summary_act: str = "gelu"
    summary_dropout: float = 0.1


CONFIG = ConfigMap(
    **bert.CONFIG.table, token_width="embedding_size", summary_act="summary_activation",
    summary_dropout="summary_last_dropout",
    fixed={"position_embedding_type": "absolute", "summary_type": "first", "summary_use_proj": True},
)  # fmt: skip

NAMES = NameMap(
    [*bert.RULES[:-1], ("embed.project.*", "embeddings_project.*")],
    prefix="electra.", drop=["embeddings.position_ids"], legacy=bert.LEGACY,
)  # fmt: skip
VOCAB = NameMap(
    [
        ("transform.{dense,norm}.*", "generator_predictions.{dense,LayerNorm}.*"),
        ("out.*", "generator_lm_head.*"),
    ]
)


class Electra(bert.Bert):
    """input_ids [B, T] -> last_hidden_state [B, T, width], as :class:`catalog.models.bert.Bert` without its pooler."""

    config_class = ElectraConfig

    def __init__(self, c: ElectraConfig):
        super().__init__(c, pool=False)
        self.embed = TokenEmbedding(
            c.vocab, c.token_width, pad=c.pad_id, segments=c.segments, dropout=c.dropout,
            norm=nn.LayerNorm(c.token_width, eps=c.norm_eps), positions=LearnedPositions(c.positions, c.token_width),
            project=nn.Linear(c.token_width, c.width) if c.token_width != c.width else None,
        )  # fmt: skip


class Discriminator(Head):
    """One score a token, high where it was replaced: logits [B, T]; labels 0 or 1, or -100 for none."""

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.dense, self.out = nn.Linear(config.width, config.width), nn.Linear(config.width, 1)
        self.act = activation(config.act)

    def forward(self, *inputs, labels=None, **more):
        encoded = self.backbone(*inputs, **more)
        out = Scored(logits=self.out(self.act(self.dense(encoded.last_hidden_state))).squeeze(-1))
        if labels is not None and encoded.mask.keys is not None:
            labels = labels.masked_fill(~encoded.mask.keys, losses.IGNORE)  # padding is nobody's target
        out.loss = self.loss(out, labels=labels)
        return out

    def terms(self, output, *, labels):
        """One term, ``loss``."""
        real = labels != losses.IGNORE
        each = nn.functional.binary_cross_entropy_with_logits(
            output.logits, labels.to(output.logits.dtype), reduction="none"
        )
        return {"loss": losses.Term((each * real).sum(), real.sum())}

    def counts(self, *, labels):
        """Labels that are not ignored."""
        return {"loss": losses.count(labels)}


def _transform(c):
    # gelu and the norm's eps are the generator's own, whatever the config says
    return VocabTransform(c.width, "gelu", norm=nn.LayerNorm(c.token_width, eps=c.norm_eps), out=c.token_width)


def _classify(b, c):
    transform = DenseTransform(c.width, "gelu", dropout=bert.head_dropout(c))
    return Classify(b, c, pool=FirstToken(), transform=transform, dropout=bert.head_dropout(c))


def _choice(b, c):
    return Choice(b, c, pool=FirstToken(), transform=DenseTransform(c.width, c.summary_act), dropout=c.summary_dropout)


HEADS = {
    "masked-lm": HeadSpec(lambda b, c: MaskedLM(b, c, transform=_transform(c)), VOCAB),
    "causal-lm": HeadSpec(lambda b, c: CausalLM(b, c, transform=_transform(c)), VOCAB),
    "pre-training": HeadSpec(
        Discriminator, NameMap([("{dense,out}.*", "discriminator_predictions.{dense,dense_prediction}.*")])
    ),
    "sequence-classification": HeadSpec(
        _classify, NameMap([("transform.dense.*", "classifier.dense.*"), ("out.*", "classifier.out_proj.*")])
    ),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=bert.head_dropout(c)), NameMap([("out.*", "classifier.*")])
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
    "multiple-choice": HeadSpec(
        _choice, NameMap([("transform.dense.*", "sequence_summary.summary.*"), ("out.*", "classifier.*")])
    ),
}
