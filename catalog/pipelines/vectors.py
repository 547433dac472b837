"""feature-extraction: the states of a text's tokens, or one vector for it."""

from functools import partial
from typing import Any

from catalog.errors import ConfigError
from catalog.pipelines.texts import TextPipeline, text_of

POOLS = {"none": lambda states: states, "first": lambda states: states[0], "mean": lambda states: states.mean(0)}


class FeatureExtraction(TextPipeline):
    """A text -> its last hidden states as lists [tokens][width]; ``pooling`` ``first`` or ``mean``: one vector [width]."""

    reads = ("last_hidden_state",)
    of_tokens = True

    def __call__(self, inputs: Any, *, pooling: str = "none") -> Any:
        if pooling not in POOLS:
            raise ConfigError(f"pooling={pooling!r}: one of {', '.join(POOLS)}")
        return self.each(inputs, self._rows, self.run, partial(self._answer, POOLS[pooling]))

    def _rows(self, given, where):
        return [self.cut(where, text_of(given, where))]

    def _answer(self, pool, rows, outputs):
        return pool(outputs[0]["last_hidden_state"]).tolist()
