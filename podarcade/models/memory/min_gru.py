"""The minimal gated recurrent unit (Feng et al. 2024, arXiv 2410.01201)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, scan


class MinGRU(Memory):
    """A gated recurrence whose gate and candidate see the present input only, so that time is a scan.

        zₜ = sigmoid(W_z xₜ + b_z)
        cₜ = W_c xₜ + b_c
        hₜ = (1 - zₜ) ⊙ hₜ₋₁ + zₜ ⊙ cₜ
        yₜ = hₜ                             or W_o hₜ + b_o where `states` are given

    The candidate is linear and free in sign. The paper's form in the space of logarithms is another function (h > 0)
    and is not needed here: 1 - z ≤ 1, and a product of them that underflows is harmless.

    Without `chrono` a gate begins near 1/2, which halves what is remembered at every step. With it
    b_z = -log U(1, chrono - 1), so that memories at first last up to about `chrono` steps
    (Tallec and Ollivier 2018, arXiv 1804.11188).

    Attributes:
      states: N, the size of h; 0 for the width. 4 N bytes of carry per environment.
      chrono: the longest memory in steps to begin with; 0 for a bias of zero.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    chrono: int = 0
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(h, x [T, B, width], start [T, B]) -> (h, y [T, B, width])."""
        states = self.states or self.width
        gate = nn.Dense(states, dtype=x.dtype, bias_init=self._gate_bias, name="gate")(x).astype(jnp.float32)
        candidate = nn.Dense(states, dtype=x.dtype, name="candidate")(x).astype(jnp.float32)
        # sigmoid(-u) is 1 - sigmoid(u) without the cancellation at open gates.
        hidden = scan.linear_scan(nn.sigmoid(-gate), nn.sigmoid(gate) * candidate, start, carry, self.form)
        y = hidden.astype(x.dtype)
        if self.states:
            y = nn.Dense(self.width, dtype=x.dtype, name="out")(y)
        return hidden[-1], y

    def _gate_bias(self, key, shape, dtype=jnp.float32):
        if self.chrono == 0:
            return jnp.zeros(shape, dtype)
        if self.chrono < 3:
            raise ValueError(f"chrono={self.chrono}; there is 0 for off, or a number of steps from 3 on")
        return -jnp.log(jax.random.uniform(key, shape, dtype, minval=1.0, maxval=self.chrono - 1.0))
