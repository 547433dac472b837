"""The base of audio feature extractors: read, compute features, truncate, normalise, pad, mask."""

import logging
from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.audio.inputs import read_waves
from catalog.processors.settings import Processor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sequences:
    """Published keys that every extractor has: the rate, the width of a frame, and how a batch is padded."""

    feature_size: int = 1
    sampling_rate: int = 16000
    padding_value: float = 0.0
    padding_side: str = "right"
    return_attention_mask: bool = True

    def __post_init__(self):
        if self.padding_side not in ("left", "right"):
            raise ProcessorError(f"padding_side: expected 'left' or 'right', found {self.padding_side!r}")


@dataclass(frozen=True)
class Padding:
    """How long a batch becomes.

    to           "longest", "max_length" or False (then all lengths must agree)
    max_length   in samples or frames; with ``truncate`` what is longer is cut, and the cut is logged
    multiple     the padded length is rounded up to a multiple of this
    """

    to: str | bool = "longest"
    max_length: int | None = None
    truncate: bool = False
    multiple: int = 1

    @classmethod
    def read(cls, padding, max_length, truncation, pad_to_multiple_of):
        """From the published arguments. Raises ProcessorError where they contradict each other."""
        to = "longest" if padding is True else padding
        if to not in ("longest", "max_length", False):
            raise ProcessorError(f"padding: expected True, False, 'longest' or 'max_length', found {padding!r}")
        if max_length is None and (truncation or to == "max_length"):
            raise ProcessorError("padding: truncation and padding='max_length' need max_length=")
        return cls(to, max_length, truncation, pad_to_multiple_of or 1)

    def cut(self, x, name):
        if not self.truncate or len(x) <= self.max_length:
            return x
        log.warning("%s: cut from %d to %d", name, len(x), self.max_length)
        return x[: self.max_length]

    def length(self, lengths):
        if self.to is False and len(set(lengths)) > 1:
            raise ProcessorError(f"lengths {lengths} differ; pass padding=True to make one batch of them")
        longest = max(lengths) if self.to != "max_length" else max(self.max_length, *lengths, 0)
        if self.to == "max_length" and max(lengths) > self.max_length:
            raise ProcessorError(f"length {max(lengths)} exceeds max_length={self.max_length}; pass truncation=True")
        return -(-longest // self.multiple) * self.multiple


def pad_batch(rows, length, sequences):
    """Rows [T, ...] -> ([B, length, ...] filled with ``padding_value``, mask int32 [B, length], 1 on real entries)."""
    values = np.full((len(rows), length, *rows[0].shape[1:]), sequences.padding_value, rows[0].dtype)
    mask = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        span = slice(0, len(row)) if sequences.padding_side == "right" else slice(length - len(row), length)
        values[i, span], mask[i, span] = row, 1
    return values, mask


def derived(config, **values):
    """``config`` with settings that follow from others; a file that holds another value contradicts itself."""
    for key, value in values.items():
        if config.get(key, value) != value:
            raise ProcessorError(f"{key}: {config[key]} in the file, but its other settings give {value}")
    return config | values


class FeatureExtractor(Processor):
    """Base of audio feature extractors. A subclass declares ``parts`` (with a ``Sequences``) and says what a feature is.

    output     published name of the result
    """

    type_key = "feature_extractor_type"
    parts = (Sequences(),)
    output = "input_values"

    @property
    def masked(self):
        """Whether a call returns ``attention_mask``."""
        return self.part(Sequences).return_attention_mask

    def features(self, wave):
        """One waveform float32 [T] -> [T] or [frames, feature_size], before truncation."""
        return wave

    def normalise(self, features):
        """Normalisation over what is left after truncation, without the padding."""
        return features

    def batch(self, rows, length):
        """Rows of any lengths, normalised and padded -> (values [B, length, ...], mask int32 [B, length])."""
        return pad_batch([self.normalise(row) for row in rows], length, self.part(Sequences))

    def __call__(
        self,
        audio,
        sampling_rate=None,
        *,
        padding=True,
        max_length=None,
        truncation=False,
        pad_to_multiple_of=None,
        resample=False,
    ):
        """Sounds (see ``inputs.read_waves``) -> {output: float32 [B, T, ...], "attention_mask": int32 [B, T]}.

        The mask is left out where the published setting ``return_attention_mask`` is false.
        """
        sequences = self.part(Sequences)
        plan = Padding.read(padding, max_length, truncation, pad_to_multiple_of)
        waves = read_waves(audio, sampling_rate, sequences.sampling_rate, resample)
        rows = [plan.cut(self.features(wave), f"audio[{i}]") for i, wave in enumerate(waves)]
        values, mask = self.batch(rows, plan.length([len(row) for row in rows]))
        return {self.output: values} | ({"attention_mask": mask} if self.masked else {})
