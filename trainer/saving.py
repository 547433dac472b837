"""The checkpoints of a run: what is in one, which is taken, when one is good, and going back to it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import guards, lines, rng
from trainer.checkpoint.saved import Saved
from trainer.console import duration
from trainer.errors import DataError, DiskError, OptionError
from trainer.journal import Journal
from trainer.ledger import Ledger
from trainer.progress import Progress
from trainer.strategies.state import flat

if TYPE_CHECKING:
    from trainer.loop import Trainer

MAX_ROLLBACKS = 3  # a run that falls back more often does not get anywhere


class Saves:
    """Saves and restores weights, optimizer, generators and ``progress``; everything else follows from these.

    ``path`` is the checkpoint that was saved or taken last, ``at`` its step.
    """

    def __init__(self, trainer: "Trainer", progress: Progress, ledger: Ledger):
        self.trainer, self.store, self.strategy = trainer, trainer.checkpoints, trainer.strategy
        self.progress, self.ledger, self.at = progress, ledger, -1
        self.background = trainer.options.checkpoint.background
        self._under_way: tuple[Path, str, float] | None = None  # a save, its reason, the seconds the loop stood still
        self.found, self.refused = self.store.newest_valid()
        self.path = self.found

    def check(self, resume: bool) -> None:
        """Refuse a new run where one is, and a resumed one where nothing is whole."""
        if not resume and self.found is not None:
            raise OptionError(
                f"{self.trainer.run_dir} already holds a run, saved at {self.found.name}\n"
                f"   to go on with it: {self.trainer.resume_command}\n   to begin another, choose another run_dir"
            )
        damaged = [(path, why) for path, why in self.refused if path.suffix != ".tmp"]  # more than a save cut short
        if resume and self.found is None and damaged:
            why = "".join(f"\n   {path}: {reason}" for path, reason in damaged)
            raise DataError(
                f"no checkpoint in {self.store.folder} is whole{why}\n   put one back, or begin another run"
            )

    def resume(self, journal: Journal) -> None:
        """Take the newest valid checkpoint; a run that ended before its first one is begun again, to the same end."""
        for path, why in self.refused:
            journal.say("ckpt", f"refused {path}: {why}")
            journal.event("refused", {"path": path, "why": why})
        if self.found is None:
            journal.say("ckpt", f"no checkpoint yet in {self.store.folder}: from the beginning")
            return
        began = time.perf_counter()
        with self.ledger.spend("ckpt"):
            saved = self.store.load(self.found)
            state = saved.values()
            self._compare(state["data"])
            self.strategy.load(saved)
            self._load_generators(saved, state)
        p, seconds = self.progress, duration(time.perf_counter() - began)
        p.load(state["progress"])
        self.at = p.step if p.good == p.step else -1  # one made at a signal does not stand for a planned one
        journal.say("ckpt", f"resumed at step {p.step:,} from {self.found} in {seconds}")

    def save(self, reason: str, journal: Journal, pin: bool = False) -> None:
        """Save the run as it stands; ``reason`` is one of planned, best, end and stop.

        In the background when the options say so and the run goes on; :meth:`finish` tells when that is done. Raises
        :class:`~trainer.errors.DiskError`, of the save before too, with the checkpoints before it in place.
        """
        self.finish(journal)
        p, began = self.progress, time.perf_counter()
        if reason != "stop" and p.skipped_in_row == 0:
            p.good = (
                p.step
            )  # a save at a signal is not counted: a run that nobody stopped would not have it to go back to
        wait = not self.background or reason in ("end", "stop")
        with self.ledger.spend("ckpt"), self._advised():
            state = self.strategy.state()
            own = {"progress": p.state(), "data": self._data(), "world": self.strategy.world, "scaler": state["scaler"]}
            own["rng"] = rng.state(self.strategy.device)
            path = self.store.save(p.step, own, flat(state), pin=pin, wait=wait)
        self.at, self._under_way = p.step, (path, reason, time.perf_counter() - began)
        if wait:
            self.finish(journal)

    def finish(self, journal: Journal) -> None:
        """Wait until the last save is on the disk and say so; raises as :meth:`save` does."""
        if self._under_way is None:
            return
        (path, reason, seconds), self._under_way, began = self._under_way, None, time.perf_counter()
        with self.ledger.spend("ckpt"), self._advised():
            self.store.finish()
        self.path, seconds = path, seconds + time.perf_counter() - began
        nbytes = sum(f.stat().st_size for f in path.iterdir())
        journal.say(
            "ckpt", lines.saved(path, seconds, self.store.took, nbytes, self.store.keep, self.progress.best_step)
        )
        fields = {"path": path, "seconds": seconds, "written": self.store.took, "bytes": nbytes, "reason": reason}
        journal.event("save", {"step": int(path.name.removeprefix("step_")), **fields})

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """A disk that refuses, and how to go on from what is there."""
        try:
            yield
        except DiskError as e:
            again = f"\n   then continue with: {self.trainer.resume_command}" if self.path else ""
            raise DiskError(f"{e}{again}") from None

    def roll_back(self, reading: guards.Reading, journal: Journal) -> None:
        """Take the weights of the last good checkpoint; the steps since then, and their data, are passed over."""
        self.finish(journal)
        p, path = self.progress, self.store.folder / f"step_{self.progress.good}"
        if not path.is_dir() or p.rollbacks == MAX_ROLLBACKS:
            why = f"{p.rollbacks} returns did not help" if path.is_dir() else "there is no checkpoint to go back to"
            raise DataError(guards.hopeless(reading, why, self.trainer.resume_command))
        with self.ledger.spend("ckpt"):
            self.strategy.load(self.store.load(path))
        p.rollbacks, p.skipped_in_row = p.rollbacks + 1, 0
        passed = f"the data of steps {p.good + 1:,} to {p.step:,} is passed over"
        journal.say("back", f"to the weights of step {p.good:,}; {passed}")
        journal.event("rollback", {"to": p.good, "rows": reading.ids()})

    def _load_generators(self, saved: Saved, state: Mapping[str, Any]) -> None:
        """Each process goes on drawing as it did; of another number of processes, from a seed of this step on."""
        rank, step = self.strategy.rank, state["progress"]["step"]
        if state["world"] == self.strategy.world:
            rng.load(saved.values(rank)["rng"], self.strategy.device)
        else:
            rng.seed(self.trainer.seed + 2**20 * step + self.strategy.shard_of_batch()[0])

    def _data(self) -> dict[str, int | str]:
        """What must be equal for a step to stand for the same batch."""
        train = self.trainer.train
        return {"rows": len(train.dataset), "seed": self.trainer.seed, "order": train.identity}

    def _compare(self, saved: Mapping[str, int | str]) -> None:
        now = self._data()
        if differs := [f"{key} was {was} and is {now[key]}" for key, was in saved.items() if now[key] != was]:
            raise DataError(
                f"{self.found} belongs to other data: {', '.join(differs)}\n"
                "   resume with the data, seed and batch options the run was started with, or begin another run"
            )
