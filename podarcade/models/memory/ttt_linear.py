"""Linear test-time training (Sun et al. 2024, arXiv 2407.04620)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class TTTLinear(Memory):
    """The state is a linear model that is trained at every step to tell values from keys.

        kₜ, qₜ = W_k xₜ, W_q xₜ, of length one;  vₜ = W_v xₜ;  k'ₜ = [kₜ, 1], q'ₜ = [qₜ, 1]
        ℓₜ(M) = ½ |Mᵀ k'ₜ - (vₜ - kₜ)|²                      the model's loss; M in R^((d + 1) × d) holds its bias
        Mₜ = Mₜ₋₁ - ηₜ ∇ℓₜ(Mₜ₋₁)                             ηₜ = sigmoid(W_η xₜ + b_η)
        yₜ = out(LN(qₜ + Mₜᵀ q'ₜ) ⊙ gelu(W_g xₜ))            per head, the norm over each head

    The model of a fresh sequence, M₀, is learned: weights N(0, 0.02²), bias 0. The carry is Mₜ - M₀, so that a start
    makes it zero; with targets less the prediction of M₀, gradient descent on ℓ is the delta rule with the rate η.
    As |k'|² = 2, no ηₜ can make it diverge, and ηₜ = ½ fits a pair in one step. b_η is -1 at first: ηₜ|k'|² ≈ 0.54.

    Not as in the paper's own TTT-Linear: ℓ has no layer norm around the prediction (with it the steps could not be
    taken in parallel); every step is a mini-batch, not sixteen of them, so that an episode can start anywhere; keys
    and queries have length one, and neither rotary positions nor short convolutions; the norm is over
    each head after the query is added, not over the prediction and over all heads again.

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
        """M - M₀ = 0, float32[batch, heads, head_dim + 1, head_dim]."""
        return jnp.zeros((batch, self.heads, self.head_dim + 1, self.head_dim))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(M - M₀, x [T, B, width], start [T, B]) -> (M - M₀, y [T, B, width])."""
        query, key, value = (
            linear_attention.heads_of(x, self.heads, self.head_dim, name) for name in ("query", "key", "value")
        )
        query, key = linear_attention.unit(query), linear_attention.unit(key)
        rate = nn.Dense(self.heads, dtype=x.dtype, bias_init=nn.initializers.constant(-1.0), name="rate")(x)
        rate = nn.sigmoid(rate.astype(jnp.float32))
        weights = self.param("W", nn.initializers.normal(0.02), (self.heads, self.head_dim, self.head_dim))
        bias = self.param("c", nn.initializers.zeros, (self.heads, self.head_dim))
        target = value - key - _predict(weights, bias, key)
        carry, learned = linear_attention.matrix_memory(
            linear_attention.with_one(query),
            linear_attention.with_one(key),
            target,
            start,
            carry,
            rate=rate,
            form=self.form,
        )
        y = nn.LayerNorm(name="norm")(query + _predict(weights, bias, query) + learned)
        gate = nn.gelu(linear_attention.heads_of(x, self.heads, self.head_dim, "gate"))
        return carry, linear_attention.merge(y * gate, self.width, x.dtype)


def _predict(weights: jax.Array, bias: jax.Array, key: jax.Array) -> jax.Array:
    """M₀ᵀ [k, 1], float32[T, B, heads, head_dim]."""
    return jnp.einsum("tbhk,hkv->tbhv", key, weights, precision=jax.lax.Precision.HIGHEST) + bias[None, None]
