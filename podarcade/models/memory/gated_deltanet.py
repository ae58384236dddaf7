"""Gated DeltaNet (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, linear_attention
from podarcade.models.memory.windowed_attention import causal_convolution

Carry = tuple[jax.Array, ...]


class GatedDeltaNet(Memory):
    """The delta rule with a decay: writing replaces what the key held, and all of it fades when a gate says so.

        q̃, k̃, ṽ = SiLU(conv(W xₜ))                           over the last `convolution` steps, feature by feature
        qₜ = d_k^(-½) q̃ / |q̃|,  kₜ = k̃ / |k̃|,  vₜ = ṽ
        βₜ = sigmoid(W_b xₜ),  log αₜ = -A softplus(W_a xₜ + δ)
        Sₜ = αₜ (I - βₜ kₜ kₜᵀ) Sₜ₋₁ + βₜ kₜ vₜᵀ             per head, in R^(d_k × d_v)
        yₜ = out(RMSNorm(Sₜᵀ qₜ) ⊙ SiLU(W_g xₜ))             the norm over each head

    As in the paper's code A begins uniform on (0, 16] and softplus(δ) log-uniform on [0.001, 0.1], and no projection
    has a bias; here the last one has. The heads are smaller than there (64, not 256), and d_v = d_k by default, as a
    carry is kept for every environment.

    Attributes:
      heads: number of heads.
      head_dim: d_k; 4 heads d_k d_v bytes of carry per environment, without the convolution's.
      expand_value: d_v / d_k.
      convolution: steps that the short convolution sees, the present one included; 0 or 1 for none. It carries
        4 heads (2 d_k + d_v) bytes for every step before the present one.
      negative_eigenvalues: βₜ = 2 sigmoid(...), so that a write may turn what a key held round
        (Grazzi et al. 2024, arXiv 2411.12537).
      form: one of FORMS, or "auto".
    """

    FORMS: ClassVar[tuple[str, ...]] = linear_attention.FORMS
    SIZE: ClassVar[str] = "head_dim"

    heads: int = 4
    head_dim: int = 64
    expand_value: float = 1.0
    convolution: int = 4
    negative_eigenvalues: bool = False
    form: str = "auto"

    def initial(self, batch: int) -> Carry:
        """S₀ = 0, float32[batch, heads, d_k, d_v], and the past of the convolution if there is one."""
        state = jnp.zeros((batch, self.heads, self.head_dim, self._value_dim()))
        if self.convolution < 2:
            return (state,)
        return state, jnp.zeros((batch, self.convolution - 1, self.heads * (2 * self.head_dim + self._value_dim())))

    @nn.compact
    def __call__(self, carry: Carry, x: jax.Array, start: jax.Array) -> tuple[Carry, jax.Array]:
        """((S, past), x [T, B, width], start [T, B]) -> ((S, past), y [T, B, width])."""
        state, *past = carry
        past, query, key, value = self._mix(past, x, start)
        rate = nn.sigmoid(self._per_head(x, "rate"))
        rate = 2.0 * rate if self.negative_eigenvalues else rate
        state, y = linear_attention.matrix_memory(
            linear_attention.unit(query) * self.head_dim**-0.5,
            linear_attention.unit(key),
            value,
            start,
            state,
            log_decay=self._log_decay(x),
            rate=rate,
            form=self.form,
        )
        gate = nn.silu(linear_attention.heads_of(x, self.heads, self._value_dim(), "gate"))
        y = nn.RMSNorm(epsilon=1e-5, name="norm")(y) * gate
        return (state, *past), linear_attention.merge(y, self.width, x.dtype)

    def _value_dim(self) -> int:
        return round(self.head_dim * self.expand_value)

    def _per_head(self, x, name):
        return nn.Dense(self.heads, use_bias=False, dtype=x.dtype, name=name)(x).astype(jnp.float32)

    def _mix(self, past, x, start):
        """q̃, k̃, ṽ [T, B, heads, ...], and what the convolution has to remember."""
        sizes = (self.head_dim, self.head_dim, self._value_dim())
        mixed = linear_attention.heads_of(x, self.heads, sum(sizes), "query_key_value")
        if past:
            flat = mixed.reshape(*x.shape[:2], -1)
            bound = self.convolution**-0.5
            uniform = nn.initializers.uniform(2 * bound)
            kernel = self.param(
                "kernel", lambda key, shape: uniform(key, shape) - bound, (self.convolution, flat.shape[-1])
            )
            tail, flat = causal_convolution(past[0], flat, start, kernel)
            past, mixed = [tail], flat.reshape(mixed.shape)
        mixed = nn.silu(mixed)
        return past, *jnp.split(mixed, (sizes[0], sizes[0] + sizes[1]), axis=-1)

    def _log_decay(self, x):
        """log α, float32[T, B, heads]."""

        def draw_rate(key, shape):
            return jnp.log(jax.random.uniform(key, shape, minval=1e-4, maxval=16.0))

        def draw_shift(key, shape):
            step = jnp.exp(jax.random.uniform(key, shape, minval=jnp.log(1e-3), maxval=jnp.log(0.1)))
            return step + jnp.log(-jnp.expm1(-step))  # the inverse of softplus

        rate = jnp.exp(self.param("A_log", draw_rate, (self.heads,)))
        shift = self.param("dt_bias", draw_shift, (self.heads,))
        return -rate[None, None] * nn.softplus(self._per_head(x, "decay") + shift[None, None])
