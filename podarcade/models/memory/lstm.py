"""Long Short-Term Memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, project_states, time_scales
from podarcade.models.memory.sequential import orthogonal_blocks, sequential_scan
from podarcade.ranges import Range

Cell = tuple[jax.Array, jax.Array]


class LSTM(Memory):
    """A gated cell whose gates depend on the state, computed step by step.

        iₜ, fₜ, oₜ = σ(W_i xₜ + b_i + U_i hₜ₋₁), σ(W_f xₜ + b_f + U_f hₜ₋₁ + forget_bias), σ(W_o xₜ + b_o + U_o hₜ₋₁)
        gₜ = tanh(W_g xₜ + b_g + U_g hₜ₋₁)
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
        hₜ = oₜ ⊙ tanh(cₜ),        yₜ = hₜ

    The products with x are computed for all times at once. W is LeCun-normal, each U orthogonal, b zero.

    Horizon at initialisation: relative gradient 1e-3 at k = 32, 7e-12 at k = 128.

    Attributes:
      states: size of c and of h, 8 bytes of carry each; 0 for the width, otherwise yₜ = W_y hₜ + b_y.
      forget_bias: positive values lengthen the initial horizon (Jozefowicz et al. 2015).
      init_horizon: longest initial time constant in steps (`time_scales`), which sets b_f + forget_bias and b_i =
        -(b_f + forget_bias); 0 for b_f = b_i = 0.
    """

    SIZE: ClassVar[str] = "states"
    RANGES: ClassVar[dict[str, Range]] = {"forget_bias": Range(-100, 100)}

    states: int = 0
    forget_bias: float = 1.0
    init_horizon: float = 0.0

    def initial(self, batch: int) -> Cell:
        """Return (h₀, c₀) = 0, float32[batch, states] each."""
        shape = (batch, self.states or self.width)
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)

    @nn.compact
    def __call__(self, carry: Cell, x: jax.Array, start: jax.Array) -> tuple[Cell, jax.Array]:
        """Map ((h, c), x [T, B, width], start [T, B]) to ((h, c), y [T, B, width])."""
        states = self.states or self.width
        driven = nn.Dense(4 * states, dtype=x.dtype, bias_init=self._draw_bias, name="input")(x).astype(jnp.float32)
        recurrent = self.param("recurrent", orthogonal_blocks, (states, 4 * states))

        def step(cell, driven, product):
            _, c = cell
            write, keep, candidate, read = jnp.split(driven + product, 4, axis=-1)
            c = nn.sigmoid(keep) * c + nn.sigmoid(write) * jnp.tanh(candidate)
            h = nn.sigmoid(read) * jnp.tanh(c)
            return (h, c), h

        biases = jnp.zeros(4 * states, jnp.float32).at[states : 2 * states].set(self.forget_bias)
        carry, hidden = sequential_scan(step, carry, driven, start, recurrent, biases)
        return carry, project_states(self, hidden, x.dtype)

    def _draw_bias(self, key, shape, dtype=jnp.float32):
        bias = jnp.zeros(shape, dtype)
        if not self.init_horizon:
            return bias
        states = shape[0] // 4
        keep = time_scales.forget_bias(states, self.init_horizon)
        return bias.at[:states].set(-keep).at[states : 2 * states].set(keep - self.forget_bias)
