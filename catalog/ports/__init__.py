"""Ports: every catalog model as a native Flax or TensorFlow model, derived from its page.

``export`` (the only part that needs PyTorch) -> ``ir`` -> ``lower_jax`` / ``lower_tf`` -> ``flax`` / ``keras``.
"""
