"""Task heads, each written once for every backbone."""

from catalog.heads.base import Head, HeadSpec, mask_of
from catalog.heads.classify import Choice, Classify, ClassifyTokens, DenseTransform
from catalog.heads.double import CausalLMAndChoice
from catalog.heads.language import CausalLM, MaskedLM, MaskedLMAndRelation, VocabTransform
from catalog.heads.span import AnswerSpan

__all__ = [
    "AnswerSpan",
    "CausalLM",
    "CausalLMAndChoice",
    "Choice",
    "Classify",
    "ClassifyTokens",
    "DenseTransform",
    "Head",
    "HeadSpec",
    "MaskedLM",
    "MaskedLMAndRelation",
    "VocabTransform",
    "mask_of",
]
