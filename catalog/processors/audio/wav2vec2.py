"""Raw waveforms for wav2vec 2.0 and its relatives (HuBERT, WavLM, UniSpeech, SEW, Data2Vec-audio).

Baevski et al., 2020 (arXiv:2006.11477).
"""

from dataclasses import dataclass

import numpy as np

from catalog.processors.audio.extractor import FeatureExtractor, Sequences, pad_batch


@dataclass(frozen=True)
class Standardise:
    """Each waveform to mean 0 and variance 1."""

    do_normalize: bool = True

    def __call__(self, wave):
        if not self.do_normalize:
            return wave
        return (wave - wave.mean()) / np.sqrt(wave.var() + np.float32(1e-7))


class Wav2Vec2FeatureExtractor(FeatureExtractor):
    """input_values float32 [B, T]; an attention mask where the file asks for one (models with layer norms)."""

    parts = (Sequences(return_attention_mask=False), Standardise())

    def normalise(self, features):
        return self.part(Standardise)(features)

    def batch(self, rows, length):
        """As published: without a mask the padding counts in mean and variance, so a short row depends on its batch."""
        if self.masked:
            return super().batch(rows, length)
        values, mask = pad_batch(rows, length, self.part(Sequences))
        return np.stack([self.normalise(row) for row in values]), mask
