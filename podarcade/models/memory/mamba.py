"""Mamba's selective state space (Gu and Dao 2023, arXiv 2312.00752)."""

import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, scan, time_scales
from podarcade.models.memory.windowed_attention import causal_convolution

SEGMENT = 64  # steps whose states, `states` times larger than their inputs, are in memory together


class Mamba(Memory):
    """N states for each of E features, with input-dependent step size Δ, input matrix B and output matrix C.

        [u, z] = W xₜ                                      u ← silu(conv(u)), depthwise, over the last k steps
        [d, B, C] = W_u u                                  Δ = softplus(W_Δ d + b_Δ)
        hₜ = exp(Δ A) ⊙ hₜ₋₁ + (Δ ⊙ u) Bᵀ                  h in Rᴱˣᴺ,  A = -exp(α)
        yₜ = W_o ((hₜ C + D ⊙ u) ⊙ silu(z))

    This is Mamba-1: A is discretised by zero-order hold, B by Euler's rule. At initialisation A = -(1..N) for every
    feature, D = 1, and b_Δ makes Δ log-uniform on [1e-3, 0.1]. The backward pass rematerialises the states.

    Horizon at initialisation: relative gradient 1e-3 at k = 32, 3e-4 at k = 128. The slowest states of a feature have
    time constants of 10 to 1000 steps, so little is forgotten; but little is written, since Δ scales what enters h,
    while D ⊙ u passes in full.

    Attributes:
      inner: E, the inner width; 0 for twice the width.
      states: N, states per feature; the carry takes 4 E (N + k - 1) bytes per environment.
      convolution: k, length of the convolution, including the current step.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the Δ above. Δ = 1/τ at zero input
        gives the slowest state of a feature the time constant τ, the n-th one n times shorter.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "inner"

    inner: int = 0
    states: int = 16
    convolution: int = 4
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> tuple[jax.Array, jax.Array]:
        """Return h₀ = 0, float32[batch, inner, states], and zeros, float32[batch, convolution - 1, inner]."""
        if self.convolution < 2:
            raise ValueError(f"memory.convolution={self.convolution}; expected >= 2")
        inner = self.inner or 2 * self.width
        hidden = jnp.zeros((batch, inner, self.states), jnp.float32)
        return hidden, jnp.zeros((batch, self.convolution - 1, inner), jnp.float32)

    @nn.compact
    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """Map ((h, past), x [T, B, width], start [T, B]) to ((h, past), y [T, B, width])."""
        hidden, past = carry
        inner, rank, dtype = self.inner or 2 * self.width, math.ceil(self.width / 16), x.dtype
        u, z = jnp.split(nn.Dense(2 * inner, use_bias=False, dtype=dtype, name="enter")(x), 2, axis=-1)
        kernel = self.param("kernel", _uniform(self.convolution**-0.5), (self.convolution, inner), jnp.float32)
        kernel_bias = self.param("kernel_bias", _uniform(self.convolution**-0.5), (inner,), jnp.float32)
        past, u = causal_convolution(past, u, start, kernel, kernel_bias)
        u = nn.silu(u)

        selected = nn.Dense(rank + 2 * self.states, use_bias=False, dtype=dtype, name="choose")(u.astype(dtype))
        low_rank, B, C = jnp.split(selected, (rank, rank + self.states), axis=-1)
        options = {"kernel_init": _uniform(rank**-0.5), "bias_init": self._draw_step_bias}
        step = nn.Dense(inner, dtype=dtype, name="step", **options)(low_rank)
        step = nn.softplus(step.astype(jnp.float32))
        rates = np.log(np.tile(np.arange(1.0, self.states + 1), (inner, 1)))
        log_rate = self.param("log_rate", lambda key: jnp.asarray(rates, jnp.float32))

        inputs = (step, u, B.astype(jnp.float32), C.astype(jnp.float32), start)
        body = functools.partial(_scan_segment, -jnp.exp(log_rate), self.form)
        hidden, y = scan.checkpointed_scan(body, hidden, inputs, SEGMENT)
        D = self.param("D", nn.initializers.ones, (inner,), jnp.float32)
        y = (y + D[None, None] * u) * nn.silu(z.astype(jnp.float32))
        y = nn.Dense(self.width, use_bias=False, dtype=dtype, name="out")(y.astype(dtype))
        return (hidden, past), y

    def _draw_step_bias(self, key, shape, dtype=jnp.float32):
        if self.init_horizon:
            step = 1.0 / time_scales.time_constants(*shape, self.init_horizon)
        else:
            step = jnp.exp(jax.random.uniform(key, shape, dtype, minval=math.log(1e-3), maxval=math.log(0.1)))
        return jnp.log(jnp.expm1(step)).astype(dtype)  # the inverse of softplus


def _scan_segment(A: jax.Array, form: str, hidden: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
    """Run the states over a segment of time; Δ = 0 leaves them unchanged."""
    step, u, B, C, start = inputs
    decay = jnp.exp(step[..., None] * A[None, None])
    drive = (step * u)[..., None] * B[:, :, None]
    states = scan.linear_scan(decay, drive, start, hidden, form)
    return states[-1], jnp.sum(states * C[:, :, None], axis=-1)


def _uniform(scale):
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, minval=-scale, maxval=scale)
