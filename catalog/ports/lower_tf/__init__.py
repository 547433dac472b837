"""The ops of :mod:`catalog.ports.ops` in TensorFlow. ``TABLE[name](*args, **kwargs)``, arguments in PyTorch's order.

Those that draw random numbers take ``key``, a seed of two whole numbers. A size is a Python integer where it is known, else
a scalar tensor: every op takes both, so that one graph serves every batch and length.
"""

from catalog.ports.lower_tf import elementwise, images, network, place, reduce, shape

TABLE = elementwise.OPS | shape.OPS | place.OPS | reduce.OPS | network.OPS | images.OPS
