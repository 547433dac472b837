"""automatic-speech-recognition: what was said, by models that spell frames (CTC) and by models that write (Whisper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from catalog.errors import ConfigError
from catalog.generation.generate import generate
from catalog.generation.options import Decoding
from catalog.pipelines.sounds import SoundPipeline

CHUNK = 30.0  # seconds that are heard at once


@dataclass(frozen=True)
class Chunk:
    """Samples [start, end) of a sound, of which [first, last) are judged here; the rest only stands around them."""

    start: int
    end: int
    first: int
    last: int


def chunks(length: int, size: int, stride: int) -> list[Chunk]:
    """Chunks of ``size`` samples that overlap by ``stride`` on either side; the whole sound where it fits into one."""
    if length <= size:
        return [Chunk(0, length, 0, length)]
    found, start = [], 0
    while True:
        end = min(start + size, length)
        last = end == length
        found.append(Chunk(start, end, start + stride if start else 0, end if last else end - stride))
        if last:
            return found
        start += size - 2 * stride


class SpeechRecognition(SoundPipeline):
    """A sound -> ``{"text"}``, with ``return_timestamps`` also ``"chunks"``: ``{"text", "timestamp": (start, end)}``, seconds.

    chunk_length_s     a longer sound is heard in chunks of so many seconds (default 30; Whisper hears no more at once)
    stride_length_s    seconds on either side of a chunk that are heard for context; a sixth of the chunk unless given
    return_timestamps  ``"word"`` or ``"char"``, of CTC models
    language, task     of multilingual Whisper: ``"german"``, ``"transcribe"`` or ``"translate"``
    max_new_tokens     that Whisper writes for a chunk
    """

    def __call__(
        self, inputs: Any, *, chunk_length_s: float | None = None, stride_length_s: float | None = None,
        return_timestamps: str | None = None, sampling_rate: int | None = None,
        language: str | None = None, task: str | None = None, max_new_tokens: int | None = None,
    ) -> Any:  # fmt: skip
        if self.model.head == "ctc":
            for name, value in (("language", language), ("task", task), ("max_new_tokens", max_new_tokens)):
                if value is not None:
                    raise ConfigError(
                        f"{name}={value!r}: for models that write, as Whisper; this one spells frames (CTC)"
                    )
            if return_timestamps not in (None, "word", "char"):
                raise ConfigError(f"return_timestamps={return_timestamps!r}: 'word' or 'char'")
            rows = partial(self._rows, sampling_rate, chunk_length_s, stride_length_s, prod(self.config.conv_strides))
            return self.each(inputs, rows, self.run, partial(self._spelt, return_timestamps))
        if return_timestamps is not None:
            raise ConfigError("return_timestamps: of CTC models only; what Whisper writes here has no times")
        if chunk_length_s is not None and chunk_length_s > self._most:
            raise ConfigError(f"chunk_length_s={chunk_length_s:g}: this model hears {self._most:g} seconds at once")
        chunk = min(CHUNK, self._most) if chunk_length_s is None else chunk_length_s
        rows = partial(self._rows, sampling_rate, chunk, stride_length_s, 1)
        decoding, begin = self._writing(language, task, max_new_tokens)
        return self.each(inputs, rows, partial(self._write, decoding, begin), self._written)

    @property
    def _most(self):
        """Seconds that a model with a spectrum of fixed length hears."""
        return self.features.config["n_samples"] / self.rate

    def _rows(self, sampling_rate, length, stride, step, given, where):
        wave = self.wave(sampling_rate, given, where)
        length = CHUNK if length is None else length
        stride = length / 6 if stride is None else stride
        if not 0 <= 2 * stride < length:
            raise ConfigError(
                f"chunk_length_s={length:g}, stride_length_s={stride:g}: two strides have to be shorter than a chunk"
            )
        # whole frames, so that a frame of a chunk is a frame of the sound
        size, around = (int(seconds * self.rate) // step * step for seconds in (length, stride))
        if size - 2 * around < 1:
            raise ConfigError(f"chunk_length_s={length:g}: shorter than a frame of the model")
        return [{"wave": wave[c.start : c.end], "chunk": c} for c in chunks(len(wave), size, around)]

    def _spelt(self, stamps, rows, outputs):
        step = prod(self.config.conv_strides)
        ids = joined([row["chunk"] for row in rows], [output["logits"].argmax(-1) for output in outputs],
                     [_frames(output) for output in outputs], step)  # fmt: skip
        tokenizer = self.processor.tokenizer
        found = {"text": tokenizer.decode(ids, skip_special_tokens=False)}
        if stamps is not None:
            parts, name = (tokenizer.words(ids), "word") if stamps == "word" else (tokenizer.spans(ids), "char")
            seconds = step / self.rate
            found["chunks"] = [
                {"text": part[name], "timestamp": (part["start_offset"] * seconds, part["end_offset"] * seconds)}
                for part in parts
            ]
        return found

    def _writing(self, language, task, max_new_tokens):
        """The options of decoding, and the ids that a text begins with."""
        decoding, tokenizer = Decoding.read(self.folder), self.processor.tokenizer
        named = {name: value for name, value in (("language", language), ("task", task)) if value is not None}
        tokenizer = tokenizer.configured(**named) if named else tokenizer
        begin = tokenizer.prefix_ids()
        if not named and decoding.forced_decoder_ids:
            begin = begin[:1]  # the folder says what comes behind the start
        elif decoding.forced_decoder_ids:
            decoding = decoding.having(forced_decoder_ids=())
        most = self.config.positions - len(begin)
        if max_new_tokens is not None or (decoding.max_new_tokens is None and decoding.max_length is None):
            decoding = decoding.having(max_new_tokens=min(max_new_tokens or most, most))
        return decoding, begin

    def _write(self, decoding, begin, rows):
        features = self.features([row["wave"] for row in rows], self.rate)["input_features"]
        made = generate(self.model, features, decoder_input_ids=[begin], decoding=decoding)
        eos, special = self.processor.tokenizer.eos_id, set(self.processor.tokenizer.special_ids.values())
        ids = made.sequences[:, len(begin) :].tolist()
        return [[i for i in row[: row.index(eos) if eos in row else None] if i not in special] for row in ids]

    def _written(self, rows, outputs):
        ids = outputs[0]
        for more in outputs[1:]:
            ids = overlapped(ids, more)
        return {"text": self.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()}


def _frames(output):
    return int(output["frames"]) if "frames" in output else len(output["logits"])


def joined(of: Sequence[Chunk], ids: Sequence[np.ndarray], frames: Sequence[int], step: int) -> list[int]:
    """The frames of a whole sound from those of its chunks: of each the frames of what it judges, the last to its end."""
    kept: list[int] = []
    for chunk, row, count in zip(of, ids, frames, strict=True):
        behind = count if chunk is of[-1] else (chunk.last - chunk.start) // step
        kept += row[(chunk.first - chunk.start) // step : behind].tolist()
    return kept


def overlapped(left: list[int], right: list[int]) -> list[int]:
    """Two transcripts of which the end of one is the beginning of the other, as one.

    Of all lengths the overlap with the largest share of equal tokens counts, two at least, the longer of equals; each
    transcript is trusted on its own side of the middle.
    """
    best, found = 0.0, 0
    for size in range(1, min(len(left), len(right)) + 1):
        same = sum(a == b for a, b in zip(left[-size:], right[:size]))
        share = same / size + size * 1e-4
        if same > 1 and share > best:
            best, found = share, size
    behind = found // 2
    return left[: len(left) - behind] + right[found - behind :]
