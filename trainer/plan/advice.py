"""Whether a plan fits into memory, and what to change first where it does not."""

from typing import Any

from trainer.plan.simulate import Figures

SPARE = 0.08  # of a GPU's memory, for the driver, collectives and what lies idle between tensors


def on_device(figures: Figures, offload: bool) -> int:
    """Peak bytes on the GPU; divided states lie in main memory under ``strategy.offload``."""
    states = figures.bytes("weights", "gradients", "optimizer") if offload else 0
    return figures.peak - states


def usable(memory: float) -> int:
    """Bytes of ``memory`` GiB that tensors can have."""
    return int(memory * (1 - SPARE) * 1024**3)


def first_knob(figures: Figures, options: Any, room: int) -> str | None:
    """What to change first, by what takes most; ``None`` where the plan fits into ``room`` bytes."""
    peak, strategy, memory = on_device(figures, options.strategy.offload), options.strategy, options.memory
    if peak <= room:
        return None
    states = 0 if strategy.offload else figures.bytes("weights", "gradients", "optimizer", "frozen")
    rest = peak - states - figures.kept
    if states > room or states >= max(figures.kept, rest):
        return _of_states(strategy.name, options.precision.dtype)
    if figures.kept >= rest:
        if memory.activations != "full":
            return "memory.activations=full: activations take most, and blocks can compute theirs again"
        return _smaller(options)
    if memory.loss_chunk is None and getattr(options.model, "head", None) in ("causal-lm", "masked-lm", "seq2seq-lm"):
        return "memory.loss_chunk=1024: what is held for a moment takes most, scores over the vocabulary among it"
    if memory.activations == "none":
        return "memory.activations=full: what a block's backward pass holds takes most"
    return _smaller(options)


def _of_states(strategy: str, dtype: str) -> str:
    why = "weights, gradients and optimizer state take most"
    if strategy in ("single", "ddp"):
        return f"strategy=fsdp: {why}, and every process holds all of them"
    if strategy == "tp":
        return f"strategy=fsdp_tp: {why}; divide them over more processes than share a matrix"
    if strategy == "hsdp":
        return f"strategy=fsdp: {why}; fewer replicas divide them further"
    if dtype != "bf16_pure":
        return f"cluster.nodes: {why}, already divided among all; more nodes, or precision=bf16_pure, or strategy.offload=true"
    return f"cluster.nodes: {why}, already divided among all; more nodes, or strategy.offload=true"


def _smaller(options: Any) -> str:
    budget = "batch.tokens" if options.batch.tokens else "batch.size"
    if options.batch.tokens and options.strategy.name in ("fsdp", "hsdp", "ddp", "single"):
        per = "one sequence is the least; beyond that strategy=fsdp_tp or strategy=cp divides it"
        return f"{budget}: half of it, with twice batch.accumulate, takes half the room and learns the same; {per}"
    return f"{budget}: half of it, with twice batch.accumulate, takes half the room and learns the same"
