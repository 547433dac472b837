"""BPE over characters whose words end in ``</w>``: OpenAI GPT, HerBERT, and with ``@@`` PhoBERT and BERTweet.

Sennrich et al., 2016 (arXiv:1508.07909).
"""

import re

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from catalog.processors.text.bytelevel import MERGES, VOCAB, model
from catalog.processors.text.family import ANGLES, TYPED, Family, always, these
from catalog.processors.text.renumbered import RenumberedTokenizer
from catalog.processors.text.tweets import normalized
from catalog.processors.text.vocabularies import Source, counted, merges

END = "</w>"
CODES = ("bpe.codes", "merges.txt")


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.json and merges.txt -> engine; words as BERT splits them."""
    made = tokenizers.Tokenizer(model(source, end_of_word_suffix=END, unk_token=special["unk_token"]))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=options["strip_accents"], lowercase=options["lower"]
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix=END)
    return made


def build_marked(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.txt (piece and count a line) and bpe.codes -> engine whose ids the face numbers as vocab.txt does.

    Every part of a merge is a piece of the engine, also one that vocab.txt lacks: it is found, and then unknown.
    """
    pairs = merges(source, *CODES, columns=3)
    listed = map(inner, counted(source.text("vocab.txt")[1]))
    pieces = [special["unk_token"], *listed, *(piece for pair in pairs for piece in (*pair, "".join(pair)))]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = tokenizers.Tokenizer(models.BPE(vocab, pairs, unk_token=special["unk_token"], end_of_word_suffix=END))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+\n?"), "removed", invert=True)
    return made


def inner(piece: str) -> str:
    """``he@@`` goes on, ``he`` ends a word: the published spelling -> the one of the merges."""
    return piece.removesuffix("@@") if piece.endswith("@@") else piece + END


class MarkedTokenizer(RenumberedTokenizer):
    """Pieces inside a word end in ``@@``."""

    dictionary = "vocab.txt"

    def _outer(self, token: str) -> str:
        return token.removesuffix(END) if token.endswith(END) else token + "@@"

    @property
    def rewrites_text(self) -> bool:
        return self.traits.options.get("normalization", False)

    def _prepared(self, text: str) -> str:
        if not self.rewrites_text:
            return text
        special = "|".join(map(re.escape, self.traits.special.values()))
        parts = re.split(f"({special})", text)  # special tokens stand between the texts that are normalised
        return " ".join(normalized(part) if place % 2 == 0 else part for place, part in enumerate(parts))

    def _text_of(self, ids, skip_special_tokens) -> str:
        special = self.traits.special.values() if skip_special_tokens else ()
        return " ".join(token for token in map(self.token_of, ids) if token not in special).replace("@@ ", "").strip()


MARKED = Family(
    build=build_marked,
    files=(("vocab.txt",), CODES),
    special=ANGLES,
    template=always("cls $A sep", "cls $A sep sep $B sep"),
    options={"normalization": False},
    inputs=TYPED,
    swallow_left=(),
    face=MarkedTokenizer,
)
FAMILIES = {
    "Bertweet": MARKED,
    "Phobert": MARKED,
    "Herbert": Family(
        build=build,
        files=(VOCAB, MERGES),
        special={
            "bos_token": "<s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>",
            "mask_token": "<mask>",
        },
        more_special=these(*(f"<special{i}>" for i in range(10))),
        template=always("cls $A sep", "cls $A sep $B:1 sep:1"),
        options={"strip_accents": False, "lower": False},
        inputs=TYPED,
        swallow_left=(),
    ),
    "OpenAIGPT": Family(
        build=build,
        files=(VOCAB, MERGES),
        special={"unk_token": "<unk>"},
        template=always("$A", "$A $B:1"),
        options={"strip_accents": None, "lower": True},
    ),
}  # fmt: skip
