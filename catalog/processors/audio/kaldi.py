"""Kaldi filter-bank features: Speech2Text, SeamlessM4T, audio spectrogram transformer."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from catalog.processors.audio.extractor import FeatureExtractor, Padding, Sequences, pad_batch
from catalog.processors.audio.inputs import read_waves
from catalog.processors.audio.spectrum import hann, kaldi_fbank, povey, standardised

INT16 = np.float32(2**15)  # Kaldi counts in 16-bit integers


@dataclass(frozen=True)
class Cepstral:
    """Normalisation of each band over the recording."""

    num_mel_bins: int = 80
    do_ceptral_normalize: bool = True
    normalize_means: bool = True
    normalize_vars: bool = True


class Speech2TextFeatureExtractor(FeatureExtractor):
    """Speech2Text: input_features float32 [B, frames, bands]. Wang et al., 2020 (arXiv:2010.05171)."""

    parts = (Sequences(feature_size=80), Cepstral())
    output = "input_features"

    def features(self, wave):
        return kaldi_fbank(wave * INT16, self.part(Sequences).sampling_rate, self.part(Cepstral).num_mel_bins, povey)

    def normalise(self, features):
        cepstral = self.part(Cepstral)
        if not cepstral.do_ceptral_normalize:
            return features
        return standardised(features, cepstral.normalize_means, cepstral.normalize_vars)


@dataclass(frozen=True)
class Strided:
    """``stride`` neighbouring frames become one."""

    num_mel_bins: int = 80
    stride: int = 2


class SeamlessM4TFeatureExtractor(FeatureExtractor):
    """SeamlessM4T: input_features float32 [B, frames // stride, bands * stride], mask [B, frames // stride]."""

    parts = (Sequences(feature_size=80), Strided())
    output = "input_features"

    def features(self, wave):
        return kaldi_fbank(wave * INT16, self.part(Sequences).sampling_rate, self.part(Strided).num_mel_bins, povey)

    def normalise(self, features):
        variance = features.var(axis=0, ddof=min(1, len(features) - 1))
        return (features - features.mean(axis=0)) / np.sqrt(variance + np.float32(1e-7))

    def batch(self, rows, length):
        stride = self.part(Strided).stride
        values, mask = super().batch(rows, -(-length // stride) * stride)
        return values.reshape(len(rows), values.shape[1] // stride, -1), mask[:, stride - 1 :: stride]


@dataclass(frozen=True)
class Standardise:
    """Statistics of the training set; the deviation is doubled, as the model was trained."""

    num_mel_bins: int = 128
    max_length: int = 1024
    do_normalize: bool = True
    mean: float = -4.2677393
    std: float = 4.5689974

    def __call__(self, x):
        return (x - np.float32(self.mean)) / np.float32(2 * self.std) if self.do_normalize else x


class ASTFeatureExtractor(FeatureExtractor):
    """AST: input_values float32 [B, max_length, bands], padded or cut to ``max_length`` frames; no mask.

    Gong et al., 2021 (arXiv:2104.01778).
    """

    parts = (Sequences(return_attention_mask=False), Standardise())

    def features(self, wave):
        window = partial(hann, periodic=False)
        return kaldi_fbank(wave, self.part(Sequences).sampling_rate, self.part(Standardise).num_mel_bins, window)

    def __call__(self, audio, sampling_rate=None, *, resample=False):
        """Sounds -> {"input_values"}; the padding is normalised like the frames."""
        sequences, scale = self.part(Sequences), self.part(Standardise)
        plan = Padding("max_length", scale.max_length, truncate=True)
        waves = read_waves(audio, sampling_rate, sequences.sampling_rate, resample)
        rows = [plan.cut(self.features(wave), f"audio[{i}]") for i, wave in enumerate(waves)]
        return {self.output: scale(pad_batch(rows, scale.max_length, sequences)[0])}
