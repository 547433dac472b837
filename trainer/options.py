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

    name: Literal["adamw", "adam", "sgd", "adafactor"] = field(
        metadata={
            "help": "adamw: decoupled weight decay (arXiv:1711.05101); adam: decay as part of the gradient "
            "(arXiv:1412.6980); sgd: with momentum; adafactor: one average a row and a column (arXiv:1804.04235)",
            "option": True,
        }
    )
    lr: float = field(metadata={"help": "peak learning rate, reached at the end of warm-up", "above": 0})
    decay: float = field(metadata={"help": "weight decay; norms and biases have none", "min": 0})
    betas: tuple[float, float] | None = field(
        metadata={"help": "decay rates of Adam's two running averages; null for the others", "min": 0, "below": 1}
    )
    eps: float | None = field(
        metadata={"help": "added to the denominator of Adam's update; null for the others", "above": 0}
    )
    momentum: float | None = field(
        metadata={"help": "share of the last update that sgd makes again; null for the others", "min": 0, "below": 1}
    )


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

    dtype: Literal["fp32", "bf16", "bf16_pure", "fp16", "fp8"] = field(
        metadata={
            "help": "fp32, bf16, fp16, fp8: format of matrix products, weights and optimizer state stay fp32; "
            "bf16_pure: weights and gradients are bf16 too, updates are rounded at random, right on average",
            "option": True,
        }
    )
    reduce: Literal["fp32", "bf16"] | None = field(
        metadata={"help": "format in which processes add gradients up; null: as the gradients are"}
    )


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """What is computed again, or in pieces, so as not to be kept."""

    activations: Literal["none", "selective", "full"] = field(
        metadata={
            "help": "none: keep what the backward pass needs; selective: keep matrix products of each block and compute "
            "the rest again; full: keep the input of each block alone (arXiv:1604.06174)"
        }
    )
    loss_chunk: int | None = field(
        metadata={
            "help": "tokens whose scores over the vocabulary are formed at a time in the loss; null: all",
            "min": 1,
        }
    )


@dataclass(frozen=True, kw_only=True)
class StrategyOptions:
    """How the work is spread over processes."""

    name: Literal[
        "single",
        "ddp",
        "fsdp",
        "hsdp",
        "tp",
        "fsdp_tp",
        "cp",
        "pp",
        "pp_fsdp",
        "deepspeed_zero1",
        "deepspeed_zero2",
        "deepspeed_zero3",
    ] = field(
        metadata={
            "help": "single: one process; ddp: a whole model on every process of torchrun; fsdp: weights, gradients and "
            "optimizer state divided among all; hsdp: divided within each of some replicas; tp: each matrix shared by all; "
            "fsdp_tp: shared within groups, and the shares divided over them; cp: tokens shared within groups; "
            "pp: runs of blocks, micro batches go from process to process; pp_fsdp: each run divided within a group; "
            "deepspeed_zero1, 2, 3: DeepSpeed divides the optimizer's state, gradients too, weights too",
            "option": True,
        }
    )
    tp: int | None = field(
        metadata={"help": "processes that share each matrix; null: inferred from their number", "min": 1}
    )
    cp: int | None = field(
        metadata={"help": "processes that share each sequence; null: inferred from their number", "min": 1}
    )
    pp: int | None = field(
        metadata={"help": "processes or groups of them in the pipeline; null: inferred from their number", "min": 1}
    )
    schedule: Literal["gpipe", "1f1b", "interleaved"] | None = field(
        metadata={
            "help": "of a pipeline. gpipe: all forward passes first; 1f1b: backward passes as soon as can be, fewer "
            "activations; interleaved: 1f1b with several stages a process, less waiting; null: 1f1b"
        }
    )
    chunks: int | None = field(
        metadata={"help": "stages of each process under strategy.schedule=interleaved; null: 2", "min": 2}
    )
    replicas: int | None = field(
        metadata={"help": "copies of the model under hsdp; null: one a machine, or two on one machine", "min": 1}
    )
    reshard: bool = field(
        metadata={"help": "let a block's gathered weights go after its forward pass: less memory, more traffic"}
    )
    offload: bool = field(
        metadata={"help": "keep divided weights, gradients and optimizer state in main memory between uses"}
    )
    compile: bool = field(metadata={"help": "compile each repeated block of the model (torch.compile)"})


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """The machines that ``plan=true`` plans for; a run takes the processes it is started with."""

    nodes: int = field(metadata={"help": "machines to plan for", "min": 1})
    gpus: int = field(metadata={"help": "GPUs of each of them, a process a GPU", "min": 1})
    gpu: Literal["a100-40", "a100-80", "h100", "h200", "b200", "l4", "l40s", "rtx4090"] = field(
        metadata={"help": "which GPUs; their figures are in trainer/plan/gpus.json"}
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
    show: int = field(
        metadata={"help": "examples printed before the first step as the model gets them; also --show 3", "min": 0}
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
    background: bool = field(
        metadata={"help": "copy the state to main memory and write the copy while training goes on; needs room for it"}
    )
