"""What stands between a published tensor and ours when it is not a mere rename.

An op works on lists of tensors and inverts: ``load(published, config) -> ours`` and ``save(ours, config) -> published``.
Where a part of one of ours is a part of one published tensor, ``where`` says which, so that no more than it is read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

Box = tuple[slice, ...]  # a part of a tensor: from where to where along each axis


@dataclass(frozen=True)
class Transpose:
    """A matrix stored the other way round (GPT-2's [in, out]); vectors stay as they are."""

    def load(self, tensors: list[Tensor], config) -> list[Tensor]:
        """Published -> ours."""
        return [t.t().contiguous() if t.dim() == 2 else t for t in tensors]

    save = load

    def where(self, index: int, box: Box, shapes: list[tuple[int, ...]], config) -> tuple[int, Box, bool]:
        """Of our tensor number ``index`` the part ``box`` -> (number of the published tensor, the part of it, whether it
        lies the other way round); ``shapes`` are the published ones."""
        return index, box[::-1], len(box) == 2


@dataclass(frozen=True)
class Split:
    """Several of our tensors laid end to end along the output axis of one published tensor.

    ``sizes(config)`` gives the length of each part (``None``: equal parts, ``parts`` of them); ``transpose`` for matrices
    stored as [in, out].
    """

    parts: int = 3
    sizes: object = None
    transpose: bool = False

    def load(self, tensors, config):
        """Published -> ours."""
        (fused,) = Transpose().load(tensors, config) if self.transpose else tensors
        sizes = self.sizes(config) if self.sizes else fused.shape[0] // self.parts
        return [part.contiguous() for part in fused.split(sizes)]

    def save(self, tensors, config):
        """Ours -> published."""
        fused = [torch.cat(tensors)]
        return Transpose().load(fused, config) if self.transpose else fused

    def where(self, index, box, shapes, config):
        """See :meth:`Transpose.where`."""
        turned = self.transpose and len(box) == 2
        sizes = self.sizes(config) if self.sizes else shapes[0][-1 if turned else 0] // self.parts
        start = sum(sizes[:index]) if isinstance(sizes, list | tuple) else index * sizes
        box = (slice(start + box[0].start, start + box[0].stop), *box[1:])
        return 0, box[::-1] if turned else box, turned


@dataclass(frozen=True)
class PerGroup:
    """q, k and v fused per key/value head: rows [q .., k, v] of each group in turn (BLOOM, NeoX, Falcon, Persimmon).

    Uses ``config.heads`` and, where the model has it, ``config.kv_heads``.
    """

    def load(self, tensors, config):
        """Published -> q, k, v."""
        groups, per_group = self._groups(config)
        (fused,) = tensors
        rest = fused.shape[1:]
        parts = fused.reshape(groups, per_group + 2, -1, *rest)
        q, k, v = parts[:, :per_group], parts[:, per_group], parts[:, per_group + 1]
        return [part.reshape(-1, *rest).contiguous() for part in (q, k, v)]

    def save(self, tensors, config):
        """q, k, v -> published."""
        groups, per_group = self._groups(config)
        rest = tensors[0].shape[1:]
        q = tensors[0].reshape(groups, per_group, -1, *rest)
        k, v = (t.reshape(groups, 1, -1, *rest) for t in tensors[1:])
        return [torch.cat([q, k, v], 1).reshape(-1, *rest)]

    @staticmethod
    def _groups(config):
        groups = getattr(config, "kv_heads", None) or config.heads
        return groups, config.heads // groups


@dataclass(frozen=True)
class Reshape:
    """The same elements in another shape; ``ours(config)`` and ``published(config)`` give the two."""

    ours: object
    published: object

    def load(self, tensors, config):
        """Published -> ours."""
        return [t.reshape(self.ours(config)) for t in tensors]

    def save(self, tensors, config):
        """Ours -> published."""
        return [t.reshape(self.published(config)) for t in tensors]


@dataclass(frozen=True)
class Stack:
    """Many published tensors, one an index that ours lacks, stacked along a new first axis; ``count`` of them (experts)."""

    count: int

    def load(self, tensors, config):
        """Published -> ours."""
        return [torch.stack(tensors)]

    def save(self, tensors, config):
        """Ours -> published."""
        return [part.contiguous() for part in tensors[0].unbind()]


@dataclass(frozen=True)
class Concatenate:
    """Several published tensors laid end to end along ``axis`` as one of ours; ``sizes(config)`` gives each length."""

    sizes: object
    axis: int = 0

    def load(self, tensors, config):
        """Published -> ours."""
        return [torch.cat(tensors, self.axis)]

    def save(self, tensors, config):
        """Ours -> published."""
        return [part.contiguous() for part in tensors[0].split(self.sizes(config), self.axis)]
