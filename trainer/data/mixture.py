"""Several data sets as one, each with its share of the examples.

    data = Mixture([wiki, code], weights=[0.7, 0.3], size=100_000)     # then BatchPlan, Collate and Loader as ever

What the mixture holds is a pure function of the sizes, the weights and the seed: nothing has to be saved to go on with it.
"""

from collections.abc import Iterable, Sequence

import datasets
import numpy as np
import pyarrow as pa

from trainer.data.cache import digest
from trainer.data.dataset import Dataset, Ragged
from trainer.data.order import Order
from trainer.data.rows import Rows, joined
from trainer.errors import DataError


class Mixture:
    """``size`` examples of which part ``k`` gives the share ``weights[k]``, to the nearest example.

    A part that has too few gives all of them again, a part that has more than its share a random choice of them by
    ``seed``; within a part no example comes twice before every one came once. DataError when the parts' features differ,
    a part is empty or a weight is not above zero.
    """

    def __init__(self, parts: Sequence[Dataset], weights: Sequence[float], size: int, seed: int = 0):
        self._part, self._row = shares([len(part) for part in parts], weights, size, seed)
        for k, part in enumerate(parts):
            if set(part.fields) != set(parts[0].fields):
                raise DataError(
                    f"data set {k} of the mixture has the features {', '.join(part.fields)}, data set 0 "
                    f"{', '.join(parts[0].fields)}; prepare them with one processor"
                )
        self.parts, self.fields = list(parts), list(parts[0].fields)
        self.counts = np.bincount(self._part, minlength=len(parts))  # examples of each part
        lengths = [part.lengths[self._row[self._part == k]] for k, part in enumerate(parts)]
        self.lengths = np.concatenate(lengths).astype(np.int32)

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, i: int):
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        return self.parts[self._part[i]][int(self._row[i])]

    def rows(self, indices: Iterable[int]) -> list[dict]:
        """The examples with these numbers, in that order."""
        return [self[i] for i in indices]

    def columns(self, rows: np.ndarray) -> dict[str, Ragged | np.ndarray | list]:
        """As :meth:`trainer.data.dataset.Dataset.columns`."""
        rows = np.asarray(rows, dtype=np.int64)
        owners = self._part[rows]
        order = np.argsort(owners, kind="stable")
        found = [self.parts[k].columns(self._row[rows[owners == k]]) for k in np.unique(owners).tolist()]
        back = np.argsort(order, kind="stable")
        return {name: _end_to_end([columns[name] for columns in found], back) for name in self.fields}

    def where(self, i: int) -> str:
        """The file and row that example ``i`` was made of."""
        return self.parts[self._part[i]].where(int(self._row[i]))


def mixed(parts: Sequence[Rows], weights: Sequence[float], seed: int = 0) -> Rows:
    """As many rows as the parts have together, of which part ``k`` gives the share ``weights[k]``, as for :class:`Mixture`.

    DataError also where the parts' columns are of different types.
    """
    part, row = shares([len(rows) for rows in parts], weights, sum(map(len, parts)), seed)
    return concatenated(parts).select(np.cumsum([0, *map(len, parts)])[part] + row)


def concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one after the other."""
    try:
        data = datasets.concatenate_datasets([rows.data for rows in parts])
    except (ValueError, pa.ArrowException) as error:
        names = ", ".join(rows.where.files[0][0] for rows in parts)
        raise DataError(f"{names}: their columns are of different types and cannot be mixed: {error}") from None
    unused = tuple(dict.fromkeys(name for rows in parts for name in rows.unused))
    return Rows(
        data, joined([rows.where for rows in parts]), digest("joined", *(rows.digest for rows in parts)), unused
    )


def shares(sizes: Sequence[int], weights: Sequence[float], size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part and row in it of each of ``size`` examples from parts of these ``sizes``."""
    if len(sizes) != len(weights) or not sizes:
        raise DataError(f"a mixture of {len(sizes)} data sets needs as many weights, not {len(weights)}")
    if not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise DataError(f"the weights of a mixture are above zero, these are {', '.join(map(str, weights))}")
    for k, n in enumerate(sizes):
        if not n:
            raise DataError(f"data set {k} of the mixture has no rows")
    counts = np.diff(np.rint(np.cumsum(weights) / np.sum(weights) * size).astype(np.int64), prepend=0)
    rows = [_drawn(n, count, seed + k) for k, (n, count) in enumerate(zip(sizes, counts))]
    return np.repeat(np.arange(len(sizes)), counts), np.concatenate(rows)


def _drawn(n: int, count: int, seed: int) -> np.ndarray:
    """``count`` of the numbers below ``n``: whole permutations of them, and the beginning of one."""
    places = np.arange(count)
    order = Order(n, seed)
    rounds = [order.index(turn, places[: min(n, count - turn * n)]) for turn in range(-(-count // n))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])


def _end_to_end(columns: list, order: np.ndarray) -> Ragged | np.ndarray | list:
    """Columns one after the other, then in this order."""
    if isinstance(columns[0], Ragged):
        lengths = np.concatenate([column.lengths for column in columns])
        pieces = np.split(np.concatenate([column.values for column in columns]), np.cumsum(lengths)[:-1])
        return Ragged(np.concatenate([pieces[i] for i in order.tolist()]), lengths[order])
    if isinstance(columns[0], list):
        whole = [value for column in columns for value in column]
        return [whole[i] for i in order.tolist()]
    return np.concatenate(columns)[order]
