"""Examples changed one by one while batches are made: decoding, augmentation, whatever differs from epoch to epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.dataset import Ragged
from trainer.data.order import draw

Row = dict[str, Any]


@dataclass(frozen=True)
class EachRow:
    """A loader's ``change`` that calls ``transform(row, draw) -> features`` for each example.

    transform   row: the prepared features of one example (numbers, texts, NumPy views of its lists, images and sounds as
                :class:`trainer.data.media.Media`). features: a number or an array a field, as the fields of the
                collate say: [3, H, W] for pixels, [length] for a waveform or tokens, no longer than the row's prepared
                length. ``draw`` is a ``numpy.random.Generator`` that follows from ``seed``, the epoch and the number of the
                row alone. A DataError it raises is told with the row's file
    seed        the run's; an evaluation takes any, and sees the same numbers each time for its epoch is always 0

    A row is decoded, changed and dropped before the next one; a batch holds only what was made of them.
    """

    transform: Callable[[Row, np.random.Generator], Row]
    seed: int

    def __call__(self, columns: dict[str, Any], rows: np.ndarray, epoch: int) -> dict[str, list]:
        """The features as lists, one entry a row; nothing for no rows."""
        entries = {name: _entries(name, column, len(rows)) for name, column in columns.items()}
        made = [
            self.transform({name: column[k] for name, column in entries.items()}, draw(self.seed, epoch, row))
            for k, row in enumerate(rows.tolist())
        ]
        return {name: [features[name] for features in made] for name in (made[0] if made else ())}


def _entries(name: str, column: Ragged | np.ndarray | list, count: int) -> list:
    """One entry a row. ValueError for packed blocks, where a row is several pieces."""
    if not isinstance(column, Ragged):
        return column.tolist() if isinstance(column, np.ndarray) else column
    if len(column.lengths) != count:
        raise ValueError(f"{name!r} has {len(column.lengths)} pieces in {count} rows: packed blocks are changed whole")
    return np.split(column.values, np.cumsum(column.lengths)[:-1])
