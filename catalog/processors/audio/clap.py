"""Log-mel spectrograms of ten seconds for CLAP. Wu et al., 2022 (arXiv:2211.06687)."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.audio.extractor import FeatureExtractor, Sequences, derived
from catalog.processors.audio.inputs import read_waves
from catalog.processors.audio.spectrum import centred, frames, hann, magnitude, mel_filters
from catalog.processors.linear import linear

FLOOR = 1e-10


@dataclass(frozen=True)
class Spectrum:
    """Published keys of the spectrum and of how sounds shorter and longer than ``max_length_s`` are treated."""

    fft_window_size: int = 1024
    hop_length: int = 480
    frequency_min: float = 0
    frequency_max: float = 14000
    max_length_s: int = 10
    truncation: str = "fusion"
    padding: str = "repeatpad"
    top_db: float | None = None
    nb_frequency_bins: int = 513
    nb_max_samples: int = 480000

    def __post_init__(self):
        if self.truncation not in ("fusion", "rand_trunc") or self.padding not in ("repeatpad", "repeat", "pad"):
            raise ProcessorError(
                f"truncation={self.truncation}, padding={self.padding}: expected truncation fusion or rand_trunc, "
                "padding repeatpad, repeat or pad"
            )


class ClapFeatureExtractor(FeatureExtractor):
    """input_features float32 [B, 4 or 1, frames, bands], is_longer bool [B, 1].

    With ``fusion`` the four are the whole sound shrunk to the length of a chunk, and three chunks of it; a sound of at
    most ``max_length_s`` is given four times. With ``rand_trunc`` there is one chunk.
    """

    parts = (Sequences(feature_size=64, sampling_rate=48000, return_attention_mask=False), Spectrum())
    output = "input_features"

    @staticmethod
    def modern(config):
        rate, size = config.get("sampling_rate", 48000), config.get("fft_window_size", Spectrum.fft_window_size)
        length = config.get("max_length_s", Spectrum.max_length_s) * rate
        return derived(config, nb_frequency_bins=size // 2 + 1, nb_max_samples=length)

    def features(self, wave):
        """[T] -> decibels float32 [1 + T // hop_length, bands]."""
        s, sequences = self.part(Spectrum), self.part(Sequences)
        n_fft, slaney = s.fft_window_size, s.truncation != "fusion"  # as trained: plain HTK triangles with fusion
        filters = mel_filters(
            sequences.feature_size, n_fft, sequences.sampling_rate, s.frequency_min, s.frequency_max,
            scale="slaney" if slaney else "htk", unit_area=slaney,
        )  # fmt: skip
        power = magnitude(frames(centred(wave, n_fft), n_fft, s.hop_length) * hann(n_fft), n_fft) ** 2
        decibels = 10 * np.log10(np.maximum(power @ filters, FLOOR))
        if s.top_db is not None:
            decibels = np.maximum(decibels, decibels.max() - s.top_db)
        return decibels.astype(np.float32)

    def filled(self, wave):
        """A short sound [T] -> [nb_max_samples]: repeated, then zeros."""
        s = self.part(Spectrum)
        times = s.nb_max_samples // len(wave)
        if s.padding == "repeat":
            return np.tile(wave, times + 1)[: s.nb_max_samples]
        wave = np.tile(wave, times) if s.padding == "repeatpad" else wave
        return np.pad(wave, (0, s.nb_max_samples - len(wave)))

    def views(self, wave, rng):
        """[T] -> ([4 or 1, frames, bands], whether the sound is longer than a chunk)."""
        s = self.part(Spectrum)
        copies = 4 if s.truncation == "fusion" else 1
        if len(wave) <= s.nb_max_samples:
            return np.stack([self.features(self.filled(wave))] * copies), False
        if copies == 1:
            start = _pick(np.arange(len(wave) - s.nb_max_samples + 1), rng)
            return self.features(wave[start : start + s.nb_max_samples])[None], True
        mel, size = self.features(wave), s.nb_max_samples // s.hop_length + 1
        if len(mel) == size:
            return np.stack([mel] * copies), False
        thirds = np.array_split(np.arange(len(mel) - size + 1), 3)
        starts = [_pick(third, rng) if len(third) else 0 for third in thirds]
        return np.stack([linear(mel, size), *(mel[start : start + size] for start in starts)]), True

    def __call__(self, audio, sampling_rate=None, *, rng=None, resample=False):
        """Sounds -> {"input_features", "is_longer"}. ``rng`` (numpy Generator) places the chunks of long sounds at
        random, for training; without it they are in the middle of their ranges.
        """
        waves = read_waves(audio, sampling_rate, self.part(Sequences).sampling_rate, resample)
        views, longer = zip(*(self.views(wave, rng) for wave in waves))
        longer = np.array(longer)[:, None]
        if self.part(Spectrum).truncation == "fusion" and not longer.any():
            # As published, one of a batch of short sounds goes through the fusion layers; there it is a random one.
            longer[-1] = True
        return {self.output: np.stack(views), "is_longer": longer}


def _pick(choices, rng):
    return int(choices[len(choices) // 2] if rng is None else rng.choice(choices))
