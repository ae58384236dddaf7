"""DeltaNet (Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class DeltaNet(Memory):
    """A matrix in which writing to a key replaces what the key held: the delta rule.

        kₜ, qₜ = W_k xₜ, W_q xₜ, through SiLU, then of length one;  vₜ = W_v xₜ
        βₜ = sigmoid(W_b xₜ + b)
        Sₜ = Sₜ₋₁ + βₜ kₜ (vₜ - Sₜ₋₁ᵀ kₜ)ᵀ                   per head, in R^(d × d)
        yₜ = out(RMSNorm(Sₜᵀ qₜ))                            the norm over each head

    Queries have length one and no other scale: what was written with βₜ = 1 is read back as it was. There are no
    short convolutions before the keys (see `gated_deltanet` for them).

    Attributes:
      heads: number of heads.
      head_dim: d; 4 heads d² bytes of carry per environment.
      negative_eigenvalues: βₜ = 2 sigmoid(...), so that a write may turn what a key held round
        (Grazzi et al. 2024, arXiv 2411.12537).
      form: one of FORMS, or "auto".
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    negative_eigenvalues: bool = False
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """S₀ = 0, float32[batch, heads, head_dim, head_dim]."""
        return jnp.zeros((batch, self.heads, self.head_dim, self.head_dim))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(S, x [T, B, width], start [T, B]) -> (S, y [T, B, width])."""
        query, key, value = (
            linear_attention.heads_of(x, self.heads, self.head_dim, name) for name in ("query", "key", "value")
        )
        query, key = linear_attention.unit(nn.silu(query)), linear_attention.unit(nn.silu(key))
        rate = nn.sigmoid(nn.Dense(self.heads, dtype=x.dtype, name="rate")(x).astype(jnp.float32))
        rate = 2.0 * rate if self.negative_eigenvalues else rate
        carry, y = linear_attention.matrix_memory(query, key, value, start, carry, rate=rate, form=self.form)
        return carry, linear_attention.merge(nn.RMSNorm(epsilon=1e-5, name="norm")(y), self.width, x.dtype)
