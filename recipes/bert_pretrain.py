"""BERT's pre-training, hidden tokens and next sentence: ``python train.py recipe=bert_pretrain``; see ``bert_mlm``."""

from recipes.bert_mlm import SCALES, prepare

__all__ = ["SCALES", "prepare"]
