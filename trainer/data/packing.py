"""Documents -> blocks of at most a given number of tokens, for causal language models.

Blocks are handed on with the lengths of their pieces, as an unpadded batch, so that no piece attends to another.
"""

from bisect import bisect_left, insort
from typing import NamedTuple

import numpy as np


class Packed(NamedTuple):
    """Piece ``k`` is tokens ``start[k]`` to ``stop[k]`` of document ``row[k]``; ``block[k]`` is where it went."""

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    block: np.ndarray


def pack(lengths: np.ndarray, capacity: int) -> Packed:
    """Every token of documents of these ``lengths`` in exactly one block of at most ``capacity`` tokens.

    Documents are cut only where they are longer than a block; the pieces go, longest first, each into the fullest block
    that still has room (best fit decreasing; Ding et al., 2024, "Fewer Truncations Improve Language Modeling",
    arXiv:2404.10830). Pieces come out by block; the result depends on nothing but the arguments.
    """
    if capacity < 1:
        raise ValueError(f"a block holds at least one token, not {capacity}")
    lengths = np.asarray(lengths, dtype=np.int64)
    counts = -(-lengths // capacity)
    row = np.repeat(np.arange(len(lengths)), counts)
    start = capacity * (np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts))
    stop = np.minimum(start + capacity, lengths[row])
    block = np.zeros(len(row), dtype=np.int64)
    rooms: list[int] = []  # the distinct amounts of room that some open block has, ascending
    having: dict[int, list[int]] = {}
    blocks = 0
    sizes = (stop - start).tolist()
    for k in np.argsort(start - stop, kind="stable").tolist():
        size = sizes[k]
        place = bisect_left(rooms, size)
        if place == len(rooms):
            chosen, room = blocks, capacity
            blocks += 1
        else:
            room = rooms[place]
            chosen = having[room].pop()
            if not having[room]:
                del having[room], rooms[place]
        block[k] = chosen
        if left := room - size:
            if left not in having:
                having[left] = []
                insort(rooms, left)
            having[left].append(chosen)
    by_block = np.argsort(block, kind="stable")
    return Packed(row[by_block], start[by_block], stop[by_block], block[by_block])
