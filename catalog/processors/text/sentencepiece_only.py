"""Published classes that exist only over the SentencePiece library itself; here the same pieces from the engine.

That library strips a text's ends, and each such class writes decoded text its own way around unknown and special pieces.
"""

from itertools import groupby

from tokenizers import Regex, normalizers

from catalog.errors import ProcessorError
from catalog.processors.text import spm_bpe
from catalog.processors.text.family import ANGLES, TYPED, Family, always, these
from catalog.processors.text.renumbered import RenumberedTokenizer
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.unigram import (
    FILES,
    converted,
    no_number_commas,
    plain,
    quotes_case_accents,
    single_blanks,
)
from catalog.processors.text.vocabularies import Source, counted

# GPT-SW3 maps the first to a plain blank and drops the others
WIDE_BLANKS = "[\u00a0\u2000-\u200a\u202f\u205f\u2007\u2009\u3000\ufffc\x84]"
CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u200b]"


def stripped(options: dict) -> list:
    return [*single_blanks(options), normalizers.Strip()]


def words_joined(options: dict) -> list:
    """CPM: any white space is one blank, before the rules of XLNet."""
    return [normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " "), *quotes_case_accents(options)]


def special_tokens(tokenizer: Tokenizer) -> set[str]:
    return {token.content for token in tokenizer.engine.get_added_tokens_decoder().values() if token.special}


class SpacedTokenizer(Tokenizer):
    """Runs of pieces between special tokens are decoded one by one, each without its first blank."""

    def _text_of(self, ids, skip_special_tokens) -> str:
        special = special_tokens(self)
        tokens = [t for t in map(self.token_of, ids) if not (skip_special_tokens and t in special)]
        runs = ["".join(run) for _, run in groupby(tokens, key=lambda token: token in special)]
        return "".join(run.replace("▁", " ").removeprefix(" ") for run in runs).strip()


class CpmTokenizer(SpacedTokenizer):
    """Blanks in the model's pieces are not the text's: those are ▂, line ends ▃. Zhang et al., 2020 (arXiv:2012.00413)."""

    def _text_of(self, ids, skip_special_tokens) -> str:
        text = super()._text_of(ids, skip_special_tokens)
        return text.replace(" ", "").replace("\u2582", " ").replace("\u2583", "\n")


class BartphoTokenizer(RenumberedTokenizer):
    """The pieces of a multilingual model that dict.txt keeps. Tran et al., 2021 (arXiv:2109.09701)."""

    def _text_of(self, ids, skip_special_tokens) -> str:
        special = special_tokens(self) if skip_special_tokens else ()
        return "".join(token for token in map(self.token_of, ids) if token not in special).replace("▁", " ").strip()


class GptSw3Tokenizer(Tokenizer):
    """Writes a blank before text that a special token follows, as published. Ekgren et al., 2023 (arXiv:2305.12987)."""

    def _text_of(self, ids, skip_special_tokens) -> str:
        special = set(self.engine.get_added_tokens_decoder())
        if skip_special_tokens:
            return self.engine.decode([i for i in ids if i not in special])
        runs = [(is_special, list(run)) for is_special, run in groupby(ids, key=special.__contains__)]
        text = " " if runs and runs[0][0] else ""
        for place, (is_special, run) in enumerate(runs):
            blank = " " if not is_special and place + 1 < len(runs) else ""
            text += blank + ("".join(map(self.token_of, run)) if is_special else self.engine.decode(run))
        return text


def build_bartpho(source: Source, options: dict, special: dict):
    path, text = source.text("dict.txt")
    if not counted(text):
        raise ProcessorError(f"{path}: no piece in it; expected a piece and its count a line")
    return converted(plain, after=stripped)(source, options, special)


def build_gpt_sw3(source: Source, options: dict, special: dict):
    made = spm_bpe.build(source, options, special)
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(CONTROLS), ""),
            normalizers.Replace(Regex(WIDE_BLANKS), " "),
            normalizers.NFC(),
            normalizers.Prepend("▁"),
            normalizers.Replace(" ", "▁"),
        ]
    )
    return made


FAMILIES = {
    "BertGeneration": Family(
        build=converted(plain, after=stripped),
        files=(FILES,),
        special={
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "<::::>", "pad_token": "<pad>",
        },
        template=always("$A", "$A $B"),
        face=SpacedTokenizer,
    ),
    "Bartpho": Family(
        build=build_bartpho,
        files=(FILES, ("dict.txt",)),
        special=ANGLES,
        template=always("cls $A sep", "cls $A sep sep $B sep"),
        face=BartphoTokenizer,
    ),
    "Cpm": Family(
        build=converted(no_number_commas, before=words_joined, after=stripped),
        files=(FILES,),
        special=ANGLES | {"sep_token": "<sep>", "cls_token": "<cls>"},
        more_special=these("<eop>", "<eod>"),
        template=always("$A sep cls:2", "$A sep $B:1 sep:1 cls:2"),
        options={"do_lower_case": False, "keep_accents": False},
        inputs=TYPED,
        pad_type=3,
        face=CpmTokenizer,
    ),
    "GPTSw3": Family(
        build=build_gpt_sw3,
        files=(FILES,),
        special={"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"},
        template=always("$A", "$A $B:1"),
        inputs=TYPED,
        face=GptSw3Tokenizer,
    ),
}  # fmt: skip
