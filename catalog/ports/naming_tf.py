"""How a Keras port calls and lays out its leaves: as the published TensorFlow file does, where it has the same tensor."""

from typing import NamedTuple

import numpy as np

from catalog.checkpoints import layout, tf_names
from catalog.ports.blueprint import Blueprint


class Native(NamedTuple):
    """A leaf in TensorFlow: the name it is published by, its word in the page's tree, its axes in PyTorch's order."""

    path: str
    word: str
    axes: tuple[int | None, ...] | None

    def of(self, array: np.ndarray) -> np.ndarray:
        """A PyTorch array in this layout."""
        return layout.turned(array, self.axes)

    def back(self, array: np.ndarray) -> np.ndarray:
        """An array of this layout in PyTorch's."""
        return layout.returned(array, self.axes)

    def turned_back(self, tensor):
        """A tensor of this layout in PyTorch's."""
        import tensorflow as tf

        if self.axes is None:
            return tensor
        kept = [a for a in self.axes if a is not None]
        new = [place for place, axis in enumerate(self.axes) if axis is None]
        tensor = tf.squeeze(tensor, new) if new else tensor
        order = [int(i) for i in np.argsort(kept)]
        return tensor if order == sorted(order) else tf.transpose(tensor, order)


def natives(blueprint: Blueprint) -> dict[str, Native]:
    """Every leaf's name and layout by our name of it; of one that is joined or parted on its way to a file, our own name."""
    found = {}
    for name, leaf in blueprint.leaves.items():
        *path, last = name.split(".")
        word, axes = tf_names.leaf(last, leaf.role, len(leaf.shape))
        found[name] = Native("/".join([*path, word]), word, axes)
    roles = {name: blueprint.leaves[step.ours[0]].role for step in blueprint.published for name in step.published}
    shapes = {name: tuple(shape) for step in blueprint.published for name, shape in zip(step.published, step.shapes)}
    places = tf_names.paths(shapes, roles, blueprint.model, blueprint.config["architectures"][0])
    for step in blueprint.published:
        if step.plain and step.published[0] in places:
            path, axes = places[step.published[0]]
            found[step.ours[0]] = Native(path, found[step.ours[0]].word, axes)
    return found
