"""DeepSpeed's configuration, made from ours: the JSON that ``print=deepspeed`` shows, and nobody writes. Imports no torch."""

import importlib.util
from typing import Any

from trainer.errors import OptionError
from trainer.options import OptimOptions, StrategyOptions

BUCKET = 50_000_000  # numbers summed at a time; DeepSpeed sets memory for one bucket aside, 2 GB by its own default
STAGES = {
    "deepspeed_zero1": 1,
    "deepspeed_zero2": 2,
    "deepspeed_zero3": 3,
}  # 1 divides optimizer state, 2 gradients, 3 weights
TYPES = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}


def check(options: StrategyOptions, dtype: str) -> None:
    """Raise :class:`OptionError` for what DeepSpeed is not asked to do, and where it is not installed; loads nothing."""
    name = options.name
    if importlib.util.find_spec("deepspeed") is None:
        raise OptionError(
            f"strategy={name} needs deepspeed, which is not installed: pip install 'trivium[deepspeed]'\n"
            "   or choose strategy=fsdp, which divides the same and needs nothing more"
        )
    if dtype not in ("fp32", "bf16"):
        raise OptionError(
            f"precision.dtype={dtype} and strategy={name}: weights, gradients and optimizer state are fp32 there, "
            "products fp32 or bf16\n   choose precision=bf16, or strategy=fsdp"
        )
    if options.compile:
        raise OptionError(
            f"strategy.compile=true and strategy={name}: DeepSpeed's hooks cut compiled blocks into pieces\n"
            "   choose strategy.compile=false, or strategy=fsdp"
        )
    if not options.reshard:
        raise OptionError(
            f"strategy.reshard=false and strategy={name}: DeepSpeed decides itself when gathered weights go\n"
            "   leave it out, or choose strategy=fsdp"
        )


def document(
    strategy: StrategyOptions, optim: OptimOptions, reduce: str | None = None, pinned: bool = True
) -> dict[str, Any]:
    """The configuration as DeepSpeed takes it.

    Batches, accumulation, the rate of each step and clipping are the loop's, the same under every strategy: DeepSpeed is told
    of one micro batch a step, and not to clip. ``pinned``: offloaded tensors lie in page-locked memory, which GPUs copy from
    faster. Raises :class:`OptionError` for an optimizer that needs whole matrices.
    """
    if optim.name not in TYPES:
        raise OptionError(
            f"optim={optim.name} averages over whole rows and columns, which no process holds under strategy={strategy.name}\n"
            "   take optim=adamw, or strategy=ddp"
        )
    at = STAGES[strategy.name]
    zero: dict[str, Any] = {"stage": at, "reduce_bucket_size": BUCKET}
    if at == 3:
        zero["stage3_param_persistence_threshold"] = 0  # trainer.strategies.zero says which stay whole
    if strategy.offload:
        home = {"device": "cpu", "pin_memory": pinned}
        zero["offload_optimizer"] = home
        if at == 3:
            zero["offload_param"] = dict(home)
    made = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "steps_per_print": None,
        "optimizer": {"type": TYPES[optim.name], "params": _parameters(optim)},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": zero,
    }
    if reduce is not None:
        made["communication_data_type"] = reduce
    return made


def _parameters(optim: OptimOptions) -> dict[str, Any]:
    """PyTorch's kernels, offloaded or not: DeepSpeed's own are compiled on the spot, for a minute and more."""
    if optim.name == "sgd":
        return {"lr": optim.lr, "momentum": optim.momentum, "weight_decay": optim.decay}
    chosen = {"lr": optim.lr, "betas": list(optim.betas), "eps": optim.eps, "weight_decay": optim.decay}
    if optim.name == "adam":
        chosen["adam_w_mode"] = False
    return {**chosen, "torch_adam": True, "fused": True}
