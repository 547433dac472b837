"""Who may attend to whom, and where each sequence begins and ends.

A mask is an object made once per forward pass and handed to every block. It answers three questions: which keys a query
may read (``allowed``), at which position of its own sequence a token stands (``positions``), and what the first, last or
mean state of each sequence is (``first``, ``last``, ``mean``). Boolean everywhere; True = may attend.

Make one with :func:`padding`, :func:`causal` or :func:`packed`; nothing else in the catalog builds masks.
"""

import torch
from torch import Tensor


class Mask:
    """A batch of sequences in rows: keys [B, S] are True where a real token stands (``None``: everywhere).

    A row may be padded on either side. With a cache, ``keys`` covers the cached tokens too (S = past + T).
    """

    causal = False
    triangle = False  # True where "causal" says all there is to say, so that a kernel needs no mask tensor

    def __init__(self, keys: Tensor | None = None):
        self.keys = keys
        self._made: Tensor | None = None

    def allowed(self, queries: int, keys: int, device) -> Tensor | None:
        """Bool, broadcastable to [B, heads, queries, keys]; ``None`` where everything may attend.

        Made once: within one forward pass every block asks for the same size.
        """
        if self._made is None:
            self._made = self._allowed(queries, keys, device)
        return self._made

    def _allowed(self, queries, keys, device):
        return None if self.keys is None else self.keys[:, None, None, :]

    def positions(self, length: int, past: int = 0, device=None) -> Tensor:
        """Index of each of the ``length`` new tokens in its own sequence: [1 or B, length]; padding in front counts 0."""
        index = torch.arange(past, past + length, device=device)[None]
        return index if self.keys is None else (index - self._starts()[:, None]).clamp_min(0)

    def _starts(self):
        return self.keys.to(torch.int8).argmax(-1)  # the first of several maxima: where the first real token stands

    def _ends(self):
        return self.keys.shape[-1] - 1 - self.keys.to(torch.int8).flip(-1).argmax(-1)

    def first(self, x: Tensor) -> Tensor:
        """The state of each sequence's first real token: [B, T, width] -> [B, width]."""
        return x[:, 0] if self.keys is None else _pick(x, self._starts())

    def last(self, x: Tensor) -> Tensor:
        """The state of each sequence's last real token: [B, T, width] -> [B, width]."""
        return x[:, -1] if self.keys is None else _pick(x, self._ends())

    def mean(self, x: Tensor) -> Tensor:
        """The mean over each sequence's real tokens: [B, T, width] -> [B, width]."""
        if self.keys is None:
            return x.mean(1)
        real = self.keys[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1)

    def rows(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """Per-token values as one row a sequence, ``fill`` where none stands: [B, T, ...] -> [B, T, ...]."""
        if self.keys is None:
            return x
        return x.masked_fill(~self.keys.view(*self.keys.shape, *[1] * (x.dim() - 2)), fill)


class Causal(Mask):
    """Each token reads itself and what stands before it, at most ``window`` tokens in all (``None``: any number)."""

    causal = True

    def __init__(self, keys: Tensor | None = None, window: int | None = None):
        super().__init__(keys)
        self.window = window
        self.triangle = keys is None and window is None

    def _allowed(self, queries, keys, device):
        allowed = _before(queries, keys, self.window, device)
        return allowed if self.keys is None else allowed & self.keys[:, None, None, :]


class Packed(Mask):
    """An unpadded batch: sequences laid end to end in one row [1, total], no token reads another's sequence.

    lengths [n]: the sequences' lengths in order, on the CPU (a kernel needs them as Python integers), sum = total.
    """

    def __init__(self, lengths: Tensor, causal: bool = False, window: int | None = None):
        super().__init__()
        self.lengths = torch.as_tensor(lengths, dtype=torch.int64)
        self.causal, self.window = causal, window
        self._groups: list[Group] | None = None

    def groups(self) -> "list[Group]":
        """Neighbours of like length, each group as rows to be padded: what a kernel without unpadded input takes.

        A group grows as long as at most half of its rows would be padding; attention is the small part of the work, so
        few calls beat little padding (measured on two cores). Made once.
        """
        if self._groups is None:
            self._groups, first, start = [], 0, 0
            lengths = self.lengths.tolist()
            while first < len(lengths):
                end, longest, total = first, 0, 0
                while end < len(lengths):
                    widest = max(longest, lengths[end])
                    if widest * (end - first + 1) > 2 * (total + lengths[end]):
                        break
                    longest, total, end = widest, total + lengths[end], end + 1
                self._groups.append(Group(self.lengths[first:end], longest, start, self.causal, self.window))
                first, start = end, start + total
        return self._groups

    def _allowed(self, queries, keys, device):
        owner = torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths).to(device)
        same = (owner[:, None] == owner[None, :])[None, None]
        return same & _before(queries, keys, self.window, device) if self.causal else same

    def positions(self, length, past=0, device=None):
        starts = torch.repeat_interleave(self._starts(), self.lengths)
        return (torch.arange(length) - starts)[None].to(device)

    def _starts(self):
        return self._ends() + 1 - self.lengths

    def _ends(self):
        return self.lengths.cumsum(0) - 1

    def first(self, x):
        return x[0, self._starts().to(x.device)]

    def last(self, x):
        return x[0, self._ends().to(x.device)]

    def mean(self, x):
        owner = torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths).to(x.device)
        total = x.new_zeros(len(self.lengths), x.shape[-1]).index_add(0, owner, x[0])
        return total / self.lengths.to(x.device, x.dtype)[:, None]

    def rows(self, x, fill=0.0):
        return torch.nn.utils.rnn.pad_sequence(x[0].split(self.lengths.tolist()), batch_first=True, padding_value=fill)


class Group:
    """Neighbouring sequences of an unpadded batch as rows: where their tokens come from, and which of the rows are real."""

    def __init__(self, lengths: Tensor, longest: int, start: int, causal: bool, window: int | None):
        self.rows, self.longest = len(lengths), longest
        column = torch.arange(longest)
        real = column < lengths[:, None]
        ends = start + lengths.cumsum(0)
        # a row's padding repeats its last token, so that every index is one of the group's own
        self.taken = (ends - lengths)[:, None].add(column).minimum(ends[:, None] - 1).flatten()
        self.real = None if real.all() else real.flatten().nonzero()[:, 0]
        keys = None if self.real is None else real
        self.mask = Causal(keys, window) if causal else Mask(keys)

    def pad(self, x: Tensor) -> Tensor:
        """Tokens [total, heads, d] -> rows [rows, heads, longest, d]."""
        return x.index_select(0, self.taken.to(x.device)).unflatten(0, (self.rows, self.longest)).transpose(1, 2)

    def unpad(self, x: Tensor) -> Tensor:
        """Rows [rows, heads, longest, d] -> their real tokens [n, heads, d]."""
        x = x.transpose(1, 2).flatten(0, 1)
        return x if self.real is None else x.index_select(0, self.real.to(x.device))


def _before(queries, keys, window, device):
    """Bool [1, 1, queries, keys]; the last query stands beside the last key."""
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)[None, :]
    allowed = key <= query
    return (allowed if window is None else allowed & (query - key < window))[None, None]


class Regions(Mask):
    """Each token reads the tokens of its own region in its row: regions [B, T] int."""

    def __init__(self, regions: Tensor):
        super().__init__()
        self.regions = regions

    def _allowed(self, queries, keys, device):
        return self.regions[:, None, :, None] == self.regions[:, None, None, :]


def _pick(x, index):
    return x.gather(1, index[:, None, None].expand(-1, 1, x.shape[-1]))[:, 0]


def padding(attention_mask: Tensor | None = None, lengths: Tensor | None = None) -> Mask:
    """Every real token reads every real token of its sequence; published 0/1 integers become booleans here.

    attention_mask [B, S] with 1 at real tokens, or lengths [n] of an unpadded batch (never both).
    """
    if lengths is not None:
        return Packed(lengths)
    return Mask(None if attention_mask is None else attention_mask.bool())


def causal(attention_mask: Tensor | None = None, lengths: Tensor | None = None, window: int | None = None) -> Mask:
    """As :func:`padding`, and no token reads a later one, nor one ``window`` or more tokens back."""
    if lengths is not None:
        return Packed(lengths, causal=True, window=window)
    return Causal(None if attention_mask is None else attention_mask.bool(), window)


def packed(lengths: Tensor, causal: bool = False, window: int | None = None) -> Mask:
    """Sequences of these lengths laid end to end; see :class:`Packed`."""
    return Packed(lengths, causal, window)


def regions(ids: Tensor) -> Mask:
    """Tokens of one row read each other where their ``ids`` [B, T] are the same; see :class:`Regions`."""
    return Regions(ids)
