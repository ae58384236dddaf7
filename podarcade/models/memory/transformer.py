"""A Transformer's attention through a sliding window (Vaswani et al. 2017, arXiv 1706.03762)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory
from podarcade.models.memory.windowed_attention import Past, banded_attention


class Transformer(Memory):
    """Multi-head attention to the last W steps since the start.

        qₜ, kₜ, vₜ = W_q xₜ, W_k xₜ, W_v xₜ                                in every head
        oₜ = Σⱼ softmaxⱼ(⟨R qₜ, R kⱼ⟩ / √d - m (t - j)) vⱼ                 t - W < j ≤ t
        yₜ = W_o [oₜ of all heads] + b

    "rope" rotates by position (R; Su et al. 2021, arXiv 2104.09864), "alibi" makes distance cost
    m = 2^(-8 h / heads) in head h = 1 .. heads (Press et al. 2022, arXiv 2108.12409), "none" sees a set of steps. Only
    differences of position count. The carry holds the keys and values of W - 1 steps, (8 heads d + 4) (W - 1) bytes
    per environment. Normalisation, feed-forward layers and residuals are the trunk's.

    Attributes:
      heads: number of heads.
      head_dim: d, features of one head; 0 for width // heads. Even for "rope".
      window: W, steps that are seen, the present one included.
      position: "rope", "alibi" or "none".
    """

    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 0
    window: int = 128
    position: str = "rope"

    def initial(self, batch: int) -> Past | tuple[()]:
        """(keys, values, which of them there are), all zeros; empty for a window of 1."""
        past, dim = self.window - 1, self._head_dim()
        if not past:
            return ()
        shape = (batch, past, self.heads, dim)
        return jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape[:2])

    @nn.compact
    def __call__(self, carry: Past | tuple[()], x: jax.Array, start: jax.Array) -> tuple[Past | tuple[()], jax.Array]:
        """(past, x [T, B, width], start [T, B]) -> (past, y [T, B, width])."""
        dim = self._head_dim()
        projected = nn.Dense(3 * self.heads * dim, use_bias=False, dtype=x.dtype, name="queries_keys_values")(x)
        projected = projected.astype(jnp.float32).reshape(*x.shape[:2], 3, self.heads, dim)
        slopes = 2.0 ** (-8.0 * jnp.arange(1, self.heads + 1) / self.heads) if self.position == "alibi" else None
        past = carry or tuple(jnp.zeros((x.shape[1], 0, *shape)) for shape in ((self.heads, dim),) * 2 + ((),))
        past, y = banded_attention(
            *jnp.moveaxis(projected, 2, 0), start, past, slopes=slopes, rotary=self.position == "rope"
        )
        y = y.reshape(*x.shape[:2], self.heads * dim).astype(x.dtype)
        return past if carry else (), nn.Dense(self.width, dtype=x.dtype, name="out")(y)

    def _head_dim(self) -> int:
        """Features of one head, once the options are known to fit."""
        if self.position not in ("alibi", "none", "rope"):
            raise ValueError(f"position={self.position!r}; there are alibi, none, rope")
        if self.window < 1:
            raise ValueError(f"window={self.window}; at least 1, the present step")
        dim = self.head_dim or self.width // self.heads
        if dim < 1 or (self.position == "rope" and dim % 2):
            raise ValueError(
                f"head_dim={dim}, from width={self.width}, heads={self.heads}; 'rope' turns pairs: even, 2 or more"
            )
        return dim
