"""Where a run stands: a few numbers, saved with every checkpoint; the order of the data follows from them."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trainer.ledger import Ledger


@dataclass
class Progress:
    """Counts since the start of the run, over all its interruptions.

    ``step`` counts optimizer steps, skipped ones too, so that a step always stands for the same batch; ``offset`` are
    the steps done in ``epoch``.
    """

    step: int = 0
    epoch: int = 0
    offset: int = 0
    examples: int = 0
    tokens: int = 0
    slots: int = 0  # computed positions; what they have beyond tokens is padding
    loss_sum: float = 0.0  # over the steps since the last line of the log
    loss_steps: int = 0
    skipped: int = 0  # steps without update because loss or gradient was not finite
    skipped_in_row: int = 0
    rollbacks: int = 0
    good: int | None = None  # the step of the last planned save at which nothing was wrong
    evaluated: int = -1  # the step of the last evaluation
    best: float | None = None
    best_step: int | None = None
    worse: int = 0  # evaluations since the best one
    metrics: dict[str, float] = field(default_factory=dict)  # of the last evaluation
    ended: str | None = None  # why the run is over before its last step

    def state(self) -> dict[str, Any]:
        """The numbers as a plain dictionary."""
        return asdict(self)

    def load(self, saved: dict[str, Any]) -> None:
        """Take the numbers of ``saved``, which has all of them."""
        for f in fields(self):
            setattr(self, f.name, saved[f.name])


class Interval:
    """Rates over the steps since the last look, in the time that was not spent on evaluating and saving."""

    def __init__(self, progress: Progress, ledger: Ledger):
        self.progress, self.ledger = progress, ledger
        self._since = self._now()

    def _now(self) -> tuple[int, int, int, int, float, float]:
        p, seconds = self.progress, self.ledger.close()
        waiting = seconds.get("data", 0.0)
        return p.step, p.examples, p.tokens, p.slots, waiting, waiting + seconds.get("train", 0.0) + seconds["other"]

    def take(self) -> dict[str, float]:
        """The figures, and a new beginning. At least one step must have been done."""
        now = self._now()
        steps, examples, tokens, slots, waiting, seconds = (a - b for a, b in zip(now, self._since))
        self._since = now
        return {
            "tokens": self.progress.tokens,
            "examples": self.progress.examples,
            "tokens_per_second": tokens / seconds,
            "examples_per_second": examples / seconds,
            "seconds_per_step": seconds / steps,
            "data_wait": waiting / seconds,
            "padding": 1 - tokens / slots,
        }
