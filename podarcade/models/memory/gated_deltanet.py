"""Gated DeltaNet (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention, time_scales
from podarcade.models.memory.windowed_attention import causal_convolution

Carry = tuple[jax.Array, ...]


class GatedDeltaNet(Memory):
    """The delta rule with a gated decay of the whole state.

        q̃, k̃, ṽ = SiLU(conv(W xₜ))                           depthwise, over the last `convolution` steps
        qₜ = d_k^(-½) q̃ / |q̃|,  kₜ = k̃ / |k̃|,  vₜ = ṽ
        βₜ = sigmoid(W_b xₜ),  log αₜ = -A softplus(W_a xₜ + δ)
        Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ             per head, in R^(d_k × d_v)
        yₜ = out(RMSNorm(Sₜᵀ qₜ) ⊙ SiLU(W_g xₜ))             the norm over each head

    As in the authors' code, A is initialised uniform on (0, 16] and softplus(δ) log-uniform on [0.001, 0.1], and the
    projections have no bias. Unlike there, the output projection has one, and heads are smaller (64, not 256) with
    d_v = d_k by default, because every environment keeps a carry.

    Horizon at initialisation: relative gradient 8e-2 at k = 32, 1e-2 at k = 128.

    Attributes:
      heads: number of heads.
      head_dim: d_k; the carry takes 4 heads d_k d_v bytes per environment, plus that of the convolution.
      expand_value: d_v / d_k.
      convolution: length of the short convolution, including the current step; 0 or 1 for none. The carry holds
        4 heads (2 d_k + d_v) bytes for each earlier step.
      negative_eigenvalues: βₜ = 2 sigmoid(...), which allows the transition an eigenvalue down to -α along the key
        (Grazzi et al. 2024, arXiv 2411.12537).
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the δ above. A
        keeps its distribution, and softplus(δ) = 1 / (A τ).
      form: implementation of the recurrence, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    expand_value: float = 1.0
    convolution: int = 4
    negative_eigenvalues: bool = False
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> Carry:
        """Return S₀ = 0, float32[batch, heads, d_k, d_v], and the inputs of the convolution if it is used."""
        state = jnp.zeros((batch, self.heads, self.head_dim, self._value_dim()), jnp.float32)
        if self.convolution < 2:
            return (state,)
        features = self.heads * (2 * self.head_dim + self._value_dim())
        return state, jnp.zeros((batch, self.convolution - 1, features), jnp.float32)

    @nn.compact
    def __call__(self, carry: Carry, x: jax.Array, start: jax.Array) -> tuple[Carry, jax.Array]:
        """Map ((S, past), x [T, B, width], start [T, B]) to ((S, past), y [T, B, width])."""
        state, *past = carry
        past, query, key, value = self._mix(past, x, start)
        beta = nn.sigmoid(self._per_head(x, "rate"))
        beta = 2.0 * beta if self.negative_eigenvalues else beta
        state, y = linear_attention.linear_attention(
            linear_attention.l2_normalise(query) * self.head_dim**-0.5,
            linear_attention.l2_normalise(key),
            value,
            start,
            state,
            log_decay=self._log_decay(x),
            beta=beta,
            form=self.form,
        )
        gate = nn.silu(linear_attention.project_heads(x, self.heads, self._value_dim(), "gate"))
        y = nn.RMSNorm(epsilon=1e-5, name="norm")(y) * gate
        return (state, *past), linear_attention.merge_heads(y, self.width, x.dtype)

    def _value_dim(self) -> int:
        return round(self.head_dim * self.expand_value)

    def _per_head(self, x, name):
        return nn.Dense(self.heads, use_bias=False, dtype=x.dtype, name=name)(x).astype(jnp.float32)

    def _mix(self, past, x, start):
        """Return the new inputs of the convolution, and q̃, k̃, ṽ [T, B, heads, ...]."""
        sizes = (self.head_dim, self.head_dim, self._value_dim())
        mixed = linear_attention.project_heads(x, self.heads, sum(sizes), "query_key_value")
        if past:
            flat = mixed.reshape(*x.shape[:2], -1)
            bound = self.convolution**-0.5
            uniform = nn.initializers.uniform(2 * bound)
            shape = self.convolution, flat.shape[-1]
            kernel = self.param("kernel", lambda key: uniform(key, shape, jnp.float32) - bound)
            tail, flat = causal_convolution(past[0], flat, start, kernel)
            past, mixed = [tail], flat.reshape(mixed.shape)
        mixed = nn.silu(mixed)
        return past, *jnp.split(mixed, (sizes[0], sizes[0] + sizes[1]), axis=-1)

    def _log_decay(self, x):
        """Return log α, float32[T, B, heads]."""

        def draw_rate(key, shape):
            return jnp.log(jax.random.uniform(key, shape, jnp.float32, minval=1e-4, maxval=16.0))

        def draw_shift(key, shape):
            if self.init_horizon:
                step = 1.0 / (decay_rate * time_scales.time_constants(*shape, self.init_horizon))
            else:
                low, high = jnp.log(jnp.array([1e-3, 0.1], jnp.float32))
                step = jnp.exp(jax.random.uniform(key, shape, jnp.float32, minval=low, maxval=high))
            return step + jnp.log(-jnp.expm1(-step))  # the inverse of softplus

        decay_rate = jnp.exp(self.param("A_log", draw_rate, (self.heads,)))
        shift = self.param("dt_bias", draw_shift, (self.heads,))
        return -decay_rate[None, None] * nn.softplus(self._per_head(x, "decay") + shift[None, None])
