"""Linear attention (Katharopoulos et al. 2020, arXiv 2006.16236)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class LinearTransformer(Memory):
    """Attention with a feature map instead of softmax: a running mean of values, weighted by keys.

        kₜ, qₜ = φ(W_k xₜ), φ(W_q xₜ),  vₜ = W_v xₜ          φ(u) = 1 + elu(u) > 0
        Sₜ = Sₜ₋₁ + kₜ [vₜ, 1]ᵀ                              per head, in R^(d × (d + 1))
        yₜ = out([Sₜᵀ qₜ]_v / (10⁻⁶ + [Sₜᵀ qₜ]₁))

    The column of ones sums the keys, which normalises the weights to one. Within an episode nothing decays: the sums
    grow with time and are float32. Only the output projection has a bias. This layer is the recurrence and its
    projections; the residual connections and feed-forward blocks of the paper belong to the trunk.

    Horizon at initialisation: relative gradient 6e-1 at k = 32, 6e-1 at k = 128.

    Attributes:
      heads: number of heads.
      head_dim: d; the carry takes 4 heads (d + 1) d bytes per environment.
      form: implementation of the recurrence, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """Return S₀ = 0, float32[batch, heads, head_dim, head_dim + 1]."""
        return jnp.zeros((batch, self.heads, self.head_dim, self.head_dim + 1), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (S, x [T, B, width], start [T, B]) to (S, y [T, B, width])."""
        query, key, value = linear_attention.project_qkv(x, self.heads, self.head_dim)
        carry, read = linear_attention.linear_attention(
            _elu_plus_one(query), _elu_plus_one(key), linear_attention.append_one(value), start, carry, form=self.form
        )
        return carry, linear_attention.merge_heads(read[..., :-1] / (1e-6 + read[..., -1:]), self.width, x.dtype)


def _elu_plus_one(u: jax.Array) -> jax.Array:
    """Return 1 + elu(u), without cancellation at small values."""
    return jnp.where(u > 0, 1.0 + u, jnp.exp(jnp.minimum(u, 0.0)))
