"""The Gated Recurrent Unit (Cho et al. 2014, arXiv 1406.1078)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, project_states, time_scales
from podarcade.models.memory.sequential import orthogonal_blocks, sequential_scan


class GRU(Memory):
    """A nonlinear recurrence whose gates depend on the state, computed step by step.

        rₜ = σ(W_r xₜ + b_r + U_r hₜ₋₁)
        zₜ = σ(W_z xₜ + b_z + U_z hₜ₋₁)
        nₜ = tanh(W_n xₜ + b_n + rₜ ⊙ (U_n hₜ₋₁ + c))
        hₜ = (1 - zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁,        yₜ = hₜ

    As in cuDNN and flax, the reset gate acts after the product with U_n; in the paper it acts before. Each step then
    needs a single matrix product, and the products with x are computed for all times at once. W is LeCun-normal, each
    U orthogonal.

    Horizon at initialisation: relative gradient 8e-7 at k = 32, 5e-24 at k = 128.

    Attributes:
      states: size of h, 4 bytes of carry each; 0 for the width, otherwise yₜ = W_y hₜ + b_y.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for b_z = 0.
    """

    SIZE: ClassVar[str] = "states"

    states: int = 0
    init_horizon: float = 0.0

    def initial(self, batch: int) -> jax.Array:
        """Return h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (h, x [T, B, width], start [T, B]) to (h, y [T, B, width])."""
        states = self.states or self.width
        driven = nn.Dense(3 * states, dtype=x.dtype, bias_init=self._draw_bias, name="input")(x).astype(jnp.float32)
        recurrent = self.param("recurrent", orthogonal_blocks, (states, 3 * states))
        bias = self.param("candidate_bias", nn.initializers.zeros, (states,), jnp.float32)

        def step(h, driven, product):
            reset, keep, candidate = jnp.split(driven, 3, axis=-1)
            from_reset, from_keep, from_candidate = jnp.split(product, 3, axis=-1)
            keep = nn.sigmoid(keep + from_keep)
            candidate = jnp.tanh(candidate + nn.sigmoid(reset + from_reset) * from_candidate)
            h = (1.0 - keep) * candidate + keep * h
            return h, h

        biases = jnp.concatenate([jnp.zeros(2 * states, jnp.float32), bias])
        carry, hidden = sequential_scan(step, carry, driven, start, recurrent, biases)
        return carry, project_states(self, hidden, x.dtype)

    def _draw_bias(self, key, shape, dtype=jnp.float32):
        bias = jnp.zeros(shape, dtype)
        if not self.init_horizon:
            return bias
        states = shape[0] // 3
        return bias.at[states : 2 * states].set(time_scales.forget_bias(states, self.init_horizon))
