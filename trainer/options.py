"""What the trainer can be told: one frozen dataclass a section, with bounds and meaning beside each field.

Defaults are not here but in ``conf/``; ``launchers/config`` fills these classes and refuses what does not fit.
The metadata it reads: ``help`` (the meaning), ``min`` ``max`` (inclusive), ``above`` ``below`` (exclusive), ``kind``
(``share``: a number of steps, a fraction or a percentage), ``option`` (set by choosing an option of the group).
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How sequences become batches. Exactly one of ``tokens`` and ``size`` is given."""

    layout: Literal["unpadded", "bucketed", "padded", "fixed"] = field(
        metadata={
            "help": "unpadded: sequences end to end; bucketed: like lengths together; padded: all to batch.max_length; "
            "fixed: like lengths together in a few shapes, for compiled models",
            "option": True,
        }
    )
    tokens: int | None = field(metadata={"help": "token budget of one micro batch, padding included", "min": 1})
    size: int | None = field(metadata={"help": "sequences in one micro batch, instead of batch.tokens", "min": 1})
    max_length: int = field(metadata={"help": "longest sequence in tokens; longer ones are cut", "min": 4})
    accumulate: int = field(metadata={"help": "micro batches in one optimizer step", "min": 1})


@dataclass(frozen=True, kw_only=True)
class OptimOptions:
    """The optimizer."""

    name: Literal["adamw"] = field(
        metadata={"help": "AdamW with decoupled weight decay (arXiv:1711.05101)", "option": True}
    )
    lr: float = field(metadata={"help": "peak learning rate, reached at the end of warm-up", "above": 0})
    decay: float = field(metadata={"help": "weight decay; norms and biases have none", "min": 0})
    betas: tuple[float, float] = field(
        metadata={"help": "decay rates of the two running averages", "min": 0, "below": 1}
    )
    eps: float = field(metadata={"help": "added to the denominator of the update", "above": 0})


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """The learning rate over optimizer steps."""

    name: Literal["linear", "cosine", "constant"] = field(
        metadata={"help": "how the learning rate falls after warm-up", "option": True}
    )
    warmup: int | float = field(
        metadata={"help": "optimizer steps of warm-up, or their share of the run", "min": 0, "kind": "share"}
    )


@dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """What is computed in which number format."""

    dtype: Literal["fp32", "bf16", "fp16"] = field(
        metadata={"help": "format of matrix products; weights and optimizer state stay fp32", "option": True}
    )


@dataclass(frozen=True, kw_only=True)
class StrategyOptions:
    """How the work is spread over processes."""

    name: Literal["single", "ddp"] = field(
        metadata={"help": "single: one process; ddp: a whole model on every process of torchrun", "option": True}
    )


@dataclass(frozen=True, kw_only=True)
class TrackerOptions:
    """Where the figures of a run go."""

    name: Literal["jsonl"] = field(metadata={"help": "jsonl: one file of JSON lines in the run folder", "option": True})


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long to train and what to say meanwhile. The run ends at ``epochs`` or ``steps``, whichever comes first."""

    epochs: float | None = field(metadata={"help": "passes over the training data", "above": 0})
    steps: int | None = field(metadata={"help": "most optimizer steps", "min": 1})
    clip: float | None = field(metadata={"help": "largest norm of the gradient; null: no clipping", "above": 0})
    log_every: int = field(metadata={"help": "optimizer steps between two lines of the console and the log", "min": 1})
    max_skips: int = field(
        metadata={
            "help": "steps in a row without a finite loss before the weights go back to the last checkpoint",
            "min": 1,
        }
    )


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """When the model is measured, and what the figure decides."""

    every: Literal["epoch"] | int = field(metadata={"help": "evaluate after each epoch or so many steps", "min": 1})
    metric: str | None = field(metadata={"help": "the metric that picks the best model; null: the task's own"})
    patience: int | None = field(
        metadata={"help": "evaluations without a better figure before training stops; null: never", "min": 1}
    )


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """When the state of the run is saved, and how many saves are kept beside the best."""

    every: Literal["epoch"] | int | None = field(
        metadata={"help": "save after each epoch or so many steps; null: at the end only", "min": 1}
    )
    keep: int = field(metadata={"help": "newest checkpoints kept; the best one is kept besides", "min": 1})
