"""question-answering: the answer to a question, marked in a text."""

from functools import partial
from typing import Any

import numpy as np

from catalog.errors import ConfigError, ProcessorError
from catalog.pipelines.base import softmax
from catalog.pipelines.texts import TextPipeline, part_of, trimmed


class QuestionAnswering(TextPipeline):
    """``{"question", "context"}`` -> ``{"score", "start", "end", "answer"}``; with ``top_k`` other than 1 a list, best first.

    stride                    tokens that two windows of a long context share
    max_answer_length         in tokens
    handle_impossible_answer  an empty answer, marked at the first token, is a candidate (SQuAD 2.0: arXiv:1806.03822)

    The score is the probability of the start times that of the end, each among all places of its window.
    """

    reads = ("start_logits", "end_logits")
    of_tokens = True

    def __call__(
        self, inputs: Any, *, top_k: int = 1, stride: int = 128, max_answer_length: int = 30,
        handle_impossible_answer: bool = False,
    ) -> Any:  # fmt: skip
        for name, value in (("top_k", top_k), ("max_answer_length", max_answer_length)):
            if value < 1:
                raise ConfigError(f"{name}={value}: give 1 or more")
        answer = partial(self._answer, top_k, max_answer_length, handle_impossible_answer)
        return self.each(inputs, partial(self._rows, stride), self.run, answer)

    def _rows(self, stride, given, where):
        question, context = part_of(given, "question", where), part_of(given, "context", where)
        asked = len(self.tokenizer(question, special_tokens=False)["input_ids"])
        if self.room is not None:
            left = self.room - len(self.tokenizer(question, "")["input_ids"]) - 2
            if left < 2:
                raise ProcessorError(
                    f"{where}: the question has {asked} tokens, the model room for {self.room} with the context"
                )
            stride = min(stride, left // 2)
        extra = ("offset_mapping", "special_tokens_mask")
        rows = self.windows(question, context, truncation="only_second", stride=stride, extra=extra)
        return [dict(row, context=context, inside=_second(row, asked)) for row in rows]

    def _answer(self, top_k, longest, impossible, rows, outputs):
        context, found, empty = rows[0]["context"], {}, 1.0
        for row, output in zip(rows, outputs):
            inside = row["inside"]
            allowed = inside.copy()
            allowed[0] = True  # where a model that was trained so marks that the window has no answer
            start, end = (softmax(np.where(allowed, output[name], -np.inf)) for name in self.reads)
            empty = min(empty, float(start[0] * end[0]))
            for score, a, b in spans(np.where(inside, start, 0), np.where(inside, end, 0), longest, top_k):
                span = trimmed(context, row["offset_mapping"][a][0], row["offset_mapping"][b][1])
                found[span] = max(score, found.get(span, 0.0))
        if impossible:
            found[0, 0] = empty
        ranked = sorted(found.items(), key=lambda item: -item[1])[:top_k]
        answers = [{"score": score, "start": a, "end": b, "answer": context[a:b]} for (a, b), score in ranked]
        return answers[0] if top_k == 1 else answers


def spans(start: np.ndarray, end: np.ndarray, longest: int, count: int) -> list[tuple[float, int, int]]:
    """The ``count`` best (score, first, last) of at most ``longest`` tokens; scores of zero are none."""
    scores = np.triu(np.tril(np.outer(start, end), longest - 1))
    places = np.argsort(-scores, axis=None, kind="stable")[:count]
    found = [(float(scores.flat[i]), *divmod(int(i), len(end))) for i in places]
    return [item for item in found if item[0] > 0]


def _second(row, asked):
    """Which tokens are of the context: those that are not special, behind the ``asked`` tokens of the question."""
    real = np.array(row["special_tokens_mask"]) == 0
    return real & (np.cumsum(real) > asked)
