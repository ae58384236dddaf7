"""Sliding-window multi-head attention (Vaswani et al. 2017, arXiv 1706.03762)."""

import functools
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import ATTENTION, COLLECTION, Memory
from podarcade.models.memory.windowed_attention import KVCache, windowed_attention


class Transformer(Memory):
    """Causal multi-head attention over the last W steps of the current episode.

        qₜ, kₜ, vₜ = W_q xₜ, W_k xₜ, W_v xₜ                                in every head
        oₜ = Σⱼ softmaxⱼ(⟨R qₜ, R kⱼ⟩ / √d - m (t - j)) vⱼ                 t - W < j ≤ t
        yₜ = W_o [oₜ of all heads] + b

    "rope" rotates by position (R; Su et al. 2021, arXiv 2104.09864), "alibi" subtracts a penalty of
    m = 2^(-8 h / heads) per step of distance in head h = 1 .. heads (Press et al. 2022, arXiv 2108.12409), "none"
    treats the window as a set. Only differences of position matter. The carry is a cache of W - 1 keys and values,
    (8 heads d + 4) (W - 1) bytes per environment. Normalisation, feed-forward layers and residuals belong to the trunk.

    The horizon is W - 1 steps, at initialisation and after training.

    Attributes:
      heads: number of heads.
      head_dim: d, features per head; 0 for width // heads. Even for "rope".
      window: W, including the current step.
      position: "rope", "alibi" or "none".
    """

    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 0
    window: int = 128
    position: str = "rope"

    def initial(self, batch: int) -> KVCache | tuple[()]:
        """Return an empty cache (keys, values, valid), all zeros; () for a window of 1."""
        past, dim = self.window - 1, self._checked_head_dim()
        return self._empty_cache(batch, past, dim) if past else ()

    @nn.compact
    def __call__(
        self, carry: KVCache | tuple[()], x: jax.Array, start: jax.Array
    ) -> tuple[KVCache | tuple[()], jax.Array]:
        """Map (cache, x [T, B, width], start [T, B]) to (cache, y [T, B, width])."""
        dim = self._checked_head_dim()
        projected = nn.Dense(3 * self.heads * dim, use_bias=False, dtype=x.dtype, name="queries_keys_values")(x)
        projected = projected.astype(jnp.float32).reshape(*x.shape[:2], 3, self.heads, dim)
        head = jnp.arange(1, self.heads + 1, dtype=jnp.int32).astype(jnp.float32)
        slopes = 2.0 ** (-8.0 * head / self.heads) if self.position == "alibi" else None
        cache = carry or self._empty_cache(x.shape[1], 0, dim)
        queries, keys, values = jnp.moveaxis(projected, 2, 0)
        attend = functools.partial(windowed_attention, slopes=slopes, rotary=self.position == "rope")
        if self.is_mutable_collection(COLLECTION):
            self.sow(COLLECTION, ATTENTION, _weights(attend, queries, keys, start, cache))
        cache, y = attend(queries, keys, values, start, cache)
        y = y.reshape(*x.shape[:2], self.heads * dim).astype(x.dtype)
        return cache if carry else (), nn.Dense(self.width, dtype=x.dtype, name="out")(y)

    def _empty_cache(self, batch: int, past: int, dim: int) -> KVCache:
        shape = (batch, past, self.heads, dim)
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32), jnp.zeros(shape[:2], jnp.float32)

    def _checked_head_dim(self) -> int:
        """Return the number of features per head, after validating the options."""
        if self.position not in ("alibi", "none", "rope"):
            raise ValueError(f"memory.position={self.position!r}; expected one of: alibi, none, rope")
        if self.window < 1:
            raise ValueError(f"memory.window={self.window}; expected >= 1 (the current step counts)")
        dim = self.head_dim or self.width // self.heads
        if dim < 1 or (self.position == "rope" and dim % 2):
            expected = "an even number >= 2, since 'rope' rotates pairs" if self.position == "rope" else ">= 1"
            given = f"memory.head_dim={dim}, from width={self.width}, memory.heads={self.heads}"
            raise ValueError(f"{given}; expected {expected}")
        return dim


def _weights(attend: Callable, queries: jax.Array, keys: jax.Array, start: jax.Array, cache: KVCache) -> jax.Array:
    """Return the weight of each step of a segment for each query, mean over heads, float32[T, B, T].

    Attending to values that are one-hot in time gives the weights themselves. Steps before the segment have none.
    """
    length, batch, heads = keys.shape[:3]
    times = jnp.eye(length, dtype=jnp.float32)[:, None, None]
    past = jnp.zeros((*cache[0].shape[:3], length), jnp.float32)
    _, weights = attend(
        queries, keys, jnp.broadcast_to(times, (length, batch, heads, length)), start, (cache[0], past, cache[2])
    )
    return weights.mean(axis=2)
