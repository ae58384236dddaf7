"""DeltaNet (Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class DeltaNet(Memory):
    """A matrix memory with the delta rule: writing to a key replaces the value stored under it.

        kₜ, qₜ = SiLU(W_k xₜ), SiLU(W_q xₜ), both L2-normalised;  vₜ = W_v xₜ
        βₜ = sigmoid(W_b xₜ + b)
        Sₜ = Sₜ₋₁ + βₜ kₜ (vₜ - Sₜ₋₁ᵀ kₜ)ᵀ                   per head, in R^(d × d)
        yₜ = out(RMSNorm(Sₜᵀ qₜ))                            the norm over each head

    Queries have unit norm and no other scale, so a value written with βₜ = 1 is read back unchanged. Keys have no short
    convolution in front of them (see `gated_deltanet`).

    Horizon at initialisation: relative gradient 1e-1 at k = 32, 6e-2 at k = 128.

    Attributes:
      heads: number of heads.
      head_dim: d; the carry takes 4 heads d² bytes per environment.
      negative_eigenvalues: βₜ = 2 sigmoid(...), which allows the transition an eigenvalue down to -1 along the key
        (Grazzi et al. 2024, arXiv 2411.12537).
      form: implementation of the recurrence, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    negative_eigenvalues: bool = False
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """Return S₀ = 0, float32[batch, heads, head_dim, head_dim]."""
        return jnp.zeros((batch, self.heads, self.head_dim, self.head_dim), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (S, x [T, B, width], start [T, B]) to (S, y [T, B, width])."""
        query, key, value = linear_attention.project_qkv(x, self.heads, self.head_dim)
        query, key = (linear_attention.l2_normalise(nn.silu(part)) for part in (query, key))
        beta = nn.sigmoid(nn.Dense(self.heads, dtype=x.dtype, name="rate")(x).astype(jnp.float32))
        beta = 2.0 * beta if self.negative_eigenvalues else beta
        carry, y = linear_attention.linear_attention(query, key, value, start, carry, beta=beta, form=self.form)
        return carry, linear_attention.merge_heads(nn.RMSNorm(epsilon=1e-5, name="norm")(y), self.width, x.dtype)
