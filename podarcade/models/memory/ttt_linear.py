"""Linear test-time training (Sun et al. 2024, arXiv 2407.04620)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention


class TTTLinear(Memory):
    """A linear model as state, trained by one gradient step per time step to predict values from keys.

        kₜ, qₜ = W_k xₜ, W_q xₜ, L2-normalised;  vₜ = W_v xₜ;  k'ₜ = [kₜ, 1], q'ₜ = [qₜ, 1]
        ℓₜ(M) = ½ |Mᵀ k'ₜ - (vₜ - kₜ)|²                      the inner loss; M in R^((d + 1) × d) includes a bias
        Mₜ = Mₜ₋₁ - ηₜ ∇ℓₜ(Mₜ₋₁)                             ηₜ = sigmoid(W_η xₜ + b_η)
        yₜ = out(LN(qₜ + Mₜᵀ q'ₜ) ⊙ gelu(W_g xₜ))            per head, the norm over each head

    The initial model M₀ is learned, with weights N(0, 0.02²) and bias 0 at initialisation. The carry is Mₜ - M₀, which
    a start sets to zero; with the prediction of M₀ subtracted from the targets, gradient descent on ℓ is the delta
    rule with β = η. As |k'|² = 2, no ηₜ in (0, 1) diverges, and ηₜ = ½ fits a pair in one step. b_η is initialised
    to -1: ηₜ|k'|² ≈ 0.54.

    Differences from TTT-Linear of the paper: ℓ has no layer norm around the prediction (which would rule out a parallel
    form); a mini-batch is one step, not sixteen, so that an episode can start anywhere; keys and queries have unit
    norm, without rotary positions or short convolutions; the norm is per head after the query is added, not over the
    prediction and then over all heads.

    Horizon at initialisation: relative gradient 6e-2 at k = 32, 5e-2 at k = 128.

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
        """Return M - M₀ = 0, float32[batch, heads, head_dim + 1, head_dim]."""
        return jnp.zeros((batch, self.heads, self.head_dim + 1, self.head_dim), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (M - M₀, x [T, B, width], start [T, B]) to (M - M₀, y [T, B, width])."""
        query, key, value = linear_attention.project_qkv(x, self.heads, self.head_dim)
        query, key = linear_attention.l2_normalise(query), linear_attention.l2_normalise(key)
        logit = nn.Dense(self.heads, dtype=x.dtype, bias_init=nn.initializers.constant(-1.0), name="rate")(x)
        eta = nn.sigmoid(logit.astype(jnp.float32))
        weights = self.param("W", nn.initializers.normal(0.02, jnp.float32), (self.heads, self.head_dim, self.head_dim))
        bias = self.param("c", nn.initializers.zeros, (self.heads, self.head_dim), jnp.float32)
        target = value - key - _predict(weights, bias, key)
        carry, learned = linear_attention.linear_attention(
            linear_attention.append_one(query),
            linear_attention.append_one(key),
            target,
            start,
            carry,
            beta=eta,
            form=self.form,
        )
        y = nn.LayerNorm(name="norm")(query + _predict(weights, bias, query) + learned)
        gate = nn.gelu(linear_attention.project_heads(x, self.heads, self.head_dim, "gate"))
        return carry, linear_attention.merge_heads(y * gate, self.width, x.dtype)


def _predict(weights: jax.Array, bias: jax.Array, key: jax.Array) -> jax.Array:
    """Return M₀ᵀ [k, 1], float32[T, B, heads, head_dim]."""
    return jnp.einsum("tbhk,hkv->tbhv", key, weights, precision=jax.lax.Precision.HIGHEST) + bias[None, None]
