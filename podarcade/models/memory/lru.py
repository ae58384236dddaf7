"""The Linear Recurrent Unit (Orvieto et al. 2023, arXiv 2303.06349)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, scan
from podarcade.models.memory.scan import Number, linear_scan


class LRU(Memory):
    """A diagonal complex linear recurrence, stable by construction.

        λ  = exp(-exp(ν) + i exp(θ))                    |λ| < 1
        hₜ = λ ⊙ hₜ₋₁ + exp(g) ⊙ (B xₜ)                 h in Cᴺ
        yₜ = Re(C hₜ) + D ⊙ xₜ

    with real parameters only. At first |λ|² is uniform on [minimum_radius², maximum_radius²], the
    phase uniform on [0, maximum_phase], and exp(g) = √(1 - |λ|²) (section 3.3 and appendix A of the
    paper, whose own range of radii is [0, 1]).

    Attributes:
      states: N, number of complex states, 0 for as many as the width; 8 N bytes of carry per environment.
      minimum_radius: of λ at the start of training; near 1 remembers longer.
      maximum_radius: of λ at the start of training.
      maximum_phase: of λ at the start of training, in radians.
      form: of the scan.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    minimum_radius: float = 0.5
    maximum_radius: float = 0.999
    maximum_phase: float = 6.2832
    form: str = "auto"

    def initial(self, batch: int) -> Number:
        """h₀ = 0, as real and imaginary part, float32[batch, N]."""
        shape = (batch, self.states or self.width)
        return jnp.zeros(shape), jnp.zeros(shape)

    @nn.compact
    def __call__(self, carry: Number, x: jax.Array, start: jax.Array) -> tuple[Number, jax.Array]:
        """(h, x [T, B, width], start [T, B]) -> (h, y [T, B, width])."""
        dtype, x = x.dtype, x.astype(jnp.float32)
        states = self.states or self.width
        decay, gain = self._decay(states)
        to_state = nn.initializers.normal((2 * self.width) ** -0.5)
        from_state = nn.initializers.normal(states**-0.5)
        shape = (self.width, states)
        drive = tuple(gain * (x @ self.param(f"B_{part}", to_state, shape)) for part in ("real", "imaginary"))
        hidden = linear_scan(decay, drive, start, carry, self.form)
        read_real = self.param("C_real", from_state, shape[::-1])
        read_imaginary = self.param("C_imaginary", from_state, shape[::-1])
        skip = self.param("D", nn.initializers.normal(1.0), (self.width,))
        y = hidden[0] @ read_real - hidden[1] @ read_imaginary + _lead(skip) * x
        return tuple(part[-1] for part in hidden), y.astype(dtype)

    def _decay(self, states: int) -> tuple[Number, jax.Array]:
        """λ as a pair, and the gain exp(g), float32[1, 1, N]."""

        def draw_nu(key, shape):
            low, high = self.minimum_radius**2, self.maximum_radius**2
            radius_squared = jax.random.uniform(key, shape, minval=max(low, 1e-6), maxval=high)
            return jnp.log(-0.5 * jnp.log(radius_squared))

        def draw_theta(key, shape):
            return jnp.log(self.maximum_phase * jax.random.uniform(key, shape, minval=1e-4))

        nu = self.param("nu", draw_nu, (states,))
        theta = self.param("theta", draw_theta, (states,))
        # Below 1e-7 the radius would round to 1 in float32 and the recurrence would never forget.
        rate = jnp.maximum(jnp.exp(nu), 1e-7)
        gain = self.param("g", lambda key, shape: 0.5 * jnp.log(-jnp.expm1(-2.0 * rate)), (states,))
        radius, phase = jnp.exp(-rate), jnp.exp(theta)
        return _lead((radius * jnp.cos(phase), radius * jnp.sin(phase))), _lead(jnp.exp(gain))


def _lead(x):
    """Puts axes of time and batch in front."""
    return jax.tree.map(lambda part: part[None, None], x)
