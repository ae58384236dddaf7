"""Linear attention (Katharopoulos et al. 2020, arXiv 2006.16236)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class LinearTransformer(Memory):
    """Attention without softmax, so that the past is a sum: a running mean of values, weighted by keys.

        kₜ, qₜ = φ(W_k xₜ), φ(W_q xₜ),  vₜ = W_v xₜ          φ(u) = 1 + elu(u) > 0
        Sₜ = Sₜ₋₁ + kₜ [vₜ, 1]ᵀ                              per head, in R^(d × (d + 1))
        yₜ = out([Sₜᵀ qₜ]_v / (10⁻⁶ + [Sₜᵀ qₜ]₁))

    The column of ones sums the keys, so that weights add up to one. Nothing is ever forgotten between two starts;
    the sums grow with the episode and are float32. No projection but the last has a bias. Here are the recurrence
    and its projections alone; the paper's residual connections and feed-forward blocks belong to the trunk.

    Attributes:
      heads: number of heads.
      head_dim: d; 4 heads (d + 1) d bytes of carry per environment.
      form: one of FORMS, or "auto".
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """S₀ = 0, float32[batch, heads, head_dim, head_dim + 1]."""
        return jnp.zeros((batch, self.heads, self.head_dim, self.head_dim + 1))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(S, x [T, B, width], start [T, B]) -> (S, y [T, B, width])."""
        query, key, value = (
            linear_attention.heads_of(x, self.heads, self.head_dim, name) for name in ("query", "key", "value")
        )
        carry, read = linear_attention.matrix_memory(
            _positive(query), _positive(key), linear_attention.with_one(value), start, carry, form=self.form
        )
        return carry, linear_attention.merge(read[..., :-1] / (1e-6 + read[..., -1:]), self.width, x.dtype)


def _positive(u: jax.Array) -> jax.Array:
    """1 + elu(u), written so that its small values keep their digits."""
    return jnp.where(u > 0, 1.0 + u, jnp.exp(jnp.minimum(u, 0.0)))
