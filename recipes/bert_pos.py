"""The part of speech of each word: ``python train.py recipe=bert_pos``; see ``bert_ner``."""

from recipes.bert_ner import SCALES, prepare

__all__ = ["SCALES", "prepare"]
