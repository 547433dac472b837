"""Choosing a label for a text: text-classification, and zero-shot-classification by a model of entailment."""

from functools import partial
from typing import Any

import numpy as np

from catalog.errors import ConfigError
from catalog.pipelines.base import ranked, sigmoid, softmax
from catalog.pipelines.texts import TextPipeline, part_of, text_of


class TextClassification(TextPipeline):
    """A text, or ``{"text", "text_pair"}`` -> ``{"label", "score"}``; with ``top_k`` other than 1 a list of them.

    The score is a probability, of each label by itself where the model was trained so, and the number itself of a regression.
    """

    def __call__(self, inputs: Any, *, top_k: int | None = 1) -> Any:
        return self.each(inputs, self._rows, self.run, partial(self._answer, top_k))

    def _rows(self, given, where):
        if isinstance(given, str) or not hasattr(given, "keys"):
            return [self.cut(where, text_of(given, where))]
        pair = part_of(given, "text_pair", where) if given.get("text_pair") else None
        return [self.cut(where, part_of(given, "text", where), pair)]

    def _answer(self, top_k, rows, outputs):
        found = ranked(self.config.labels, label_scores(outputs[0]["logits"], self.config), top_k)
        return found[0] if top_k == 1 else found


def label_scores(logits: np.ndarray, config) -> np.ndarray:
    """Scores [labels] as the problem of the configuration has them."""
    if config.problem == "regression":
        return logits.astype(np.float64)
    if config.problem == "multi_label_classification" or len(logits) == 1:
        return sigmoid(logits)
    return softmax(logits)


class ZeroShotClassification(TextPipeline):
    """A text and labels that the model has not seen -> ``{"sequence", "labels", "scores"}``, best first.

    Each label is put into ``hypothesis_template`` and the model says whether the text entails it. Yin et al., 2019
    (arXiv:1909.00161). Scores are shares among the labels, or with ``multi_label`` each label's own against contradiction.
    """

    def __call__(
        self, inputs: Any, candidate_labels: list[str] | str, *, hypothesis_template: str = "This example is {}.",
        multi_label: bool = False,
    ) -> Any:  # fmt: skip
        labels = named_labels(candidate_labels)
        if "{}" not in hypothesis_template:
            raise ConfigError(f"hypothesis_template={hypothesis_template!r}: it needs {{}} where the label stands")
        claims = [hypothesis_template.replace("{}", label) for label in labels]
        yes, no = self._entails()
        if multi_label and no is None:
            raise ConfigError(
                f"multi_label needs a label of contradiction; the model has {', '.join(self.config.labels)}"
            )

        def rows(given, where):
            text = text_of(given, where)
            return [dict(self.cut(where, text, claim, "only_first"), text=text) for claim in claims]

        def answer(rows, outputs):
            logits = np.stack([output["logits"] for output in outputs])
            scores = softmax(logits[:, [no, yes]])[:, 1] if multi_label else softmax(logits[:, yes])
            found = ranked(labels, scores, None)
            return {
                "sequence": rows[0]["text"],
                "labels": [item["label"] for item in found],
                "scores": [item["score"] for item in found],
            }

        return self.each(inputs, rows, self.run, answer)

    def _entails(self):
        """Places of the labels of entailment and contradiction, the latter None where there is none."""
        names = [label.lower() for label in self.config.labels]
        yes = [i for i, name in enumerate(names) if name.startswith("entail")]
        no = [i for i, name in enumerate(names) if name.startswith(("contra", "not_entail", "not entail"))]
        if len(yes) != 1:
            raise ConfigError(
                f"{self.folder}: zero-shot-classification needs a model with a label 'entailment'; this one "
                f"has {', '.join(self.config.labels)}. Train one: python train.py recipe=bert_glue task=mnli"
            )
        return yes[0], (no[0] if len(no) == 1 else None)


def named_labels(labels: list[str] | str) -> list[str]:
    """Labels from a list or a text with commas. Raises ConfigError where there are none, or one twice."""
    found = [label.strip() for label in (labels.split(",") if isinstance(labels, str) else labels)]
    if not found or "" in found or len(set(found)) < len(found):
        raise ConfigError(f"candidate_labels={labels!r}: give the names to choose from, each once")
    return found
