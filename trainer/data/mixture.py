"""Several data sets as one, each with its share of the examples.

    data = Mixture([wiki, code], weights=[0.7, 0.3], size=100_000)     # then BatchPlan, Collate and Loader as ever

What the mixture holds is a pure function of the sizes, the weights and the seed: nothing has to be saved to go on with it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from trainer.data.dataset import Dataset, Ragged
from trainer.data.order import Order
from trainer.errors import DataError


class Mixture:
    """``size`` examples of which part ``k`` gives the share ``weights[k]``, to the nearest example.

    A part that has too few gives all of them again, a part that has more than its share a random choice of them by
    ``seed``; within a part no example comes twice before every one came once. DataError when the parts' features differ,
    a part is empty or a weight is not above zero.
    """

    def __init__(self, parts: Sequence[Dataset], weights: Sequence[float], size: int, seed: int = 0):
        if len(parts) != len(weights) or not parts:
            raise DataError(f"a mixture of {len(parts)} data sets needs as many weights, not {len(weights)}")
        if not all(np.isfinite(weight) and weight > 0 for weight in weights):
            raise DataError(f"the weights of a mixture are above zero, these are {', '.join(map(str, weights))}")
        for k, part in enumerate(parts):
            if not len(part):
                raise DataError(f"data set {k} of the mixture has no rows")
            if set(part.fields) != set(parts[0].fields):
                raise DataError(
                    f"data set {k} of the mixture has the features {', '.join(part.fields)}, data set 0 "
                    f"{', '.join(parts[0].fields)}; prepare them with one processor"
                )
        self.parts, self.fields = list(parts), list(parts[0].fields)
        edges = np.rint(np.cumsum(weights) / np.sum(weights) * size).astype(np.int64)
        self.counts = np.diff(edges, prepend=0)  # examples of each part
        self._part = np.repeat(np.arange(len(parts)), self.counts)
        self._row = np.concatenate([_drawn(len(p), n, seed + k) for k, (p, n) in enumerate(zip(parts, self.counts))])
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
        return {name: _joined([columns[name] for columns in found], back) for name in self.fields}

    def where(self, i: int) -> str:
        """The file and row that example ``i`` was made of."""
        return self.parts[self._part[i]].where(int(self._row[i]))


def _drawn(n: int, count: int, seed: int) -> np.ndarray:
    """``count`` of the numbers below ``n``: whole permutations of them, and the beginning of one."""
    places = np.arange(count)
    order = Order(n, seed)
    rounds = [order.index(turn, places[: min(n, count - turn * n)]) for turn in range(-(-count // n))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])


def _joined(columns: list, order: np.ndarray) -> Ragged | np.ndarray | list:
    """Columns one after the other, then in this order."""
    if isinstance(columns[0], Ragged):
        lengths = np.concatenate([column.lengths for column in columns])
        pieces = np.split(np.concatenate([column.values for column in columns]), np.cumsum(lengths)[:-1])
        return Ragged(np.concatenate([pieces[i] for i in order.tolist()]), lengths[order])
    if isinstance(columns[0], list):
        whole = [value for column in columns for value in column]
        return [whole[i] for i in order.tolist()]
    return np.concatenate(columns)[order]
