"""The minimal long short-term memory (Feng et al. 2024, arXiv 2410.01201)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, scan


class MinLSTM(Memory):
    """Two gates that see the present input only, made to sum to one.

        f = sigmoid(W_f xₜ + b_f)      i = sigmoid(W_i xₜ + b_i)      cₜ = W_c xₜ + b_c
        f' = f / (f + i)               i' = i / (f + i)
        hₜ = f' ⊙ hₜ₋₁ + i' ⊙ cₜ
        yₜ = hₜ                        or W_o hₜ + b_o where `states` are given

    The quotients are f' = sigmoid(-δ) and i' = sigmoid(δ) with δ = log i - log f = softplus(-f̃) - softplus(-ĩ) of the
    gates' logits f̃ and ĩ: two closed gates are then not 0 / 0. As in `MinGRU` the candidate is linear and free in sign.

    Attributes:
      states: N, the size of h; 0 for the width. 4 N bytes of carry per environment.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    form: str = "auto"

    def initial(self, batch: int) -> jax.Array:
        """h₀ = 0, float32[batch, states]."""
        return jnp.zeros((batch, self.states or self.width))

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(h, x [T, B, width], start [T, B]) -> (h, y [T, B, width])."""
        states = self.states or self.width
        forget, enter, candidate = (
            nn.Dense(states, dtype=x.dtype, name=name)(x).astype(jnp.float32)
            for name in ("forget_gate", "input_gate", "candidate")
        )
        surplus = nn.softplus(-forget) - nn.softplus(-enter)
        hidden = scan.linear_scan(nn.sigmoid(-surplus), nn.sigmoid(surplus) * candidate, start, carry, self.form)
        y = hidden.astype(x.dtype)
        if self.states:
            y = nn.Dense(self.width, dtype=x.dtype, name="out")(y)
        return hidden[-1], y
