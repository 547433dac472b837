"""RoBERTa: BERT trained longer, without segments, its positions counted over real tokens. XLM-RoBERTa and CamemBERT too.

Liu et al., 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach" (arXiv:1907.11692). Conneau et al., 2019
(arXiv:1911.02116). Martin et al., 2019 (arXiv:1911.03894).
"""

from dataclasses import dataclass

from catalog.heads import (
    AnswerSpan,
    CausalLM,
    Choice,
    Classify,
    ClassifyTokens,
    DenseTransform,
    HeadSpec,
    MaskedLM,
)
from catalog.layers import FirstToken
from catalog.models import bert
from catalog.namemap import NameMap

CONFIG = bert.CONFIG


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(bert.BertConfig):
    """Sizes of roberta-base. ``positions`` counts two rows that no token uses: the published table starts at ``pad_id``."""

    vocab: int = 50265
    positions: int = 514
    segments: int = 1
    norm_eps: float = 1e-5
    pad_id: int | None = 1
    bos_id: int | None = 0
    eos_id: int | tuple[int, ...] | None = 2


NAMES = NameMap(bert.RULES, prefix="roberta.", drop=["embeddings.position_ids"], legacy=bert.LEGACY)

VOCAB = NameMap(
    [
        ("transform.{dense,norm}.*", "lm_head.{dense,layer_norm}.*"),
        ("out.weight", "lm_head.decoder.weight"),
        ("out.bias", "lm_head.bias"),
    ],
    tied={"lm_head.decoder.bias": "out.bias"},
)
OUT = NameMap([("out.*", "classifier.*")])


class Roberta(bert.Bert):
    """As :class:`catalog.models.bert.Bert`; a pad token stands at position ``pad_id``, the first real one right behind it."""

    config_class = RobertaConfig

    def __init__(self, c: RobertaConfig, *, pool=True):
        self.position_pad = c.pad_id
        super().__init__(c, pool=pool)

    def positions(self, input_ids, mask, past, lengths):
        pad = self.config.pad_id
        if lengths is not None or past:
            return mask.positions(input_ids.shape[1], past, input_ids.device) + pad + 1
        real = input_ids.ne(pad) if mask.keys is None else input_ids.ne(pad) & mask.keys
        return real.cumsum(1) * real + pad


def _transform(c):
    return DenseTransform(c.width, "tanh", dropout=bert.head_dropout(c))


HEADS = {
    "masked-lm": HeadSpec(
        lambda b, c: MaskedLM(b, c, transform=bert.vocab_transform(c)), VOCAB, backbone={"pool": False}
    ),
    "causal-lm": HeadSpec(
        lambda b, c: CausalLM(b, c, transform=bert.vocab_transform(c)), VOCAB, backbone={"pool": False}
    ),
    "sequence-classification": HeadSpec(
        lambda b, c: Classify(b, c, pool=FirstToken(), transform=_transform(c), dropout=bert.head_dropout(c)),
        NameMap([("transform.dense.*", "classifier.dense.*"), ("out.*", "classifier.out_proj.*")]),
        backbone={"pool": False},
    ),
    "token-classification": HeadSpec(
        lambda b, c: ClassifyTokens(b, c, dropout=bert.head_dropout(c)), OUT, backbone={"pool": False}
    ),
    "question-answering": HeadSpec(AnswerSpan, NameMap([("out.*", "qa_outputs.*")]), backbone={"pool": False}),
    "multiple-choice": HeadSpec(lambda b, c: Choice(b, c, dropout=c.dropout), OUT),
}
