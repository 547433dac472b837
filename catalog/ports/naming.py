"""How leaves are called and laid out elsewhere: told by what their module is, with a short record of exceptions.

A native name is that of one leaf in its module (``kernel``); a published one the whole path in a published file.
"""

from typing import NamedTuple

import numpy as np

from catalog.ports.blueprint import Leaf


class Native(NamedTuple):
    """A leaf's name in a framework, and the order of axes that turns PyTorch's layout into the framework's."""

    name: str
    axes: tuple[int, ...] | None = None

    def of(self, array):
        """A PyTorch array in this layout; any array type that has ``transpose``."""
        return array if self.axes is None else array.transpose(self.axes)

    def back(self, array):
        """An array of this layout in PyTorch's."""
        return array if self.axes is None else array.transpose(tuple(int(i) for i in np.argsort(self.axes)))


def flax(name: str, leaf: Leaf) -> Native:
    """Flax's name and layout of a leaf with our full ``name``: kernels are [in, out], those of images [.., in, out]."""
    last, dims = name.rpartition(".")[2], len(leaf.shape)
    if last == "weight":
        if leaf.role == "linear" and dims == 2:
            return Native("kernel", (1, 0))
        if leaf.role == "conv":
            return Native("kernel", (*range(2, dims), 1, 0))
        if leaf.role == "conv_transpose":
            return Native("kernel", (*range(2, dims), 0, 1))
        if leaf.role == "embedding":
            return Native("embedding")
        if leaf.role in ("norm", "batch_norm"):
            return Native("scale")
    if leaf.role == "batch_norm" and last in ("running_mean", "running_var"):
        return Native(last.removeprefix("running_"))
    return Native(last)


def native_path(name: str, leaf: Leaf) -> str:
    """The path of a leaf in a Flax port: ours, with Flax's last word."""
    head, dot, _ = name.rpartition(".")
    return head + dot + flax(name, leaf).name
