"""The minimal long short-term memory (Feng et al. 2024, arXiv 2410.01201)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, project_states, scan, time_scales


class MinLSTM(Memory):
    """A gated recurrence with two normalised gates that depend on the current input only.

        f = sigmoid(W_f xₜ + b_f)      i = sigmoid(W_i xₜ + b_i)      cₜ = W_c xₜ + b_c
        f' = f / (f + i)               i' = i / (f + i)
        hₜ = f' ⊙ hₜ₋₁ + i' ⊙ cₜ
        yₜ = hₜ                        or W_o hₜ + b_o where `states` is set

    The quotients are computed as f' = sigmoid(-δ) and i' = sigmoid(δ), with δ = log i - log f = softplus(-f̃) -
    softplus(-ĩ) from the logits f̃ and ĩ, which avoids 0 / 0 at two closed gates. As in `MinGRU` the candidate is linear
    and may have either sign.

    Horizon at initialisation: relative gradient 8e-10 at k = 32, since f' starts near 1/2.

    Attributes:
      states: N, the size of h; 0 for the width. The carry takes 4 N bytes per environment.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for b_f = b_i = 0.
        With b_i = -b_f the quotient f' is sigmoid(b_f) at zero input.
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
        forget_gate, input_gate, candidate = (
            nn.Dense(states, dtype=x.dtype, bias_init=self._bias(sign), name=name)(x).astype(jnp.float32)
            for name, sign in (("forget_gate", 1), ("input_gate", -1), ("candidate", 0))
        )
        delta = nn.softplus(-forget_gate) - nn.softplus(-input_gate)
        hidden = scan.linear_scan(nn.sigmoid(-delta), nn.sigmoid(delta) * candidate, start, carry, self.form)
        return hidden[-1], project_states(self, hidden, x.dtype)

    def _bias(self, sign: int):
        """Return the initialiser of a bias: `sign` times that of the forget gate."""
        if not (self.init_horizon and sign):
            return nn.initializers.zeros
        return lambda key, shape, dtype: sign * jnp.asarray(time_scales.forget_bias(*shape, self.init_horizon), dtype)
