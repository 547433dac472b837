"""Tokenizers made from a text of one's own."""

from catalog.processors.text import bytelevel, wordpiece
from catalog.processors.text.files import build, dumped
from catalog.processors.text.tokenizer import Tokenizer


def train_wordpiece(texts, vocab_size: int = 8000, *, lower: bool = True, min_count: int = 2) -> Tokenizer:
    """A BERT tokenizer whose pieces are learnt from ``texts``; the same texts give the same vocabulary.

    Raises ProcessorError where ``vocab_size`` cannot even hold the special tokens and the characters.
    """
    pieces = wordpiece.train(texts, vocab_size, lower=lower, min_count=min_count)
    return build(
        "BertTokenizer", {"vocab.txt": "".join(f"{piece}\n" for piece in pieces).encode()}, {"do_lower_case": lower}
    )


def train_bytes(texts, vocab_size: int = 8000, *, min_count: int = 2, special=("<|endoftext|>",)) -> Tokenizer:
    """A GPT-2 tokenizer whose pieces of bytes are learnt from ``texts``; the same texts give the same vocabulary.

    ``special`` come first in the vocabulary, ``<|endoftext|>`` among them. Raises ProcessorError where ``vocab_size``
    cannot even hold these and the 256 bytes.
    """
    vocab, merges = bytelevel.train(texts, vocab_size, min_count=min_count, special=special)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    return build(
        "GPT2Tokenizer", {"vocab.json": dumped(vocab), "merges.txt": "".join(f"{line}\n" for line in lines).encode()}
    )
