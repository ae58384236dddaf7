"""The minimal gated recurrent unit (Feng et al. 2024, arXiv 2410.01201)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, project_states, scan, time_scales


class MinGRU(Memory):
    """A gated recurrence whose gate and candidate depend on the current input only, computed by a linear scan.

        zₜ = sigmoid(W_z xₜ + b_z)
        cₜ = W_c xₜ + b_c
        hₜ = (1 - zₜ) ⊙ hₜ₋₁ + zₜ ⊙ cₜ
        yₜ = hₜ                             or W_o hₜ + b_o where `states` is set

    The candidate is linear and may have either sign. The paper's log-space form is another function (h > 0) and is not
    needed here: 1 - z ≤ 1, and a product of such factors may underflow without harm.

    Horizon at initialisation: relative gradient 3e-10 at k = 32, since the gate starts near 1/2 and halves the state at
    every step.

    Attributes:
      states: N, the size of h; 0 for the width. The carry takes 4 N bytes per environment.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for b_z = 0.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """Return h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (h, x [T, B, width], start [T, B]) to (h, y [T, B, width])."""
        states = self.states or self.width
        gate = nn.Dense(states, dtype=x.dtype, bias_init=self._draw_bias, name="gate")(x).astype(jnp.float32)
        candidate = nn.Dense(states, dtype=x.dtype, name="candidate")(x).astype(jnp.float32)
        # sigmoid(-u) is 1 - sigmoid(u) without the cancellation at open gates.
        hidden = scan.linear_scan(nn.sigmoid(-gate), nn.sigmoid(gate) * candidate, start, carry, self.form)
        return hidden[-1], project_states(self, hidden, x.dtype)

    def _draw_bias(self, key, shape, dtype=jnp.float32):
        if not self.init_horizon:
            return jnp.zeros(shape, dtype)
        return jnp.asarray(-time_scales.forget_bias(shape[0], self.init_horizon), dtype)
