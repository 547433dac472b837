"""Log-mel spectrograms of 30 seconds for Whisper. Radford et al., 2022 (arXiv:2212.04356)."""

from dataclasses import dataclass

import numpy as np

from catalog.processors.audio.extractor import FeatureExtractor, Padding, Sequences, derived, pad_batch
from catalog.processors.audio.inputs import read_waves
from catalog.processors.audio.spectrum import centred, frames, hann, magnitude, mel_filters

FLOOR, RANGE = 1e-10, 8.0  # energies are kept within eight decades below the loudest of the recording


@dataclass(frozen=True)
class Chunk:
    """Published keys of the spectrum; ``n_samples`` and ``nb_max_frames`` follow from the others."""

    n_fft: int = 400
    hop_length: int = 160
    chunk_length: int = 30
    n_samples: int = 480000
    nb_max_frames: int = 3000


class WhisperFeatureExtractor(FeatureExtractor):
    """input_features float32 [B, bands, frames]: 3000 frames of 10 ms for the default 30 seconds."""

    parts = (Sequences(feature_size=80, return_attention_mask=False), Chunk())

    @staticmethod
    def modern(config):
        samples = config.get("chunk_length", Chunk.chunk_length) * config.get("sampling_rate", Sequences.sampling_rate)
        frames_of_chunk = samples // config.get("hop_length", Chunk.hop_length)
        return derived(config, n_samples=samples, nb_max_frames=frames_of_chunk)

    def features(self, wave):
        """[T] -> float32 [bands, T // hop_length]."""
        chunk, rate = self.part(Chunk), self.part(Sequences).sampling_rate
        x = frames(centred(wave, chunk.n_fft), chunk.n_fft, chunk.hop_length) * hann(chunk.n_fft)
        power = magnitude(x, chunk.n_fft)[:-1] ** 2  # the last frame is dropped: 3000, not 3001
        bands = self.part(Sequences).feature_size
        mel = power @ mel_filters(bands, chunk.n_fft, rate, 0, 8000, scale="slaney", unit_area=True)
        logs = np.log10(np.maximum(mel, FLOOR))
        return ((np.maximum(logs, logs.max() - RANGE) + 4) / 4).T.astype(np.float32)

    def __call__(
        self, audio, sampling_rate=None, *, padding="max_length", max_length=None, truncation=True, resample=False
    ):
        """Sounds -> {"input_features"}; padded and cut to ``max_length`` samples, by default one chunk of 30 seconds.

        With ``return_attention_mask`` in the settings also "attention_mask" int32 [B, frames].
        """
        sequences, chunk = self.part(Sequences), self.part(Chunk)
        plan = Padding.read(padding, max_length or chunk.n_samples, truncation, None)
        waves = read_waves(audio, sampling_rate, sequences.sampling_rate, resample)
        waves = [plan.cut(wave, f"audio[{i}]") for i, wave in enumerate(waves)]
        values, mask = pad_batch(waves, plan.length([len(wave) for wave in waves]), sequences)
        batch = {"input_features": np.stack([self.features(wave) for wave in values])}
        return batch | {"attention_mask": mask[:, :: chunk.hop_length]} if self.masked else batch
