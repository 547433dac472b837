"""The next batches, made ready behind the step that runs."""

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from trainer.data.batches import BatchPlan
from trainer.data.cache import digest
from trainer.data.collate import Collate, tensors
from trainer.data.dataset import Dataset
from trainer.errors import DataError

Arrays = dict[str, np.ndarray]
Change = Callable[[dict[str, Any], np.ndarray, int], dict[str, Any]]  # (columns, rows, epoch) -> columns


class Maker(NamedTuple):
    """All that a worker needs to make any batch."""

    dataset: Dataset
    plan: BatchPlan
    collate: Collate
    change: Change | None

    def step(self, epoch: int, step: int) -> list[Arrays]:
        """The micro batches of one optimizer step."""
        batches = self.plan.global_step(epoch, step)
        return [self.batch(epoch, self.plan.share(rows), self.plan.width(rows)) for rows in batches]

    def batch(self, epoch: int, rows: np.ndarray, width: int | None = None) -> Arrays:
        """One batch; an error becomes a DataError that names the row that causes it alone."""
        try:
            return self.collate.arrays(self._columns(epoch, rows), rows, width)
        except Exception as error:
            for row in rows.tolist():
                try:
                    self.collate.arrays(self._columns(epoch, np.array([row])), [row], width)
                except Exception as cause:
                    reason = str(cause) if isinstance(cause, DataError) else f"{type(cause).__name__}: {cause}"
                    raise DataError(
                        f"row {row} ({self.dataset.where(row)}) cannot be made a batch of: {reason}"
                    ) from cause
            raise DataError(
                f"rows {rows.tolist()} cannot be made one batch: {type(error).__name__}: {error}"
            ) from error

    def _columns(self, epoch: int, rows: np.ndarray) -> dict[str, Any]:
        columns = self.dataset.columns(rows)
        return columns if self.change is None else self.change(columns, rows, epoch)


class Loader:
    """A feed (:class:`trainer.task.Feed`): the batches of a plan, prepared by ``workers`` while the model computes.

    workers    0 prepares each batch when it is asked for; the batches are the same for any number
    kind       "thread" for features that only need joining, or decoding in C; "process" where preparing them holds the
               interpreter (``change`` is then importable: a function of a module, or a dataclass)
    prefetch   optimizer steps made ready ahead
    change     what is done to a batch's columns anew in each epoch (masking, augmentation): a pure function of the columns
               as they are prepared, the rows' numbers and the epoch, so that any step can be made again, by any worker
               and rank. :class:`trainer.data.each.EachRow` makes one of a function of one row
    pin        put tensors into pinned memory, from which copies to a GPU overlap with computing; None: where CUDA is

    ``waited`` counts the seconds that the consumer stood still for data, since the loader was made.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: BatchPlan,
        collate: Collate,
        workers: int = 1,
        kind: Literal["thread", "process"] = "thread",
        prefetch: int = 4,
        change: Change | None = None,
        pin: bool | None = None,
    ):
        self.dataset, self.plan, self.collate = dataset, plan, collate
        self.workers, self.kind, self.prefetch = workers, kind, max(1, prefetch)
        self.pin = torch.cuda.is_available() if pin is None else pin
        self.waited = 0.0
        self._maker = Maker(dataset, plan, collate, change)
        self._pool: Executor | None = None

    @property
    def identity(self) -> str:
        """A hash of all that decides which row is in which step, and of what the rows hold."""
        return digest(self.plan.identity, self.dataset.digest)

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        return self.plan.steps(epoch)

    def epoch(self, epoch: int, start: int = 0) -> Generator[list[dict[str, torch.Tensor]], None, None]:
        """The micro batches of each optimizer step of an epoch, from step ``start`` on; closing it drops what is ahead.

        DataError names the row that a batch could not be made of.
        """
        ahead: deque[Future | int] = deque()
        todo = iter(range(start, self.steps(epoch)))
        try:
            for step in todo:
                ahead.append(self._submit(epoch, step))
                if len(ahead) > self.prefetch * bool(self.workers):
                    yield self._take(epoch, ahead.popleft())
            while ahead:
                yield self._take(epoch, ahead.popleft())
        except BrokenProcessPool:
            self.close()
            raise DataError("a process that prepares batches was killed; was the machine out of memory?") from None
        finally:
            for item in ahead:
                if isinstance(item, Future):
                    item.cancel()

    def worst(self) -> dict[str, torch.Tensor] | None:
        """The largest batch that any epoch can bring; None without rows."""
        rows = self.plan.worst()
        return self._tensors(self._maker.batch(0, rows, self.plan.width(rows))) if len(self.plan) else None

    def one(self) -> dict[str, torch.Tensor]:
        """A batch of the first row alone."""
        rows = np.zeros(1, dtype=np.int64)
        return self._tensors(self._maker.batch(0, rows, self.plan.width(rows)))

    def share(self, index: int, of: int) -> None:
        """From now on hand out share ``index`` of ``of`` of every batch, which may be empty."""
        if (self.plan.rank, self.plan.world) != (index, of):
            self.close()  # processes hold a plan of their own
            self.plan.rank, self.plan.world = index, of

    def close(self) -> None:
        """End the workers; a later epoch starts them again."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _submit(self, epoch: int, step: int) -> Future | int:
        if not self.workers:
            return step
        if self._pool is None and self.kind == "thread":
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="data")
        elif self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, get_context("spawn"), _start, (self._maker,))
        return self._pool.submit(*((self._maker.step,) if self.kind == "thread" else (_step,)), epoch, step)

    def _take(self, epoch: int, item: Future | int) -> list[dict[str, torch.Tensor]]:
        began = time.perf_counter()
        try:
            if isinstance(item, Future):
                self._watch(item)
            made = item.result() if isinstance(item, Future) else self._maker.step(epoch, item)
            return [self._tensors(arrays) for arrays in made]
        finally:
            self.waited += time.perf_counter() - began

    def _watch(self, item: Future) -> None:
        """Wait for ``item``; a worker that died is told even where the pool itself misses it (CPython gh-94777)."""
        while self.kind == "process" and not wait([item], timeout=2).done:
            workers = list((self._pool._processes or {}).values())
            if not workers or not all(worker.is_alive() for worker in workers):
                raise BrokenProcessPool

    def _tensors(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        made = tensors(arrays)
        return {name: tensor.pin_memory() for name, tensor in made.items()} if self.pin else made


_maker: Maker | None = None  # in a worker process


def _start(maker: Maker) -> None:
    global _maker
    _maker = maker
    torch.set_num_threads(1)


def _step(epoch: int, step: int) -> list[Arrays]:
    return _maker.step(epoch, step)
