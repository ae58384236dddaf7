"""Mamba's selective state space (Gu and Dao 2023, arXiv 2312.00752)."""

import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, scan
from podarcade.models.memory.windowed_attention import causal_convolution

STRETCH = 64  # steps whose states, `states` times larger than their inputs, are held at once


class Mamba(Memory):
    """N states for each of E features, with a step size, an input and a read-out chosen by the input.

        [u, z] = W xₜ                                      u ← silu(conv(u)), over the last k steps, feature by feature
        [d, B, C] = W_u u                                  Δ = softplus(W_Δ d + b_Δ)
        hₜ = exp(Δ A) ⊙ hₜ₋₁ + (Δ ⊙ u) Bᵀ                  h in Rᴱˣᴺ,  A = -exp(α)
        yₜ = W_o ((hₜ C + D ⊙ u) ⊙ silu(z))

    This is Mamba-1: A is discretised exactly, B by Euler's rule. At first A = -(1..N) for every feature, D = 1, and
    b_Δ makes Δ log-uniform on [1e-3, 0.1]. The states of a stretch of time are computed again when gradients come back.

    Attributes:
      inner: E, number of features inside; 0 for twice the width.
      states: N, states of a feature; 4 E (N + k - 1) bytes of carry per environment.
      convolution: k, steps that the convolution sees.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "inner"

    inner: int = 0
    states: int = 16
    convolution: int = 4
    form: str = "auto"

    def initial(self, batch: int) -> tuple[jax.Array, jax.Array]:
        """h₀ = 0 and no steps for the convolution: float32[batch, inner, states], [batch, convolution - 1, inner]."""
        if self.convolution < 2:
            raise ValueError(f"convolution={self.convolution}; it sees 2 steps or more")
        inner = self.inner or 2 * self.width
        return jnp.zeros((batch, inner, self.states)), jnp.zeros((batch, self.convolution - 1, inner))

    @nn.compact
    def __call__(self, carry: tuple, x: jax.Array, start: jax.Array) -> tuple[tuple, jax.Array]:
        """((h, steps before), x [T, B, width], start [T, B]) -> (carry, y [T, B, width])."""
        hidden, before = carry
        inner, rank, dtype = self.inner or 2 * self.width, math.ceil(self.width / 16), x.dtype
        u, z = jnp.split(nn.Dense(2 * inner, use_bias=False, dtype=dtype, name="enter")(x), 2, axis=-1)
        kernel = self.param("kernel", _uniform(self.convolution**-0.5), (self.convolution, inner))
        kernel_bias = self.param("kernel_bias", _uniform(self.convolution**-0.5), (inner,))
        before, u = causal_convolution(before, u, start, kernel, kernel_bias)
        u = nn.silu(u)

        chosen = nn.Dense(rank + 2 * self.states, use_bias=False, dtype=dtype, name="choose")(u.astype(dtype))
        small, into, out = jnp.split(chosen, (rank, rank + self.states), axis=-1)
        to_step = nn.Dense(inner, dtype=dtype, kernel_init=_uniform(rank**-0.5), bias_init=_draw_step_bias, name="step")
        step = nn.softplus(to_step(small).astype(jnp.float32))
        rates = np.log(np.tile(np.arange(1.0, self.states + 1), (inner, 1)))
        log_rate = self.param("log_rate", lambda key: jnp.asarray(rates, jnp.float32))

        inputs = (step, u, into.astype(jnp.float32), out.astype(jnp.float32), start)
        body = functools.partial(_stretch, -jnp.exp(log_rate), self.form)
        hidden, y = scan.in_chunks(body, hidden, inputs, STRETCH)
        y = (y + self.param("D", nn.initializers.ones, (inner,))[None, None] * u) * nn.silu(z.astype(jnp.float32))
        y = nn.Dense(self.width, use_bias=False, dtype=dtype, name="out")(y.astype(dtype))
        return (hidden, before), y


def _stretch(rate: jax.Array, form: str, hidden: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
    """Runs the states over a stretch of time; where Δ is 0 they stay as they are."""
    step, u, into, out, start = inputs
    decay = jnp.exp(step[..., None] * rate[None, None])
    drive = (step * u)[..., None] * into[:, :, None]
    states = scan.linear_scan(decay, drive, start, hidden, form)
    return states[-1], jnp.sum(states * out[:, :, None], axis=-1)


def _uniform(scale):
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, minval=-scale, maxval=scale)


def _draw_step_bias(key, shape, dtype=jnp.float32):
    step = jnp.exp(jax.random.uniform(key, shape, dtype, minval=math.log(1e-3), maxval=math.log(0.1)))
    return jnp.log(jnp.expm1(step))  # the inverse of softplus
