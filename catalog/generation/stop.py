"""When a text has ended: an end token, or a string that stops it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from catalog.generation.stream import Pieces


class Ends:
    """``ended(tokens)`` [R] -> bool [R], True in rows whose text the tokens end. Called once a step, in order.

    ids      tokens that end a text
    strings  what ends a text when it has been written, across tokens too; needs the tokenizer
    """

    def __init__(self, ids: Sequence[int], strings: Sequence[str] = (), tokenizer=None, rows: int = 1):
        self.ids, self.strings = tuple(ids), strings
        self.longest = max(map(len, strings), default=0)
        self.pieces = [Pieces(tokenizer) for _ in range(rows)] if strings else []
        self.tails = [""] * rows

    def __call__(self, tokens: Tensor) -> Tensor:
        ended = torch.zeros_like(tokens, dtype=torch.bool)
        for end in self.ids:
            ended |= tokens == end
        if self.strings:
            found = [token >= 0 and self._stops(row, token) for row, token in enumerate(tokens.tolist())]
            ended |= torch.tensor(found, device=tokens.device)
        return ended

    def _stops(self, row, token):
        pieces = self.pieces[row]
        text = self.tails[row] + pieces.push(token)
        self.tails[row] = text[1 - self.longest :] if self.longest > 1 else ""
        return any(string in text + pieces.held for string in self.strings)
