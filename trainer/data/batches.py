"""Which rows make up which batch: a pure function of (seed, epoch, step), the same for every number of ranks and workers.

A batch here is the global one, of all ranks together; ``batch.tokens`` and ``batch.size`` are its budget. Ranks share it
out row by row. The state of a run's data is therefore (epoch, step), and any step can be asked for at once.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xxhash

from trainer.data.cache import digest
from trainer.data.order import Order
from trainer.errors import DataError
from trainer.options import BatchOptions

WINDOW, WINDOW_ROWS = 64, 8192  # batches, and at least so many rows, that are sorted by length together
HALVINGS = 3  # fixed shapes are max_length, half of it and so on, so many times


class Epoch(NamedTuple):
    """The rows of an epoch in order, and where each micro batch begins and ends among them."""

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class BatchPlan:
    """The batches of a data set with these ``lengths`` (tokens of each row, int [n]).

    seed    None: rows in the given order, for evaluation; each exactly once either way
    rank    whose share of each batch is handed out, of ``world``
    order   another permutation than that of all rows: :meth:`trainer.data.shards.Shards.order`

    Layouts: ``unpadded`` takes rows as they come until their tokens fill the budget; ``bucketed`` sorts a window of
    some thousand rows by length, cuts it so that the padded batch fits the budget and shuffles those batches; ``padded``
    makes every row ``max_length`` wide; ``fixed`` has a few widths (``widths``), each with one number of rows, and fills
    up a width's last batch with shorter rows, so that all but one batch of an epoch have one of so many shapes and that
    one's is the same in every epoch. Within a batch rows are sorted by length, so that equal ones are neighbours.
    DataError when a row is longer than ``max_length`` or the token budget.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        options: BatchOptions,
        seed: int | None,
        rank: int = 0,
        world: int = 1,
        order: Any = None,
    ):
        if (options.tokens is None) == (options.size is None):
            raise DataError("exactly one of batch.tokens and batch.size must be given; set the other to null")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self.lengths, self.options, self.seed, self.rank, self.world = lengths, options, seed, rank, world
        halves = {max(8, -(-options.max_length // (8 << i)) * 8) for i in range(1, HALVINGS + 1)}
        self.widths = np.array(sorted({width for width in halves if width < options.max_length} | {options.max_length}))
        self._order = Order(len(lengths), seed) if order is None else order
        self._known: dict[int, Epoch] = {}
        if len(lengths):
            self._check(int(lengths.argmax()))

    def steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch; the last may have fewer than ``accumulate`` micro batches."""
        return -(-len(self.epoch(epoch).starts) // self.options.accumulate)

    def step(self, epoch: int, step: int) -> list[np.ndarray]:
        """This rank's rows of each micro batch of an optimizer step, sorted by length.

        The shares of a batch differ by at most one row and about equal tokens; one is empty where a batch has fewer
        rows than there are ranks.
        """
        return [self.share(rows) for rows in self.global_step(epoch, step)]

    def global_step(self, epoch: int, step: int) -> list[np.ndarray]:
        """All rows of each micro batch of an optimizer step, sorted by length."""
        if not 0 <= step < self.steps(epoch):
            raise IndexError(f"step {step} of {self.steps(epoch)} in epoch {epoch}")
        rows, starts, ends = self.epoch(epoch)
        first = step * self.options.accumulate
        micros = range(first, min(first + self.options.accumulate, len(starts)))
        return [self._sorted(rows[starts[i] : ends[i]]) for i in micros]

    def share(self, rows: np.ndarray) -> np.ndarray:
        """The rows of a batch sorted by length that are this rank's: dealt out to and fro, which evens out the tokens."""
        turn, place = np.divmod(np.arange(len(rows)), self.world)
        return rows[np.where(turn % 2 == 0, place, self.world - 1 - place) == self.rank]

    def width(self, rows: np.ndarray) -> int | None:
        """How wide the tensors of this batch are on every rank; None: as its longest row, or not padded."""
        if self.options.layout not in ("padded", "fixed"):
            return None
        return int(self._width(self.lengths[rows].max(initial=0)))

    def worst(self) -> np.ndarray:
        """Rows of a batch as large as any epoch can bring: the longest ones, as many as fit, and what fits beside them."""
        longest, o = np.argsort(-self.lengths, kind="stable"), self.options
        lengths = self.lengths[longest].astype(np.int64)
        if o.layout == "unpadded" and o.tokens:
            taken, left, row = [], o.tokens, 0
            while row < len(lengths):
                taken.append(row)
                left -= lengths[row]
                row = max(row + 1, int(np.searchsorted(-lengths, -left)))
            return self.share(self._sorted(longest[taken]))
        size = o.size or o.tokens // max(1, int(self._width(lengths.max(initial=0))))
        return self.share(self._sorted(longest[:size]))

    def padding(self, epoch: int) -> float:
        """Share of the computed positions of an epoch that hold no token."""
        rows, starts, ends = self.epoch(epoch)
        if self.options.layout == "unpadded" or not len(rows):
            return 0.0
        widths = self._width(self.lengths[rows[ends - 1]]).astype(np.int64)  # a padded batch ends with its longest
        return 1 - float(self.lengths.sum(dtype=np.int64)) / float((widths * (ends - starts)).sum())

    @property
    def identity(self) -> str:
        """A hash of all that decides which row is in which step; not of rank and world. (epoch, step) of another
        identity means other rows."""
        o, lengths = self.options, np.ascontiguousarray(self.lengths, dtype="<i4")
        content = xxhash.xxh3_128_hexdigest(lengths.tobytes())
        return digest(
            content, o.layout, o.tokens, o.size, o.max_length, o.accumulate, self.seed, WINDOW, WINDOW_ROWS, HALVINGS
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def epoch(self, epoch: int) -> Epoch:
        """Order and cuts of an epoch, computed from the lengths (a tenth of a second for a million rows) and kept."""
        if epoch not in self._known:
            made = self._make(epoch)
            self._known = {**dict(list(self._known.items())[-1:]), epoch: made}
        return self._known[epoch]

    def _make(self, epoch: int) -> Epoch:
        rows = self._order.index(epoch, np.arange(len(self)))
        lengths = self.lengths[rows].astype(np.int64)
        if self.options.layout == "fixed":
            return self._make_fixed(epoch, rows, lengths)
        if not len(rows) or (self.options.layout != "bucketed" and self.seed is not None):
            ends = self._cut(lengths)
            return Epoch(rows, _starts(ends), ends)
        ends = []
        for low, high in pairwise(self._windows(lengths)):
            by_length = np.argsort(lengths[low:high], kind="stable")
            rows[low:high], lengths[low:high] = rows[low:high][by_length], lengths[low:high][by_length]
            ends.append(low + self._cut(lengths[low:high]))
        return self._mixed(epoch, rows, np.concatenate(ends))

    def _make_fixed(self, epoch: int, rows: np.ndarray, lengths: np.ndarray) -> Epoch:
        """Widest first, each width's last batch filled up with the longest of what is left."""
        fitting = np.searchsorted(self.widths, lengths)
        left = np.concatenate([rows[fitting == k] for k in range(len(self.widths))])
        counts, batches = np.bincount(fitting, minlength=len(self.widths)), []
        for k in reversed(range(len(self.widths))):
            size = self.options.size or self.options.tokens // int(self.widths[k])
            wider = len(left) - int(counts[:k].sum())  # of this width or, taken already by a wider one, below zero
            for _ in range(-(-max(0, wider) // max(1, size))):
                batches.append(left[-size:])
                left = left[:-size]
        ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        return self._mixed(epoch, np.concatenate([rows[:0], *map(self._sorted, batches)]), ends)

    def _mixed(self, epoch: int, rows: np.ndarray, ends: np.ndarray) -> Epoch:
        """The batches with these ends, in another order in each epoch."""
        mixed = Order(len(ends), self.seed).index(epoch, np.arange(len(ends)))
        return Epoch(rows, _starts(ends)[mixed], ends[mixed])

    def _windows(self, lengths: np.ndarray) -> list[int]:
        """Edges of the windows, about equal ones; four at least in training, for one window of everything would bring
        the same batches every epoch."""
        batch = self.options.size or self.options.tokens / float(lengths.mean())
        count = round(len(lengths) / max(WINDOW_ROWS, WINDOW * batch))
        count = max(count, 1 if self.seed is None else min(4, len(lengths)))
        edges, whole = np.linspace(0, len(lengths), count + 1), self.options.size or 1
        return [*dict.fromkeys((edges[:-1] // whole * whole).astype(np.int64).tolist()), len(lengths)]

    def _cut(self, lengths: np.ndarray) -> np.ndarray:
        """Ends of the batches that rows of these lengths, in this order, fall into."""
        n, tokens, layout = len(lengths), self.options.tokens, self.options.layout
        if tokens is None or layout == "padded":
            size = self.options.size or tokens // self.options.max_length
            return np.minimum(np.arange(size, n + size, size), n)[: -(-n // size)]
        ends, start = [], 0
        sums = np.cumsum(lengths)
        while start < n:
            if layout == "unpadded":
                before = sums[start - 1] if start else 0
                start = int(np.searchsorted(sums, before + tokens, "right"))
            else:  # sorted, so a batch is as wide as its last row
                ahead = lengths[start : start + tokens // max(1, int(lengths[start]))]
                start += int(np.searchsorted(ahead * np.arange(1, len(ahead) + 1), tokens, "right"))
            ends.append(start)
        return np.array(ends, dtype=np.int64)

    def _width(self, longest):
        if self.options.layout == "fixed":
            return self.widths[np.searchsorted(self.widths, longest)]
        return np.full_like(longest, self.options.max_length) if self.options.layout == "padded" else longest

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(self.lengths[rows], kind="stable")]

    def _check(self, longest: int) -> None:
        length, o = int(self.lengths[longest]), self.options
        if length > o.max_length:
            raise DataError(
                f"row {longest} has {length} tokens, batch.max_length is {o.max_length}: cut it when preparing"
            )
        needed = o.max_length if o.layout == "padded" else int(self._width(np.int64(length)))
        if o.tokens is not None and needed > o.tokens:
            raise DataError(
                f"batch.tokens={o.tokens} does not hold one row of {needed} tokens"
                + (f" (batch.layout={o.layout} makes rows as wide as that)" if needed > length
                   else f" (row {longest})")
                + "; raise batch.tokens or lower batch.max_length"
            )  # fmt: skip


def _starts(ends: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
