"""Whisper's tokens: byte-level BPE with a prefix of language, task and timestamps. Radford et al., 2022 (arXiv:2212.04356)."""

import tokenizers
from tokenizers import AddedToken

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text import bytelevel
from catalog.processors.text.family import Family
from catalog.processors.text.languages import WHISPER, WHISPER_NAMES
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.vocabularies import Source

TASKS = ("translate", "transcribe")
START, PREVIOUS, PLAIN_TEXT = "<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>"
SPECIAL = (
    START, *(f"<|{code}|>" for code in WHISPER), *(f"<|{task}|>" for task in TASKS),
    "<|startoflm|>", PREVIOUS, "<|nocaptions|>", PLAIN_TEXT,
)  # fmt: skip
STEP = 0.02  # seconds between two timestamps
TIMES = [f"<|{step * STEP:.2f}|>" for step in range(1501)]


def build(source: Source, options: dict, special: dict) -> tokenizers.Tokenizer:
    """vocab.json and merges.txt, or the released tiktoken file, which the special tokens and timestamps follow."""
    released = source.find(*bytelevel.VOCAB) is None
    made = bytelevel.build(source, options, special)
    if released:
        made.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in (special["eos_token"], *SPECIAL)]
        )
        made.add_tokens([AddedToken(time, normalized=False) for time in TIMES])
    return made


def template(options: dict) -> tuple[str, str]:
    prefix = " ".join(prefix_tokens(options["language"], options["task"], options["predict_timestamps"]))
    return f"{prefix} $A eos", f"{prefix} $A $B eos"


def prefix_tokens(language: str | None, task: str | None, predict_timestamps: bool) -> list[str]:
    """The tokens that tell the decoder what to write."""
    tokens = [START]
    if language is not None:
        tokens.append(f"<|{language_code(language)}|>")
    if task is not None:
        if task not in TASKS:
            raise ProcessorError(
                f"task={task!r} is not known{did_you_mean(task, TASKS) or '.'} One of {', '.join(TASKS)}"
            )
        tokens.append(f"<|{task}|>")
    return tokens if predict_timestamps else [*tokens, PLAIN_TEXT]


def language_code(language: str) -> str:
    """A code or an English name, in any case -> code."""
    lower = language.lower()
    if lower not in WHISPER and lower not in WHISPER_NAMES:
        raise ProcessorError(
            f"language={language!r} is not one of Whisper's {len(WHISPER)}{did_you_mean(lower, WHISPER_NAMES)}"
        )
    return WHISPER_NAMES.get(lower, lower)


class WhisperTokenizer(Tokenizer):
    """Times are tokens too; they are left out of the text unless asked for."""

    @property
    def first_time(self) -> int:
        """The id of <|0.00|>."""
        return self.vocabulary_id(PLAIN_TEXT) + 1

    def decode(self, ids, *, skip_special_tokens=False, tidy=None, timestamps=False) -> str:
        """``timestamps=True`` keeps them, written ``<|2.00|>``. A leading prompt is no part of the text."""
        ids = [int(i) for i in ids]
        if skip_special_tokens and ids[:1] == [self.vocabulary_id(PREVIOUS)]:
            start = self.vocabulary_id(START)
            ids = ids[ids.index(start) :] if start in ids else []
        if not timestamps:
            ids = [i for i in ids if i < self.first_time]
        return super().decode(ids, skip_special_tokens=skip_special_tokens, tidy=tidy)

    def segments(self, ids) -> list[dict]:
        """[{"text", "timestamp": (start, end) in seconds}] between pairs of times; a falling time begins a new window."""
        found, start, piece = [], None, []
        for i in ids:
            if i < self.first_time:
                piece.append(i)
            elif start is None or not piece:
                start, piece = i, []
            else:
                span = tuple(round((time - self.first_time) * STEP, 2) for time in (start, i))
                found.append({"text": self.decode(piece, skip_special_tokens=True), "timestamp": span})
                start, piece = None, []
        return found

    def prefix_ids(self) -> list[int]:
        """The ids before the text, as ``configured(language=..., task=...)`` set them."""
        return [self.vocabulary_id(token) for token in template(self.traits.options)[0].split()[:-2]]

    def forced_ids(self) -> list[tuple[int, int]]:
        """[(place, id)] of the prefix after the start token, as published in ``forced_decoder_ids``."""
        return list(enumerate(self.prefix_ids()))[1:]

    def prompt_ids(self, text: str) -> list[int]:
        """Earlier text as a prompt: <|startofprev|> and the ids of the text after one blank."""
        text = " " + text.strip()
        ids = self(text, special_tokens=False)["input_ids"]
        first = self.vocabulary_id(self.traits.special["eos_token"])
        if taken := next((i for i in ids if i >= first), None):
            raise ProcessorError(f"the prompt holds the special token {self.token_of(taken)}, which is no text")
        return [self.vocabulary_id(PREVIOUS), *ids]


FAMILIES = {
    "Whisper": Family(
        build=build,
        files=(bytelevel.VOCAB, bytelevel.MERGES),
        special=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
        template=template,
        options={"add_prefix_space": False, "language": None, "task": None, "predict_timestamps": False},
        template_options=("language", "task", "predict_timestamps"),
        face=WhisperTokenizer,
    ),
}
