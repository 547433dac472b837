"""One training run: steps, evaluations and saves in one fixed order, which a resumed run takes up where it was left.

Whatever the loop does next follows from :class:`~trainer.progress.Progress` alone, so a checkpoint is complete with it,
the weights, the optimizer and the random generators; the schedule and the order of the data are functions of it.
"""

import math
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer import evaluation, formats, guards, lines, preflight, rng, schedules
from trainer.console import duration
from trainer.errors import DataError, DeviceError, DiskError, OptionError, Stopped
from trainer.journal import Journal
from trainer.ledger import Ledger
from trainer.progress import Interval, Progress
from trainer.saving import Saves
from trainer.signals import StopRequested, StopSignals
from trainer.step import Outcome
from trainer.strategies import mesh, norms, state
from trainer.task import Batch
from trainer.tracking.jsonl import JsonLines

if TYPE_CHECKING:
    from trainer.loop import Trainer


@dataclass(frozen=True)
class Result:
    """How a run ended: optimizer steps, metrics of the last evaluation, the best value of the deciding metric with its
    step, and the seconds of each account of the ledger, which sum to the wall-clock."""

    steps: int
    metrics: dict[str, float]
    best: float | None
    best_step: int | None
    seconds: dict[str, float]


class Run:
    """The course of one ``Trainer.fit``."""

    def __init__(self, trainer: "Trainer"):
        self.t, self.o = trainer, trainer.options
        self.strategy, self.device, self.task = trainer.strategy, trainer.strategy.device, trainer.task
        self.progress, self.meter, self.stop = Progress(), guards.Meter(), StopSignals(self.strategy.votes)
        self.metric, self.mode = self._deciding_metric()
        self.steps = self._planned_steps()
        self.warmup = schedules.warmup_steps(self.o.schedule.warmup, self.steps)
        self.batches: Generator[list[Batch], None, None] | None = None
        self.micros: list[Batch] = []
        self.formats = False  # whether they have been measured
        self.ready = False  # weights and progress belong together: from here on the run can be saved

    def go(self, resume: bool) -> Result:
        """Train to the end.

        Raises :class:`Stopped` after a signal, with everything saved; :class:`DataError` for data that cannot be
        trained on, a loss that stays non-finite, or nothing to resume; :class:`DeviceError` when memory runs out;
        :class:`~trainer.errors.DiskError` when a file cannot be written, with the last good checkpoint in place.
        """
        self.ledger = Ledger()
        self.saves = Saves(self.t, self.progress, self.ledger)
        self.saves.check(resume)
        writers = [JsonLines(self.t.run_dir / "log.jsonl"), *self.t.trackers] if self.strategy.rank == 0 else []
        self.journal = Journal(self.t.console, writers, self.progress)
        try:
            with self.stop:
                try:
                    with self.ledger.spend("start"):
                        self._start(resume)
                    self._loop()
                except StopRequested as signal:
                    self._stopped(str(signal))
            return self._done()
        except KeyboardInterrupt:
            if self.saves.path is None:
                raise
            kept = f"interrupted without a save; what was done since {self.saves.path} is lost"
            raise Stopped(f"{kept}\n   continue with: {self.t.resume_command}") from None
        except (RuntimeError, MemoryError) as e:
            if not guards.is_out_of_memory(e):
                raise
            peak = preflight.peak_memory(self.device)
            raise DeviceError(guards.out_of_memory(self.progress.step, self.micros, self.device, peak)) from None
        finally:
            self._close_batches()
            with suppress(DiskError):  # a save under way when something else went wrong
                self.t.checkpoints.finish()
            self.journal.close()

    # Before the first step

    def _planned_steps(self) -> int:
        epochs, most = self.o.train.epochs, self.o.train.steps
        if epochs is None and most is None:
            raise OptionError("neither train.epochs nor train.steps says how long to train")
        total = None if epochs is None else schedules.steps_of(epochs, self.t.train.steps)
        return min(n for n in (total, most) if n is not None)

    def _deciding_metric(self) -> tuple[str, str]:
        name, mode = self.task.best
        asked = self.o.eval.metric
        return (name, mode) if asked in (None, name) else (asked, "min" if asked.endswith("loss") else "max")

    def _start(self, resume: bool) -> None:
        rng.seed(self.t.seed + self.strategy.shard_of_batch()[0])  # dropout of its own for each share
        self.strategy.optimizer(self.o.optim)
        with self.ledger.spend("check"):
            labels = preflight.check_rows(self.t.train.dataset, self.t.checks)
        if resume:
            self.saves.resume(self.journal)
        self.ready = True
        held = state.parameters(self.t.model)
        own = {name: (norms.numel(p), p.element_size(), p.requires_grad) for name, p in held.items()}
        parts = self.strategy.gather(own)  # stages of a pipeline have different ones
        every = {name: its for part in parts for name, its in part.items()}.values()
        if self.strategy.world > 1:
            sizes, whole = mesh.check(self.o.strategy), sum(count * width for count, width, _ in every)
            self.journal.say("mesh", lines.spread(self.o.strategy.name, sizes, self.t.model, whole))
        start = {
            "device": str(self.device),
            "dtype": self.o.precision.dtype,
            "strategy": self.o.strategy.name,
            "parameters": sum(count for count, _, _ in every),
            "trainable": sum(count for count, _, trained in every if trained),
            "steps": self.steps,
            "resumed_from": self.saves.found,
        }
        self.journal.event("start", start)
        with self.ledger.spend("check"):
            self._check(labels)
        points = [(s, self._lr(s)) for s in sorted({0, self.steps // 10, self.steps // 2, self.steps - 1})]
        self.journal.say("lr", lines.schedule(points, self.o.schedule.name, self.warmup, self.o.optim.lr))
        self.journal.event("lr", {"warmup": self.warmup, "peak": self.o.optim.lr, "points": points})

    def _check(self, labels: preflight.Labels) -> None:
        """What is only known by computing: peak memory on the largest batch, the loss at step 0, the metrics' names."""
        t, facts = self.t, {"rows": labels.rows, "supervised": 1 - labels.empty / labels.rows}
        if worst := t.train.worst():
            self.micros = [worst]
            if getattr(t.train.dataset, "streamed", False):  # how long its rows are is not known yet
                facts["streamed"] = True
            facts["worst_slots"], facts["peak_bytes"] = preflight.worst_batch(t.model, t.stepper, worst)
        if self.progress.step == 0:
            facts["loss_at_0"] = preflight.first_loss(t.model, self.task, t.train, t.stepper)
        self.stop.poll()
        if worst and (leaks := preflight.leaks(t.model, self.task, worst, self.strategy)) is not None:
            facts["leak"] = bool(leaks)
            if leaks:
                raise DeviceError(
                    f"on {self.device} a sequence changes the answers to its neighbours in the batch: attention is not "
                    "kept within sequences\n   use another batch.layout (padded is the plainest) and report this model"
                )
        if t.evals:
            known = preflight.metric_names(t.model, self.task, next(iter(t.evals.values())), self.strategy)
            if self.metric not in known:
                raise OptionError(
                    f"eval.metric={self.metric} is not a metric of this task; there are {', '.join(known)}"
                )
        for line in lines.check(facts, labels, t.checks, self.device.type):
            self.journal.say("check", line)
        for row in range(min(self.o.train.show, labels.rows)):
            self.journal.say("row", f"{row}: {t.checks.decode(t.train.dataset[row])}")
        self.journal.event("check", facts)

    # The loop

    def _loop(self) -> None:
        p = self.progress
        self.t.console.start(p.step, self.steps)
        self.interval = Interval(p, self.ledger)
        while True:
            if self.t.evals and self._due(self.o.eval.every, p.evaluated):
                self._evaluate()
            over = p.step >= self.steps or p.ended is not None
            if self.saves.at != p.step and (over or self._due(self.o.checkpoint.every, self.saves.at)):
                self._read()
                if over or not p.skipped_in_row:  # a save amid bad steps would push out a good one
                    self.saves.save("end" if over else "planned", self.journal)
            if over:
                self.saves.finish(self.journal)
                return
            self.stop.poll()
            self._step()

    def _due(self, every: str | int | None, last: int) -> bool:
        """Whether what is done ``every`` epoch or so many steps is to be done now; at the last step it always is."""
        p = self.progress
        if p.step in (0, last):
            return False
        on_time = p.offset == 0 if every == "epoch" else every is not None and p.step % every == 0
        return on_time or p.step >= self.steps

    def _lr(self, step: int) -> float:
        return self.o.optim.lr * schedules.share(self.o.schedule.name, step, self.steps, self.warmup)

    def _step(self) -> None:
        p = self.progress
        with self.ledger.spend("data"):
            self.micros = self._next_micros()
        with self.ledger.spend("train"):
            lr = self._lr(p.step)
            if not self.t.model.training:
                self.t.model.train()
            outcome = self.t.stepper(self.micros, lr) if self.formats else self._measured_step(lr)
            size = self.t.stepper.size
            p.examples, p.tokens, p.slots = p.examples + size.examples, p.tokens + size.tokens, p.slots + size.slots
            p.step, p.offset = p.step + 1, p.offset + 1
            self.meter.push(p.step, outcome, [micro["rows"] for micro in self.micros])
        if p.offset == self.t.train.steps(p.epoch):
            p.epoch, p.offset = p.epoch + 1, 0
            self._close_batches()
        log = p.step % self.o.train.log_every == 0 or p.step == self.steps
        if (log or self.device.type == "cpu") and (norm := self._read()) is not None and log:
            self._say_step(lr, norm)
        self.t.console.move(p.step)

    def _measured_step(self, lr: float) -> Outcome:
        """A step after which is said what is kept in which format; again until one changes weights."""
        with formats.watched(self.t.model) as found:
            outcome = self.t.stepper(self.micros, lr)
        if found:
            self.formats = True
            self.journal.say("kept", formats.line(found, self.o.precision.dtype))
            self.journal.event("formats", {**found, "computed": self.o.precision.dtype})
        return outcome

    def _next_micros(self) -> list[Batch]:
        p = self.progress
        if self.batches is None:
            self.batches = self.t.train.epoch(p.epoch, p.offset)
        micros = next(self.batches, None)
        if micros is None:
            announced = self.t.train.steps(p.epoch)
            raise DataError(
                f"epoch {p.epoch} ended after {p.offset:,} optimizer steps; its feed announced {announced:,}"
            )
        return micros

    def _close_batches(self) -> None:
        if self.batches is not None:
            self.batches.close()
            self.batches = None

    def _read(self) -> float | None:
        """Take in all outcomes not yet looked at, act on those that are not finite; the last gradient norm."""
        p, norm = self.progress, None
        with self.ledger.spend("train"):
            readings = self.meter.read()
        for reading in readings:
            norm = reading.norm
            if not reading.skipped:
                p.loss_sum, p.loss_steps, p.skipped_in_row = p.loss_sum + reading.loss, p.loss_steps + 1, 0
                continue
            p.skipped += 1
            p.skipped_in_row = p.skipped_in_row + 1 if guards.serious(reading, self.o.precision.dtype) else 0
            found = {"loss": reading.loss, "grad_norm": reading.norm, "in_row": p.skipped_in_row}
            self.journal.event("skip", {"step": reading.step, **found, "rows": reading.ids()})
            self.journal.say(
                "skip", f"step {reading.step:,}: loss {reading.loss:g}, |g| {reading.norm:g}; no weight was changed"
            )
            if p.skipped_in_row >= self.o.train.max_skips:
                self.saves.roll_back(reading, self.journal)
                break
        return norm

    def _say_step(self, lr: float, norm: float) -> None:
        p = self.progress
        loss = p.loss_sum / p.loss_steps if p.loss_steps else None
        p.loss_sum, p.loss_steps = 0.0, 0
        fields = {"step": p.step, "epoch": p.epoch, "loss": loss, "lr": lr, "grad_norm": norm, **self.interval.take()}
        if self.device.type == "cuda":
            fields["peak_bytes"] = preflight.peak_memory(self.device)
        epoch = p.epoch + (p.offset / self.t.train.steps(p.epoch) if p.offset else 0)
        self.journal.say("step", lines.step(fields, self.steps, epoch))
        self.journal.event("step", fields)

    # Evaluating, saving, ending

    def _evaluate(self) -> None:
        p = self.progress
        self._read()
        self.t.console.move(p.step, "eval")
        measured = {}
        for name, feed in self.t.evals.items():
            began = time.perf_counter()
            with self.ledger.spend("eval"):
                found = evaluation.evaluate(self.t.model, self.task, feed, self.strategy, self.stop.poll)
            measured[name] = found, time.perf_counter() - began
        first = next(iter(measured))
        self.progress.metrics = {
            (key if name == first else f"{name}.{key}"): value
            for name, (found, _) in measured.items()
            for key, value in found.metrics.items()
        }
        p.evaluated, best = p.step, self._judge(self.progress.metrics[self.metric])
        for name, (found, seconds) in measured.items():
            best_here = best and name == first
            self.journal.say("eval", lines.evaluated(name, found.metrics, found.rows, best_here))
            fields = {"set": name, "rows": found.rows, "seconds": seconds, "best": best_here}
            self.journal.event("eval", {**fields, **found.metrics})
        if best:
            self.saves.save("best", self.journal, pin=True)

    def _judge(self, value: float) -> bool:
        """Whether ``value`` is the best yet; ends the run when the last ``eval.patience`` were not."""
        p, patience = self.progress, self.o.eval.patience
        better = p.best is None or (value > p.best if self.mode == "max" else value < p.best)
        if better and math.isfinite(value):
            p.best, p.best_step, p.worse = value, p.step, 0
            return True
        p.worse += 1
        if patience is not None and p.worse >= patience:
            best = "never finite" if p.best is None else f"best {p.best:.4f} at step {p.best_step:,}"
            p.ended = f"early stop: {self.metric} not better in {p.worse} evaluations, {best}"
        return False

    def _stopped(self, signal: str) -> None:
        """Save where that makes sense, and say how to go on."""
        if not self.ready:
            raise Stopped(f"{signal} before the first step: nothing was changed. Start again with the same command")
        began = time.perf_counter()
        if self.saves.at != self.progress.step:
            self._read()
            self.saves.save("stop", self.journal)
        self.saves.finish(self.journal)
        self.journal.event("stop", {"reason": signal})
        seconds = duration(time.perf_counter() - began)
        raise Stopped(
            f"{signal}: saved step {self.progress.step:,} of {self.steps:,} in {seconds}\n"
            f"   continue with: {self.t.resume_command}"
        )

    def _done(self) -> Result:
        p, seconds = self.progress, self.ledger.close()
        best = f"   best {self.metric} {p.best:.4f} at step {p.best_step:,}" if p.best is not None else ""
        if p.ended:
            self.journal.say("stop", p.ended)
        self.t.console.stop()
        self.journal.say("done", lines.done(self.progress.metrics, best, seconds, p.skipped))
        fields = {"metrics": self.progress.metrics, "best": p.best, "best_step": p.best_step}
        self.journal.event("done", {**fields, "seconds": sum(seconds.values()), "ledger": seconds, "reason": p.ended})
        return Result(p.step, self.progress.metrics, p.best, p.best_step, seconds)
