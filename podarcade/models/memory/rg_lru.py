"""The real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv 2402.19427)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, scan


class RGLRU(Memory):
    """A real diagonal recurrence whose decay is gated by the input, and whose input is scaled to keep h's variance.

        rₜ = sigmoid(W_a xₜ + b_a)       iₜ = sigmoid(W_i xₜ + b_i)
        aₜ = exp(-8 softplus(p) ⊙ rₜ)                                      0 < a < 1
        hₜ = aₜ ⊙ hₜ₋₁ + √(1 - aₜ²) ⊙ iₜ ⊙ (W_x xₜ + b_x)
        yₜ = hₜ                          or W_o hₜ + b_o where `states` are given

    At first the decay of an open gate (r = 1) has a square that is uniform on [minimum_radius², maximum_radius²].

    What differs from the paper: the gates' matrices are dense, not block-diagonal; and a start does not set the factor
    √(1 - a²) to 1, because a start here equals a sequence that begins with a carry of zeros. Everything is computed
    from log a, held below -2.5e-7: h then always decays, and the root's derivative is below 1000, the paper's
    own bound, because 1 - a² does not fall under 5e-7.

    Attributes:
      states: N, the size of h; 0 for the width. 4 N bytes of carry per environment.
      minimum_radius: of a at an open gate at the start of training.
      maximum_radius: of a at an open gate at the start of training; near 1 remembers longer.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    minimum_radius: float = 0.9
    maximum_radius: float = 0.999
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(h, x [T, B, width], start [T, B]) -> (h, y [T, B, width])."""
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
        y = hidden.astype(x.dtype)
        if self.states:
            y = nn.Dense(self.width, dtype=x.dtype, name="out")(y)
        return hidden[-1], y

    def _draw_p(self, key, shape):
        low, high = self.minimum_radius**2, self.maximum_radius**2
        rate = -0.5 * jnp.log(jax.random.uniform(key, shape, minval=low, maxval=high)) / 8.0
        return jnp.log(jnp.expm1(rate))  # the inverse of softplus
