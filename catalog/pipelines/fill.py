"""fill-mask: what could stand where the text has a mask."""

from functools import partial
from typing import Any

import numpy as np

from catalog.errors import ConfigError, ProcessorError
from catalog.pipelines.base import best, softmax
from catalog.pipelines.texts import TextPipeline, text_of


class FillMask(TextPipeline):
    """A text with a mask -> a list of ``{"score", "token", "token_str", "sequence"}``; of several masks a list for each.

    ``targets``: only these tokens are candidates; a score stays the share among all.
    """

    of_tokens = True

    def __call__(self, inputs: Any, *, top_k: int | None = 5, targets: list[str] | None = None) -> Any:
        if self.tokenizer.mask_id is None:
            raise ConfigError(f"{self.folder}: its tokenizer has no mask token, so nothing can be masked")
        only = None if targets is None else [self._target(word) for word in targets]
        return self.each(inputs, self._rows, self.run, partial(self._answer, top_k, only))

    def _rows(self, given, where):
        mask = self.tokenizer.traits.special["mask_token"]
        text = text_of(given, where)
        if mask not in text:
            raise ProcessorError(f"{where}: no {mask} in {text[:60]!r}; write it where a word is to be filled in")
        row = self.cut(where, text)
        if row["input_ids"].count(self.tokenizer.mask_id) < text.count(mask):
            raise ProcessorError(f"{where}: a {mask} stands behind the {self.room} tokens that the model has room for")
        return [row]

    def _answer(self, top_k, only, rows, outputs):
        ids = rows[0]["input_ids"]
        places = [i for i, token in enumerate(ids) if token == self.tokenizer.mask_id]
        found = [self._candidates(ids, place, outputs[0]["logits"][place], top_k, only) for place in places]
        return found[0] if len(found) == 1 else found

    def _candidates(self, ids, place, logits, top_k, only):
        scores = softmax(logits)[
            : len(self.tokenizer)
        ]  # rows of an embedding that is larger than the vocabulary mean nothing
        chosen = best(scores, top_k) if only is None else [only[i] for i in best(scores[np.array(only)], top_k)]
        return [
            {
                "score": float(scores[token]),
                "token": int(token),
                "token_str": self.tokenizer.decode([token]),
                "sequence": self.tokenizer.decode([*ids[:place], token, *ids[place + 1 :]], skip_special_tokens=True),
            }
            for token in chosen
        ]

    def _target(self, word):
        found = self.tokenizer(word, special_tokens=False)["input_ids"]
        if len(found) != 1:
            raise ConfigError(f"targets: {word!r} is {len(found)} tokens of this vocabulary; a mask stands for one")
        return found[0]
