"""What every pipeline does: inputs to rows, rows of like lengths through the model, answers in the order of inputs."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from catalog.configs import Config
from catalog.errors import ConfigError

AHEAD = 16  # batches whose rows are sorted by length together

Row = Mapping[str, Any]


@dataclass
class Pipeline:
    """A model with its processor, doing one task. Subclasses give ``__call__`` with the options of the task.

    An input is answered by a dictionary or a list; a list of inputs by a list; anything else that is iterated over (a
    generator, a data set) by an iterator, which reads it as answers are taken.
    """

    task: str
    model: Any  # torch.nn.Module, nnx.Module or keras.Model
    processor: Any
    config: Config
    folder: Path
    framework: str = "torch"
    batch_size: int = 32

    def __post_init__(self):
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size}: give 1 or more")

    def each(
        self,
        inputs: Any,
        prepare: Callable[[Any, str], list[Row]],
        run: Callable[[list[Row]], list[Any]],
        answer: Callable[[list[Row], list[Any]], Any],
    ) -> Any:
        """The answers to ``inputs``.

        prepare  (input, what to call it in a message) -> its rows
        run      rows of like sizes -> one output a row
        answer   (rows, outputs) of one input -> its answer
        """
        if self.is_one(inputs):
            return next(self._answers([inputs], prepare, run, answer))
        answers = self._answers(inputs, prepare, run, answer)
        return list(answers) if isinstance(inputs, (list, tuple)) else answers

    def is_one(self, inputs: Any) -> bool:
        """Whether this is one input, and not several."""
        return isinstance(inputs, (str, bytes, Path, Mapping)) or hasattr(inputs, "__array__") or not isinstance(
            inputs, Iterable
        )  # fmt: skip

    def size(self, row: Row) -> int:
        """What rows are sorted by, so that those of a batch are alike."""
        raise NotImplementedError

    def _answers(self, inputs, prepare, run, answer) -> Iterator[Any]:
        rest, number = iter(inputs), count()
        while several := list(islice(rest, AHEAD * self.batch_size)):
            rows = [prepare(given, f"input {next(number)}") for given in several]
            flat = [row for of_one in rows for row in of_one]
            order = sorted(range(len(flat)), key=lambda i: self.size(flat[i]))
            outputs: list[Any] = [None] * len(flat)
            for start in range(0, len(order), self.batch_size):
                part = order[start : start + self.batch_size]
                for i, output in zip(part, run([flat[i] for i in part]), strict=True):
                    outputs[i] = output
            done = iter(outputs)
            for of_one in rows:
                yield answer(of_one, list(islice(done, len(of_one))))

    def forward(self, arrays: Mapping[str, np.ndarray], **fixed: Any) -> dict[str, np.ndarray]:
        """The model's output fields that are arrays, floating point as float32. ``fixed`` are values that are none."""
        if self.framework != "torch":
            named = {**arrays, **fixed}
            out = self.model(named) if self.framework == "tf" else self.model(**named)
            return {name: np.asarray(value) for name, value in out.items() if hasattr(value, "shape")}
        import torch

        at = next(self.model.parameters())
        tensors = {name: torch.as_tensor(np.asarray(array)) for name, array in arrays.items()}
        tensors = {name: t.to(at.device, at.dtype if t.is_floating_point() else None) for name, t in tensors.items()}
        with torch.inference_mode():
            out = self.model(**tensors, **fixed)
        found = {name: value for name, value in out.items() if torch.is_tensor(value)}
        return {n: (v.float() if v.is_floating_point() else v).cpu().numpy() for n, v in found.items()}

    def takes(self, name: str) -> bool:
        """Whether the model's forward has an argument ``name``; of a port it is not known, and taken to be so."""
        if self.framework != "torch":
            return True
        return name in inspect.signature(getattr(self.model, "backbone", self.model).forward).parameters


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    e = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """In float64, without overflow."""
    return 0.5 * (np.tanh(0.5 * logits.astype(np.float64)) + 1)


def ranked(labels: Iterable[str], scores: np.ndarray, top_k: int | None) -> list[dict[str, Any]]:
    """``{"label", "score"}`` of the ``top_k`` best (``None``: all), best first."""
    labels = list(labels)
    return [{"label": labels[i], "score": float(scores[i])} for i in best(scores, top_k)]


def best(scores: np.ndarray, top_k: int | None) -> list[int]:
    """Places of the ``top_k`` best scores, best first. Raises ConfigError for fewer than one."""
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k={top_k}: give 1 or more, or None for all")
    return np.argsort(-scores, kind="stable")[:top_k].tolist()
