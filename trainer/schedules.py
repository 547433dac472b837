"""Learning-rate schedules: the share of the peak as a pure function of optimizer steps, so that resuming needs no state."""

import math
from collections.abc import Callable


def warmup_steps(warmup: int | float, total: int) -> int:
    """Warm-up in optimizer steps: a float is a share of ``total`` (rounded up), an integer is the steps themselves."""
    return min(math.ceil(warmup * total), total) if isinstance(warmup, float) else min(warmup, total)


def steps_of(epochs: float, steps: Callable[[int], int]) -> int:
    """Optimizer steps of so many epochs, the last of which may be a part; ``steps(epoch)`` are those of a whole one."""
    whole = math.floor(epochs)
    part = math.ceil((epochs - whole) * steps(whole)) if epochs > whole else 0
    return sum(map(steps, range(whole))) + part


def share(name: str, step: int, total: int, warmup: int = 0) -> float:
    """The share of the peak learning rate used by the update after ``step`` updates are done.

    Warm-up rises linearly and reaches the peak with update number ``warmup``; after it ``linear`` falls to zero at
    ``total``, ``cosine`` falls along half a cosine (Loshchilov and Hutter, 2016, arXiv:1608.03983) and ``constant``
    stays. No update of a run uses zero: none would be a step for nothing.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    if name == "linear":
        return max(1.0 - progress, 0.0)
    if name == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    if name == "constant":
        return 1.0
    raise ValueError(f"no schedule '{name}'; there are linear, cosine and constant")
