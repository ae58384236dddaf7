"""The real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv 2402.19427)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, project_states, scan, time_scales


class RGLRU(Memory):
    """A real diagonal recurrence with an input-gated decay, and an input scaled to preserve the variance of h.

        rₜ = sigmoid(W_a xₜ + b_a)       iₜ = sigmoid(W_i xₜ + b_i)
        aₜ = exp(-8 softplus(p) ⊙ rₜ)                                      0 < a < 1
        hₜ = aₜ ⊙ hₜ₋₁ + √(1 - aₜ²) ⊙ iₜ ⊙ (W_x xₜ + b_x)
        yₜ = hₜ                          or W_o hₜ + b_o where `states` is set

    At initialisation the decay a of an open gate (r = 1) has a² uniform on [minimum_radius², maximum_radius²].

    Differences from the paper: the gate matrices are dense, not block-diagonal; and a start does not set the factor
    √(1 - a²) to 1, because a start here equals a sequence from a zero carry. All terms are computed from log a, clipped
    to at most -2.5e-7: h then always decays, and since 1 - a² >= 5e-7 the derivative of the root stays below 1000, the
    paper's own bound.

    Horizon at initialisation: relative gradient 5e-1 at k = 32, 1e-1 at k = 128.

    Attributes:
      states: N, the size of h; 0 for the width. The carry takes 4 N bytes per environment.
      minimum_radius: lower bound of a at an open gate, at initialisation.
      maximum_radius: upper bound of a at an open gate, at initialisation; near 1 for a long horizon.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the radii
        above. These time constants are those at zero input, where r = 1/2.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    minimum_radius: float = 0.9
    maximum_radius: float = 0.999
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """Return h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width), jnp.float32)

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (h, x [T, B, width], start [T, B]) to (h, y [T, B, width])."""
        states = self.states or self.width
        decay_gate, input_gate, value = (
            nn.Dense(states, dtype=x.dtype, name=name)(x).astype(jnp.float32)
            for name in ("decay_gate", "input_gate", "value")
        )
        rate = 8.0 * nn.softplus(self.param("p", self._draw_p, (states,)))
        log_decay = jnp.minimum(-rate[None, None] * nn.sigmoid(decay_gate), -2.5e-7)
        scale = jnp.sqrt(-jnp.expm1(2.0 * log_decay))
        drive = scale * nn.sigmoid(input_gate) * value
        hidden = scan.linear_scan(jnp.exp(log_decay), drive, start, carry, self.form)
        return hidden[-1], project_states(self, hidden, x.dtype)

    def _draw_p(self, key, shape):
        if self.init_horizon:
            rate = 0.25 / time_scales.time_constants(*shape, self.init_horizon)
        else:
            low, high = self.minimum_radius**2, self.maximum_radius**2
            rate = -0.5 * jnp.log(jax.random.uniform(key, shape, jnp.float32, minval=low, maxval=high)) / 8.0
        return jnp.log(jnp.expm1(rate))  # the inverse of softplus
