"""A data set of packed blocks, for causal language models: no padding, no document cut that fits, none reads another.

    blocks = Blocks(data, capacity=batch.max_length)         # data: documents, from trainer.data.prepare
    plan = BatchPlan(blocks.lengths, batch, seed)            # batch.layout=unpadded
    feed = Loader(blocks, plan, Collate(fields, batch))

``lengths`` of a batch are those of the pieces, so that attention and positions begin anew at each; ``rows`` are blocks.
"""

from collections.abc import Iterable

import numpy as np

from trainer.data.cache import digest
from trainer.data.dataset import Dataset, Ragged
from trainer.data.packing import pack


class Blocks:
    """The documents of ``data`` as blocks of at most ``capacity`` tokens, the same for the same documents.

    lengths     int32 [n], tokens of each block
    digest      a hash of what all blocks hold
    fields      the features that are lists; a number a document has no place in a block
    where(i)    the files and rows that block ``i`` was made of
    """

    def __init__(self, data: Dataset, capacity: int):
        self.data, self.digest = data, digest(data.digest, capacity)
        self._pieces = pack(data.lengths, capacity)
        blocks = int(self._pieces.block[-1]) + 1 if len(self._pieces.block) else 0
        sizes = self._pieces.stop - self._pieces.start
        self.lengths = np.bincount(self._pieces.block, sizes, minlength=blocks).astype(np.int32)
        self._first = np.searchsorted(self._pieces.block, np.arange(blocks + 1))
        self.fields = [name for name, value in (data[0] if len(data) else {}).items() if isinstance(value, np.ndarray)]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """All tokens of a block, end to end."""
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"block {i} of {len(self)}")
        return {name: column.values for name, column in self.columns([i % len(self)]).items()}

    def rows(self, indices: Iterable[int]) -> list[dict[str, np.ndarray]]:
        """The blocks with these numbers, in that order."""
        return [self[i] for i in indices]

    def columns(self, rows: Iterable[int]) -> dict[str, Ragged]:
        """The features of these blocks, in that order, with a length a piece."""
        parts = [np.arange(self._first[i], self._first[i + 1]) for i in np.asarray(rows, dtype=np.int64).tolist()]
        at = np.concatenate([np.zeros(0, np.int64), *parts])
        found = self.data.columns(self._pieces.row[at], (self._pieces.start[at], self._pieces.stop[at]))
        return {name: found[name] for name in self.fields}

    def where(self, i: int) -> str:
        """``train.txt row 17 and 2 more in a block``."""
        documents = self._pieces.row[self._first[i] : self._first[i + 1]]
        more = f" and {len(documents) - 1} more in a block" if len(documents) > 1 else ""
        return f"{self.data.where(int(documents[0]))}{more}"
