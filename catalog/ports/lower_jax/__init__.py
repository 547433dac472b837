"""The ops of :mod:`catalog.ports.ops` in JAX. ``TABLE[name](*args, **kwargs)``, arguments in PyTorch's order.

Those that draw random numbers take ``key``. Whole numbers are 32 bits wide unless JAX is told to use 64.
"""

from catalog.ports.lower_jax import elementwise, images, network, reduce, shape

TABLE = elementwise.OPS | shape.OPS | reduce.OPS | network.OPS | images.OPS
