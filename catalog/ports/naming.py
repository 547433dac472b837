"""How a port calls and lays out its leaves: told by what their module is."""

from typing import NamedTuple

from catalog.checkpoints import flax_names
from catalog.ports.blueprint import Leaf


class Native(NamedTuple):
    """A leaf's name in a framework, and the order of axes that turns PyTorch's layout into the framework's."""

    name: str
    axes: tuple[int, ...] | None = None

    def of(self, array):
        """A PyTorch array in this layout; any array that has ``transpose``."""
        return array if self.axes is None else array.transpose(self.axes)

    def back(self, array):
        """An array of this layout in PyTorch's."""
        return array if self.axes is None else array.transpose([self.axes.index(i) for i in range(len(self.axes))])


def flax(name: str, leaf: Leaf) -> Native:
    """Flax's name and layout of the leaf with our full ``name``."""
    return Native(*flax_names.leaf(name.rpartition(".")[2], leaf.role, len(leaf.shape)))


def flax_path(name: str, leaf: Leaf) -> str:
    """The path of a leaf in a Flax port: ours, with Flax's last word."""
    head, dot, _ = name.rpartition(".")
    return head + dot + flax(name, leaf).name
