"""Pipelines of sound: what they share, and audio-classification."""

from collections.abc import Mapping
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from catalog.pipelines.base import Pipeline, Row, ranked
from catalog.pipelines.classify import label_scores
from catalog.processors.audio.extractor import FeatureExtractor, Sequences
from catalog.processors.audio.inputs import read_waves


class SoundPipeline(Pipeline):
    """A pipeline whose inputs are sounds: paths, ``{"array", "sampling_rate"}``, or arrays [T] with ``sampling_rate``.

    A sound of another rate than the model's is resampled, and a line of the log says so.
    """

    @property
    def features(self) -> FeatureExtractor:
        """The feature extractor of the folder, also where it stands beside a tokenizer."""
        return self.processor if isinstance(self.processor, FeatureExtractor) else self.processor.features

    @property
    def rate(self) -> int:
        """Samples per second that the model takes."""
        return self.features.part(Sequences).sampling_rate

    def size(self, row: Row) -> int:
        """Samples."""
        return len(row["wave"])

    def wave(self, sampling_rate: int | None, given: Any, where: str) -> np.ndarray:
        """One sound as float32 [T] at the model's rate."""
        if isinstance(given, Mapping) and "audio" in given:  # a row of a data set
            given = given["audio"]
        if not isinstance(given, (str, Mapping)) and not hasattr(given, "__fspath__"):
            given = {"array": given, "sampling_rate": sampling_rate} if sampling_rate else given
        return read_waves([given], None, self.rate, resample=True)[0]

    def run(self, rows: list[Row]) -> list[dict[str, np.ndarray]]:
        """The outputs of each sound; padded together only where the model is told what is padding."""
        if not self.features.masked and self.features.output == "input_values":
            parts = [list(run) for _, run in groupby(rows, key=self.size)]
            return [output for part in parts for output in self._together(part)]
        return self._together(rows)

    def _together(self, rows):
        out = self.forward(self.features([row["wave"] for row in rows], self.rate))
        whole = {name: value for name, value in out.items() if value.ndim and len(value) == len(rows)}
        return [{name: value[i] for name, value in whole.items()} for i in range(len(rows))]


class AudioClassification(SoundPipeline):
    """A sound -> the ``top_k`` best as ``{"label", "score"}``."""

    def __call__(self, inputs: Any, *, top_k: int | None = 5, sampling_rate: int | None = None) -> Any:
        rows = partial(self._rows, sampling_rate)
        return self.each(inputs, rows, self.run, partial(self._answer, top_k))

    def _rows(self, sampling_rate, given, where):
        return [{"wave": self.wave(sampling_rate, given, where)}]

    def _answer(self, top_k, rows, outputs):
        return ranked(self.config.labels, label_scores(outputs[0]["logits"], self.config), top_k)
