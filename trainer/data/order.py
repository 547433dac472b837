"""The order of examples as a pure function: a keyed permutation, with no buffer, no state and nothing to replay.

A Feistel network over the smallest power of two that holds ``n``, walked until it lands below ``n`` (Black and Rogaway,
2002, "Ciphers with Arbitrary Finite Domains"). Each round mixes one half with a key and the finaliser of SplitMix64
(Steele et al., 2014). Integers only, so that every machine gives the same order.
"""

import numpy as np

ROUNDS, SMALL_ROUNDS = 8, 24  # a few bits mix slowly, and few examples cost nothing
BLOCK = 1 << 14  # positions computed at a time: the working arrays stay in the processor's cache
MASK = (1 << 64) - 1


def draw(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Random numbers for one example in one epoch, a pure function of the three.

    Philox with epoch and row in the upper words of its counter (Salmon et al., 2011, "Parallel Random Numbers: As Easy
    as 1, 2, 3"): no two examples share a number.
    """
    return np.random.Generator(np.random.Philox(key=seed & MASK, counter=[0, 0, epoch, row]))


class Order:
    """A permutation of ``range(n)`` for each epoch; ``seed`` None is the identity, for evaluation."""

    def __init__(self, n: int, seed: int | None):
        if not 0 <= n < 1 << 62:
            raise ValueError(f"an order has 0 to 2**62 examples, not {n}")
        self.n, self.seed = n, seed
        bits = max(1, (n - 1).bit_length())
        self._count = ROUNDS if bits > 12 else SMALL_ROUNDS
        self._right = bits // 2  # width of the low half; the high half has as many bits or one more
        self._masks = [np.uint64((1 << width) - 1) for width in (bits - self._right, self._right)]

    def index(self, epoch: int, position: int | np.ndarray) -> int | np.ndarray:
        """The example at ``position`` (one, or an int array) of ``epoch``. IndexError outside ``range(n)``."""
        positions = np.asarray(position, dtype=np.int64)
        if positions.size and not (positions.min() >= 0 and positions.max() < self.n):
            raise IndexError(f"positions {positions.min()} to {positions.max()} of {self.n} examples")
        if self.seed is not None:
            keys, flat = self._keys(epoch), positions.reshape(-1)
            parts = [self._permute(flat[i : i + BLOCK], keys) for i in range(0, flat.size, BLOCK)]
            positions = np.concatenate([np.zeros(0, np.int64), *parts]).reshape(positions.shape)
        return int(positions) if np.isscalar(position) else positions

    def _keys(self, epoch: int) -> list[np.uint64]:
        """One key a round, from the seed, the epoch and the round."""
        state = _mixed_int(_mixed_int(self.seed & MASK) ^ (epoch & MASK))
        return [np.uint64(_mixed_int(state + round)) for round in range(self._count)]

    def _permute(self, positions: np.ndarray, keys: list[np.uint64]) -> np.ndarray:
        values = self._rounds(positions.astype(np.uint64), keys)
        while (outside := np.flatnonzero(values >= self.n)).size:
            values[outside] = self._rounds(values[outside], keys)
        return values.astype(np.int64)

    def _rounds(self, values: np.ndarray, keys: list[np.uint64]) -> np.ndarray:
        halves = [values >> np.uint64(self._right), values & self._masks[1]]
        for round, key in enumerate(keys):
            side = round % 2
            halves[side] = halves[side] ^ (_mixed(halves[1 - side] ^ key) & self._masks[side])
        return halves[0] << np.uint64(self._right) | halves[1]


def _mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser; uint64 arithmetic wraps around."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mixed_int(value: int) -> int:
    """One step of SplitMix64."""
    return int(_mixed(np.array([(value + 0x9E3779B97F4A7C15) & MASK], np.uint64))[0])
