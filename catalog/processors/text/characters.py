"""Tokenizers without learnt pieces: ByT5's bytes, the letters and phonemes of speech recognition (CTC)."""

from itertools import groupby

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from catalog.errors import ProcessorError
from catalog.processors.text.family import Family, always
from catalog.processors.text.originals import letters_of_bytes
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.unigram import sentinels
from catalog.processors.text.vocabularies import Source, check_ids


def build_bytes(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """No file: pad, end and unknown, then the 256 bytes. Xue et al., 2021 (arXiv:2105.13626)."""
    first = [special[role] for role in ("pad_token", "eos_token", "unk_token")]
    letters = letters_of_bytes()
    vocab = {token: i for i, token in enumerate([*first, *(letters[byte] for byte in range(256))])}
    made = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token=special["unk_token"]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


class ByteTokenizer(Tokenizer):
    """Bytes that are no UTF-8 are left out of decoded text."""

    BYTES = {letter: byte for byte, letter in letters_of_bytes().items()}  # noqa: RUF012 - a table, never changed

    def _text_of(self, ids, skip_special_tokens) -> str:
        special = self.engine.get_added_tokens_decoder()
        tokens = (self.token_of(i) for i in ids if not (skip_special_tokens and i in special))
        return b"".join(bytes([self.BYTES[t]]) if t in self.BYTES else t.encode() for t in tokens).decode(
            "utf-8", "ignore"
        )


def build_letters(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.json -> one token a character. Baevski et al., 2020 (arXiv:2006.11477)."""
    made = tokenizers.Tokenizer(models.WordLevel(language_vocab(source, options), unk_token=special["unk_token"]))
    made.normalizer = normalizers.Replace(" ", options["word_delimiter_token"])
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return with_long_tokens(made)


def build_phonemes(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.json -> one token a phoneme, blanks between. Xu et al., 2021 (arXiv:2109.11680)."""
    made = tokenizers.Tokenizer(models.WordLevel(language_vocab(source, options), unk_token=special["unk_token"]))
    made.normalizer = normalizers.Strip()
    made.pre_tokenizer = pre_tokenizers.Split(options["phone_delimiter_token"], "removed")
    return made


def language_vocab(source: Source, options: dict) -> dict[str, int]:
    """vocab.json: {token: id}, or of several languages {language: {token: id}} (MMS: Pratap et al., 2023, arXiv:2305.13516)."""
    path, vocab = source.json("vocab.json")
    language = options.get("target_lang")
    if isinstance(vocab, dict) and any(isinstance(value, dict) for value in vocab.values()):
        if language not in vocab:
            shown = ", ".join(sorted(vocab)[:10])
            raise ProcessorError(
                f"{path}: target_lang={language!r} is not among its {len(vocab)} languages: {shown} ..."
            )
        vocab = vocab[language]
    if not isinstance(vocab, dict):
        raise ProcessorError(f"{path}: expected an object of token: id, found {type(vocab).__name__}")
    return check_ids(vocab, path)


def with_long_tokens(made: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Tokens of several characters are found as such, and take the blanks around them."""
    for token in sorted(made.get_vocab(), key=made.get_vocab().get):
        if len(token) > 1:
            made.add_special_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True)])
    return made


class CtcTokenizer(Tokenizer):
    """Decoding joins equal neighbours and drops the blank of CTC, which is the pad token. Graves et al., 2006."""

    @property
    def rewrites_text(self) -> bool:
        return self.traits.options.get("do_lower_case", False)

    def _prepared(self, text: str) -> str:
        return text.upper() if self.rewrites_text else text  # published under the name do_lower_case

    def _joined(self, ids, group: bool) -> list[tuple[str, int, int]]:
        """(token, first frame, frame behind its last), equal neighbours joined where ``group``, without blanks."""
        runs = [(token, len(list(run))) for token, run in groupby(map(self.token_of, ids))]
        if not group:
            runs = [(token, 1) for token, length in runs for _ in range(length)]
        found, at = [], 0
        for token, length in runs:
            if token != self.traits.special["pad_token"]:
                found.append((token, at, at + length))
            at += length
        return found

    def decode(self, ids, *, skip_special_tokens=False, tidy=None, group=True) -> str:
        """``group=False`` for ids that are a transcript already, not one id a frame."""
        self._check_ids(ids := [int(i) for i in ids])
        special = self.traits.special.values() if skip_special_tokens else ()
        return self._tidied(self._written([t for t, _, _ in self._joined(ids, group) if t not in special]), tidy)

    def _written(self, tokens: list[str]) -> str:
        blank = self.traits.options["word_delimiter_token"]
        return "".join(" " if token == blank else token for token in tokens).strip()

    def spans(self, ids, *, skip_special_tokens=False) -> list[dict]:
        """[{"char", "start_offset", "end_offset"}]: tokens with their frames.

        ``skip_special_tokens=True`` counts as the published class does: special tokens, the blank too, are taken out
        before frames are counted, so that later offsets are smaller than the frames of the sound.
        """
        special = self.special_ids.values() if skip_special_tokens else ()
        self._check_ids(ids := [int(i) for i in ids if i not in special])
        return [{"char": t, "start_offset": a, "end_offset": b} for t, a, b in self._joined(ids, True)]

    def words(self, ids, *, skip_special_tokens=False) -> list[dict]:
        """[{"word", "start_offset", "end_offset"}] with frames; ``skip_special_tokens`` as for ``spans``."""
        blank = self.traits.options["word_delimiter_token"]
        spans = self.spans(ids, skip_special_tokens=skip_special_tokens)
        runs = [list(run) for is_blank, run in groupby(spans, key=lambda span: span["char"] == blank) if not is_blank]
        return [
            {
                "word": "".join(span["char"] for span in run),
                "start_offset": run[0]["start_offset"],
                "end_offset": run[-1]["end_offset"],
            }
            for run in runs
        ]


class PhonemeTokenizer(CtcTokenizer):
    """Phonemes with blanks between. Text must be phonemes already: turning words into them is espeak's work, not ours."""

    def _prepared(self, text: str) -> str:
        if self.traits.options["do_phonemize"]:
            raise ProcessorError(
                f"{self.traits.name} was published with do_phonemize=true, which needs an espeak backend that is not "
                f"here; pass phonemes and set do_phonemize to false in tokenizer_config.json (decoding needs nothing)"
            )
        return text

    def _written(self, tokens: list[str]) -> str:
        return " ".join(tokens).strip()


CTC = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
THREE = ("pad_token", "eos_token", "unk_token")

FAMILIES = {
    "ByT5": Family(
        build=build_bytes,
        files=(),
        special={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        more_special=sentinels,
        template=always("$A eos", "$A eos $B eos"),
        options={"extra_ids": 125},
        swallow_left=THREE,
        swallow_right=THREE,
        face=ByteTokenizer,
    ),
    "Wav2Vec2CTC": Family(
        build=build_letters,
        files=(("vocab.json",),),
        special=CTC,
        template=always("$A", "$A $B"),
        options={"do_lower_case": False, "word_delimiter_token": "|", "target_lang": None},
        face=CtcTokenizer,
    ),
    "Wav2Vec2PhonemeCTC": Family(
        build=build_phonemes,
        files=(("vocab.json",),),
        special=CTC,
        template=always("$A", "$A $B"),
        options={"do_phonemize": True, "phone_delimiter_token": " ", "target_lang": None},
        face=PhonemeTokenizer,
    ),
}  # fmt: skip
