"""Amplitude mel spectrograms: M-CTC-T (log of amplitudes, hamming window), SpeechT5 (speech to be generated)."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.audio.extractor import FeatureExtractor, Sequences, derived
from catalog.processors.audio.spectrum import (
    centred,
    emphasised,
    frames,
    hamming,
    hann,
    magnitude,
    mel_filters,
    power_of_two,
    standardised,
)
from catalog.processors.audio.wav2vec2 import Standardise

WINDOWS = {"hamming_window": hamming, "hann_window": hann}


def window(name, length, periodic=True):
    """A window [length] by its published name."""
    if name not in WINDOWS:
        raise ProcessorError(f"win_function: expected one of {', '.join(WINDOWS)}, found {name!r}")
    return WINDOWS[name](length, periodic)


@dataclass(frozen=True)
class Mfsc:
    """Published keys of the log-amplitude spectrum; lengths in ms, the last four follow from them."""

    hop_length: int = 10
    win_length: int = 25
    frame_signal_scale: float = 32768.0
    preemphasis_coeff: float = 0.97
    mel_floor: float = 1.0
    normalize_means: bool = True
    normalize_vars: bool = True
    win_function: str = "hamming_window"
    sample_size: int = 400
    sample_stride: int = 160
    n_fft: int = 512
    n_freqs: int = 257


class MCTCTFeatureExtractor(FeatureExtractor):
    """M-CTC-T: input_features float32 [B, frames, bands]; the mask is always returned."""

    parts = (Sequences(feature_size=80, return_attention_mask=False), Mfsc())
    output = "input_features"
    masked = True

    @staticmethod
    def modern(config):
        rate = config.get("sampling_rate", Sequences.sampling_rate)
        size = config.get("win_length", Mfsc.win_length) * rate // 1000
        n_fft = power_of_two(size)
        hop = config.get("hop_length", Mfsc.hop_length) * rate // 1000
        return derived(config, sample_size=size, sample_stride=hop, n_fft=n_fft, n_freqs=n_fft // 2 + 1)

    def features(self, wave):
        mfsc, sequences = self.part(Mfsc), self.part(Sequences)
        x = frames(wave.astype(np.float64) * mfsc.frame_signal_scale, mfsc.sample_size, mfsc.sample_stride)
        x = emphasised(x, mfsc.preemphasis_coeff) * window(mfsc.win_function, mfsc.sample_size, periodic=False)
        rate = sequences.sampling_rate
        mel = magnitude(x, mfsc.n_fft) @ mel_filters(sequences.feature_size, mfsc.n_fft, rate, 0, rate / 2, scale="htk")
        return np.log(np.maximum(mel, mfsc.mel_floor)).astype(np.float32)

    def normalise(self, features):
        mfsc = self.part(Mfsc)
        return standardised(features, mfsc.normalize_means, mfsc.normalize_vars)


@dataclass(frozen=True)
class Target:
    """Published keys of the target spectrum; lengths in ms, edges in Hz."""

    num_mel_bins: int = 80
    hop_length: int = 16
    win_length: int = 64
    win_function: str = "hann_window"
    frame_signal_scale: float = 1.0
    fmin: float = 80
    fmax: float = 7600
    mel_floor: float = 1e-10
    reduction_factor: int = 2


class SpeechT5Target(FeatureExtractor):
    """The target of SpeechT5: log10 mel amplitudes, input_values float32 [B, frames, bands]."""

    parts = (Sequences(), Standardise(do_normalize=False), Target())

    def features(self, wave):
        target, rate = self.part(Target), self.part(Sequences).sampling_rate
        length, hop = target.win_length * rate // 1000, target.hop_length * rate // 1000
        n_fft = power_of_two(length)
        x = frames(centred(wave * target.frame_signal_scale, n_fft), n_fft, hop)[:, :length]
        filters = mel_filters(
            target.num_mel_bins, n_fft, rate, target.fmin, target.fmax, scale="slaney", unit_area=True
        )
        mel = magnitude(x * window(target.win_function, length), n_fft) @ filters
        return np.log10(np.maximum(mel, target.mel_floor)).astype(np.float32)


class SpeechT5FeatureExtractor(FeatureExtractor):
    """SpeechT5: the raw waveform for the encoder; ``target`` extracts spectra of speech that is to be generated.

    Ao et al., 2021 (arXiv:2110.07205).
    """

    parts = SpeechT5Target.parts

    @property
    def target(self):
        """An extractor with the same settings, called like this one, for the decoder's side."""
        return SpeechT5Target(self.config)

    def normalise(self, features):
        return self.part(Standardise)(features)
