"""A transformer written by hand in Flax, with the shapes of BERT, GPT-2 and ViT: what the derived ports are timed against."""

import jax
import jax.numpy as jnp
from flax import nnx


class Block(nnx.Module):
    """Attention and a two-layer network with residuals; norms before (``post=False``) or behind them."""

    def __init__(self, width, heads, hidden, eps, post, tanh, causal, rngs):
        self.q, self.k, self.v, self.out = (nnx.Linear(width, width, rngs=rngs) for _ in range(4))
        self.up, self.down = nnx.Linear(width, hidden, rngs=rngs), nnx.Linear(hidden, width, rngs=rngs)
        self.norm1, self.norm2 = (nnx.LayerNorm(width, epsilon=eps, rngs=rngs) for _ in range(2))
        self.heads, self.post, self.tanh, self.causal = heads, post, tanh, causal

    def attend(self, x, allowed):
        """Scaled dot-product attention, [B, T, width] -> same."""
        q, k, v = (part(x).reshape(*x.shape[:2], self.heads, -1) for part in (self.q, self.k, self.v))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
        if allowed is not None:
            scores = jnp.where(allowed, scores, jnp.finfo(scores.dtype).min)
        return self.out(jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores, -1), v).reshape(x.shape))

    def __call__(self, x, allowed):
        def feed(x):
            return self.down(jax.nn.gelu(self.up(x), approximate=self.tanh))

        if self.post:
            x = self.norm1(x + self.attend(x, allowed))
            return self.norm2(x + feed(x))
        x = x + self.attend(self.norm1(x), allowed)
        return x + feed(self.norm2(x))


class Text(nnx.Module):
    """Token and position vectors, blocks, logits over the vocabulary by the tied table."""

    def __init__(self, *, vocab, width, depth, heads, hidden, positions, eps, post, causal, rngs):
        self.tokens = nnx.Embed(vocab, width, rngs=rngs)
        self.positions = nnx.Embed(positions, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, epsilon=eps, rngs=rngs)
        make = getattr(nnx, "List", list)
        self.blocks = make([Block(width, heads, hidden, eps, post, causal, causal, rngs) for _ in range(depth)])
        self.post, self.causal = post, causal
        if post:  # BERT: segments, and a transformation before the vocabulary
            self.segments = nnx.Embed(2, width, rngs=rngs)
            self.dense, self.last = nnx.Linear(width, width, rngs=rngs), nnx.LayerNorm(width, epsilon=eps, rngs=rngs)
            self.bias = nnx.Param(jnp.zeros(vocab))

    def __call__(self, ids, mask):
        x = self.tokens(ids) + self.positions(jnp.arange(ids.shape[1])[None])
        allowed = mask[:, None, None, :].astype(bool)
        if self.causal:
            allowed = allowed & jnp.tril(jnp.ones((ids.shape[1],) * 2, bool))
        if self.post:
            x = self.norm(x + self.segments.embedding[...][0])
        for block in self.blocks:
            x = block(x, allowed)
        if not self.post:
            return self.tokens.attend(self.norm(x))
        return self.tokens.attend(self.last(jax.nn.gelu(self.dense(x), approximate=False))) + self.bias[...]


class Images(nnx.Module):
    """Patches by a convolution, a class token, blocks, logits."""

    def __init__(self, *, side, patch, width, depth, heads, hidden, eps, labels, rngs):
        self.patches = nnx.Conv(3, width, (patch, patch), (patch, patch), padding="VALID", rngs=rngs)
        self.token = nnx.Param(jnp.zeros((1, 1, width)))
        self.places = nnx.Param(jnp.zeros((1, (side // patch) ** 2 + 1, width)))
        make = getattr(nnx, "List", list)
        self.blocks = make([Block(width, heads, hidden, eps, False, False, False, rngs) for _ in range(depth)])
        self.norm, self.out = nnx.LayerNorm(width, epsilon=eps, rngs=rngs), nnx.Linear(width, labels, rngs=rngs)

    def __call__(self, pixels):
        x = self.patches(pixels.transpose(0, 2, 3, 1))
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        x = jnp.concatenate([jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1])), x], 1) + self.places[...]
        for block in self.blocks:
            x = block(x, None)
        return self.out(self.norm(x)[:, 0])
