"""The trainer: a model, a task, feeds and options in; training, evaluation and prediction out.

A run folder holds ``config.yaml`` (the whole configuration, by the launcher), ``log.jsonl`` (what happened, see
``trainer.tracking.jsonl``), ``checkpoints/step_N`` with the links ``latest`` and ``best`` (to go on from, see
``trainer.checkpoint``) and in the end ``model/`` (the best weights in the published layout, by the recipe).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from trainer import evaluation, memory, options, preflight
from trainer.checkpoint.store import Checkpoints
from trainer.console import Console
from trainer.errors import TrainerError
from trainer.precision import Precision
from trainer.run import Result, Run
from trainer.step import Stepper
from trainer.strategies import base as strategies
from trainer.strategies import processes
from trainer.task import Feed, Task
from trainer.tracking.base import Tracker


class Options(Protocol):
    """The sections of a configuration that the loop reads."""

    train: options.TrainOptions
    eval: options.EvalOptions
    checkpoint: options.CheckpointOptions
    optim: options.OptimOptions
    schedule: options.ScheduleOptions
    precision: options.PrecisionOptions
    memory: options.MemoryOptions
    strategy: options.StrategyOptions


class Trainer:
    """Trains ``model`` on ``task``.

    run_dir         ``log.jsonl`` and ``checkpoints/`` are written there
    train, evals    the feeds to learn from and to measure on; the first of ``evals`` decides which model is best
    device          ``"cuda:1"``, ``"cpu"``; ``None`` takes the best there is
    checks          what preflight knows of the data
    resume_command  the command line that continues this run, for messages
    trackers        receive every event beside ``log.jsonl``
    fill            gives ``model`` its values where it comes without memory, on ``meta``

    Raises :class:`~trainer.errors.DeviceError` when the device lacks what the options ask for.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        options: Options,
        run_dir: str | Path,
        *,
        train: Feed | None = None,
        evals: Mapping[str, Feed] | None = None,
        seed: int = 0,
        device: str | None = None,
        checks: preflight.Checks | None = None,
        console: Console | None = None,
        resume_command: str | None = None,
        trackers: Iterable[Tracker] = (),
        fill: strategies.Fill | None = None,
    ):
        self.task, self.options, self.run_dir, self.seed = task, options, Path(run_dir), seed
        self.train, self.evals, self.checks = train, dict(evals or {}), checks or preflight.Checks()
        self.trackers = tuple(trackers)
        self.resume_command = resume_command or f"Trainer.fit(resume=True) on {self.run_dir}"
        device = strategies.pick_device(device)
        precision = Precision(options.precision.dtype, device, options.precision.reduce)
        self.strategy = strategies.build(options.strategy, device, precision)
        self.console = console or Console(quiet=self.strategy.rank > 0)
        memory.recompute(precision.convert(model), options.memory.activations)
        self.model = self.strategy.setup(model, fill)
        self.stepper = Stepper(self.model, task, self.strategy, options.train.clip, train)
        self.checkpoints = Checkpoints(
            self.run_dir / "checkpoints", options.checkpoint.keep, self.strategy.rank, processes.channel()
        )
        if train is not None:
            train.share(*self.strategy.shard_of_batch())

    def fit(self, resume: bool = False) -> Result:
        """Train to the last step, or on from the newest valid checkpoint; see :meth:`trainer.run.Run.go`."""
        if self.train is None:
            raise TrainerError("there is no training data: Trainer(..., train=...)")
        return Run(self).go(resume)

    def evaluate(self, feed: Feed) -> dict[str, float]:
        """Metrics, ``loss`` among them, over every row of ``feed`` once."""
        return evaluation.evaluate(self.model, self.task, feed, self.strategy).metrics

    def predict(self, feed: Feed) -> list[Any]:
        """The task's prediction for every row of ``feed``, in the order of the data set."""
        return evaluation.predict(self.model, self.task, feed, self.strategy)

    def best_weights(self) -> tuple[int | None, Mapping[str, Tensor]]:
        """Step and weights of the best evaluation, or ``None`` and the last weights saved: whole tensors by name, each read
        when it is asked for, so that no process ever holds a whole model. All processes ask for it together."""
        best = self.checkpoints.best
        saved = self.checkpoints.load(best or self.checkpoints.latest)
        return (saved.values()["progress"]["step"] if best else None), saved.weights()

    def load_best(self) -> int | None:
        """Put the weights of the best evaluation into the model and return its step; ``None`` when there was none."""
        if (path := self.checkpoints.best) is None:
            return None
        saved = self.checkpoints.load(path)
        self.strategy.load(saved, model_only=True)
        return saved.values()["progress"]["step"]
