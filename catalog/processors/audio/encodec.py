"""Raw waveforms, mono or stereo, padded to whole chunks: EnCodec. Défossez et al., 2022 (arXiv:2210.13438)."""

from dataclasses import dataclass
from math import ceil, floor

from catalog.errors import ProcessorError
from catalog.processors.audio.extractor import FeatureExtractor, Padding, Sequences, pad_batch
from catalog.processors.audio.inputs import read_waves


@dataclass(frozen=True)
class Chunks:
    """Overlapping chunks of the 48 kHz model; both null where a recording is taken whole."""

    chunk_length_s: float | None = None
    overlap: float | None = None

    def whole(self, longest, rate, truncate):
        """``longest`` rounded to where the last chunk ends: down when cutting, else up."""
        if not self.chunk_length_s:
            return longest
        length = int(self.chunk_length_s * rate)
        stride = max(1, int((1 - (self.overlap or 0)) * length))
        steps = (floor if truncate else ceil)(longest / stride)
        return (steps - 1) * stride + length


class EncodecFeatureExtractor(FeatureExtractor):
    """input_values float32 [B, channels, T], padding_mask int32 [B, T] with 1 on real samples."""

    parts = (Sequences(sampling_rate=24000), Chunks())

    def __call__(self, audio, sampling_rate=None, *, padding=True, max_length=None, truncation=False, resample=False):
        """Sounds, [T] or [T, channels] by ``feature_size`` -> {"input_values", "padding_mask"}.

        Without ``max_length`` the batch becomes as long as its longest sound (with ``truncation``: as its shortest),
        rounded to whole chunks.
        """
        sequences, chunks = self.part(Sequences), self.part(Chunks)
        if sequences.feature_size not in (1, 2):
            raise ProcessorError(f"feature_size: expected 1 (mono) or 2 (stereo), found {sequences.feature_size}")
        waves = read_waves(audio, sampling_rate, sequences.sampling_rate, resample, channels=sequences.feature_size)
        if chunks.chunk_length_s and max_length is None:
            length = chunks.whole((min if truncation else max)(map(len, waves)), sequences.sampling_rate, truncation)
            plan = Padding("max_length", length, truncation)
        else:
            plan = Padding.read(padding, max_length, truncation, None)
        rows = [plan.cut(wave.reshape(len(wave), -1), f"audio[{i}]") for i, wave in enumerate(waves)]
        values, mask = pad_batch(rows, plan.length([len(row) for row in rows]), sequences)
        return {"input_values": values.transpose(0, 2, 1).copy(), "padding_mask": mask}
