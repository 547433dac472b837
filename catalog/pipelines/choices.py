"""multiple-choice: which of several endings goes with a text."""

from functools import partial
from typing import Any

import numpy as np

from catalog.errors import ProcessorError
from catalog.pipelines.base import best, softmax
from catalog.pipelines.texts import TextPipeline, part_of, text_of


class MultipleChoice(TextPipeline):
    """``{"prompt", "choices": [...]}`` -> ``{"choices", "scores", "index"}``, best first; ``index`` is the best one's place.

    With ``"start"`` in it, every choice goes on from that text (SWAG: arXiv:1808.05326).
    """

    def __call__(self, inputs: Any) -> Any:
        run = partial(self.run, choices=1) if self.framework == "torch" else self.run
        return self.each(inputs, self._rows, run, self._answer)

    def _rows(self, given, where):
        prompt, choices = part_of(given, "prompt", where), given.get("choices")
        if not isinstance(choices, (list, tuple)) or len(choices) < 2:
            raise ProcessorError(f'{where}: "choices" has to be a list of two texts or more')
        start = part_of(given, "start", where) + " " if given.get("start") else ""
        choices = [text_of(choice, f"{where}, choice {i}") for i, choice in enumerate(choices)]
        return [dict(self.cut(where, prompt, start + choice), choice=choice) for choice in choices]

    def _padded(self, columns, sizes):
        return {name: rows[:, None] for name, rows in super()._padded(columns, sizes).items()}  # each choice by itself

    def _answer(self, rows, outputs):
        scores = softmax(np.array([output["logits"][0] for output in outputs]))
        order = best(scores, None)
        return {
            "choices": [rows[i]["choice"] for i in order],
            "scores": [float(scores[i]) for i in order],
            "index": order[0],
        }
