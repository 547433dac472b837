"""Tokenizers made from a text of one's own."""

from catalog.processors.text import wordpiece
from catalog.processors.text.files import build
from catalog.processors.text.tokenizer import Tokenizer


def train_wordpiece(texts, vocab_size: int = 8000, *, lower: bool = True, min_count: int = 2) -> Tokenizer:
    """A BERT tokenizer whose pieces are learnt from ``texts``; the same texts give the same vocabulary.

    Raises ProcessorError where ``vocab_size`` cannot even hold the special tokens and the characters.
    """
    pieces = wordpiece.train(texts, vocab_size, lower=lower, min_count=min_count)
    return build(
        "BertTokenizer", {"vocab.txt": "".join(f"{piece}\n" for piece in pieces).encode()}, {"do_lower_case": lower}
    )
