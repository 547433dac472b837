"""Task heads, each written once for every backbone."""

from catalog.heads.audio import MIX_RULES, ClassifyAudio, ClassifyFrames
from catalog.heads.base import Head, HeadSpec, mask_of
from catalog.heads.classify import Choice, Classify, ClassifyTokens, DenseTransform
from catalog.heads.dense import PIXEL_NAMES, ClassifyPixels, ConvClassifier
from catalog.heads.double import CausalLMAndChoice
from catalog.heads.image import FeatureMaps, MaskedImage, MaskedVisualTokens, TeacherClassify
from catalog.heads.language import CausalLM, MaskedLM, MaskedLMAndRelation, VocabTransform
from catalog.heads.pair import DecoderLM, EncoderOnly, PairAnswerSpan, PairClassify, Seq2SeqLM
from catalog.heads.project import ProjectImage, ProjectText
from catalog.heads.span import AnswerSpan
from catalog.heads.speaker import XVector
from catalog.heads.speech import CTC, FrameContrast, FrameVocab

__all__ = [
    "CTC",
    "MIX_RULES",
    "PIXEL_NAMES",
    "AnswerSpan",
    "CausalLM",
    "CausalLMAndChoice",
    "Choice",
    "Classify",
    "ClassifyAudio",
    "ClassifyFrames",
    "ClassifyPixels",
    "ClassifyTokens",
    "ConvClassifier",
    "DecoderLM",
    "DenseTransform",
    "EncoderOnly",
    "FeatureMaps",
    "FrameContrast",
    "FrameVocab",
    "Head",
    "HeadSpec",
    "MaskedImage",
    "MaskedLM",
    "MaskedLMAndRelation",
    "MaskedVisualTokens",
    "PairAnswerSpan",
    "PairClassify",
    "ProjectImage",
    "ProjectText",
    "Seq2SeqLM",
    "TeacherClassify",
    "VocabTransform",
    "XVector",
    "mask_of",
]
