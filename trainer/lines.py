"""The text of a run's lines. Each states what was measured; what was not measured is left out."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trainer.console import count, duration, percent, shares, size
from trainer.preflight import Checks, Labels, balance
from trainer.strategies import norms


def parameters(model: nn.Module) -> str:
    """``4,386,178 parameters, all trained, float32``; tied ones count once."""
    every = list(model.parameters())
    total, trained = sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)
    dtypes = ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in every}))
    return f"{total:,} parameters, {'all' if trained == total else f'{trained:,}'} trained, {dtypes}"


def spread(name: str, sizes: Mapping[str, int], model: nn.Module, whole: int) -> str:
    """How the processes divide the work, and what the first of them holds of the weights, ``whole`` bytes together."""
    here = sum(norms.local(part).nbytes for p in model.parameters() for part in norms.kept(p))
    divided = " x ".join(f"{dimension} {count}" for dimension, count in sizes.items())
    return f"{name}: {divided}   weights on the first {size(here)} of {size(whole)} ({percent(here / whole)})"


def rate(value: float) -> str:
    """A learning rate: 2e-05, 1.43e-05."""
    return f"{value:.3g}"


def schedule(points: Sequence[tuple[int, float]], name: str, warmup: int, peak: float) -> str:
    """The learning rate over the run, from its own values."""
    turns = [f"{rate(lr)} @ step {step:,}" for step, lr in points]
    return f"{' -> '.join(turns)}   {name}, warm-up {warmup:,} steps to {rate(peak)}"


def check(facts: Mapping[str, Any], labels: Labels, checks: Checks, device: str) -> list[str]:
    """What preflight found, a line a subject."""
    data = [f"{labels.rows:,} rows read"]
    if labels.top_id >= 0:
        data.append(f"vocab ok: ids to {labels.top_id:,} of {checks.vocab:,}")
    if checks.special:
        data.append(f"{', '.join(checks.special)} there")
    data.append(f"supervised {percent(facts['supervised'])}")
    if labels.classes:
        data.append(f"labels {balance(labels.classes)}")
    lines, computed = ["   ".join(data)], []
    if "worst_slots" in facts:
        of = "of GPU memory" if device == "cuda" else "of the process"
        which = "one batch" if facts.get("streamed") else "largest batch"
        computed.append(f"{which}: {facts['worst_slots']:,} positions, peak {size(facts['peak_bytes'])} {of}")
    if "leak" in facts:
        computed.append("leak test ok")
    if "loss_at_0" in facts:
        computed.append(first_loss(facts["loss_at_0"], checks.classes))
    return lines + (["   ".join(computed)] if computed else [])


def first_loss(terms: Mapping[str, float], classes: int | None) -> str:
    """The loss before training beside ln(classes), which a model that knows nothing has; only where it is one term."""
    text = f"loss@0 {sum(terms.values()):.3f}"
    if len(terms) > 1 or classes is None or classes < 2:
        return text
    (loss,), guess = terms.values(), math.log(classes)
    near = "ok" if abs(loss - guess) < 0.25 * guess else "(not near: has the head been trained?)"
    return f"{text}, ln {classes} = {guess:.3f} {near}"


def step(fields: Mapping[str, Any], steps: int, epoch: float) -> str:
    """One line of figures of the steps since the last."""
    loss = "not finite" if fields["loss"] is None else f"{fields['loss']:.4f}"
    parts = [
        f"{fields['step']}/{steps}",
        f"ep {epoch:.2f}",
        f"loss {loss}",
        f"lr {rate(fields['lr'])}",
        f"|g| {fields['grad_norm']:.3g}",
        f"{count(fields['tokens_per_second'])} tok/s",
        f"{count(fields['examples_per_second'])} ex/s",
        f"padding {percent(fields['padding'])}",
        f"data-wait {percent(fields['data_wait'])}",
    ]
    if left := steps - fields["step"]:
        parts.append(f"eta {duration(left * fields['seconds_per_step'])}")
    return "  ".join(parts)


def evaluated(where: str, metrics: Mapping[str, float], rows: int, best: bool) -> str:
    """Metrics of one data set."""
    values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    return f"{where}  {values}   {rows:,}/{rows:,} rows, exact" + ("   best so far" if best else "")


def saved(path: Path, seconds: float, written: float, nbytes: int, keep: int, best: int | None) -> str:
    """One checkpoint: how long training stood still for it, and of what if it was ``written`` meanwhile."""
    kept = f"keep: last {keep}" + (f", best (step {best:,})" if best is not None else "")
    meanwhile = f" of {duration(written)}" if written > seconds else ""
    return f"{path}  stall {duration(seconds)}{meanwhile}  {size(nbytes)}   {kept}"


def done(metrics: Mapping[str, float], best: str, seconds: Mapping[str, float], skipped: int) -> str:
    """The end: metrics, and where the time went."""
    values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    text = f"{values}{best}\n" if metrics else ""
    text += f"wall {duration(sum(seconds.values()))}: {shares(dict(seconds))}"
    return text + (f"\n{skipped:,} steps were skipped: loss or gradient not finite" if skipped else "")
