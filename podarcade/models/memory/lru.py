"""The Linear Recurrent Unit (Orvieto et al. 2023, arXiv 2303.06349)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory import Memory, scan, time_scales
from podarcade.models.memory.scan import Number, linear_scan


class LRU(Memory):
    """A diagonal complex linear recurrence, stable by construction.

        λ  = exp(-exp(ν) + i exp(θ))                    |λ| < 1
        hₜ = λ ⊙ hₜ₋₁ + exp(g) ⊙ (B xₜ)                 h in Cᴺ
        yₜ = Re(C hₜ) + D ⊙ xₜ

    All parameters are real. At initialisation |λ|² is uniform on [minimum_radius², maximum_radius²], the phase uniform
    on [0, maximum_phase], and exp(g) = √(1 - |λ|²) (section 3.3 and appendix A of the paper, whose default range of
    radii is [0, 1]; ours gives a longer horizon).

    Horizon at initialisation: relative gradient 3e-2 at k = 32, 6e-3 at k = 128.

    Attributes:
      states: N, the number of complex states, 0 for the width; the carry takes 8 N bytes per environment.
      minimum_radius: lower bound of |λ| at initialisation; near 1 for a long horizon.
      maximum_radius: upper bound of |λ| at initialisation.
      maximum_phase: upper bound of the phase of λ at initialisation, in radians.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the radii
        above. The phases are the same.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "states"

    states: int = 0
    minimum_radius: float = 0.5
    maximum_radius: float = 0.999
    maximum_phase: float = 6.2832
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> Number:
        """Return h₀ = 0 as real and imaginary part, float32[batch, N] each."""
        shape = (batch, self.states or self.width)
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)

    @nn.compact
    def __call__(self, carry: Number, x: jax.Array, start: jax.Array) -> tuple[Number, jax.Array]:
        """Map (h, x [T, B, width], start [T, B]) to (h, y [T, B, width])."""
        dtype, x = x.dtype, x.astype(jnp.float32)
        states = self.states or self.width
        decay, gain = self._decay(states)
        init_B = nn.initializers.normal((2 * self.width) ** -0.5, jnp.float32)
        init_C = nn.initializers.normal(states**-0.5, jnp.float32)
        shape = (self.width, states)
        drive = tuple(gain * (x @ self.param(f"B_{part}", init_B, shape)) for part in ("real", "imaginary"))
        hidden = linear_scan(decay, drive, start, carry, self.form)
        C_real, C_imaginary = (self.param(f"C_{part}", init_C, shape[::-1]) for part in ("real", "imaginary"))
        D = self.param("D", nn.initializers.normal(1.0, jnp.float32), (self.width,))
        y = hidden[0] @ C_real - hidden[1] @ C_imaginary + _add_axes(D) * x
        return tuple(part[-1] for part in hidden), y.astype(dtype)

    def _decay(self, states: int) -> tuple[Number, jax.Array]:
        """Return λ as a pair, real and imaginary part, and the gain exp(g), float32[1, 1, N]."""

        def draw_nu(key, shape):
            if self.init_horizon:
                return -jnp.log(time_scales.time_constants(*shape, self.init_horizon))
            low, high = self.minimum_radius**2, self.maximum_radius**2
            radius_squared = jax.random.uniform(key, shape, jnp.float32, minval=max(low, 1e-6), maxval=high)
            return jnp.log(-0.5 * jnp.log(radius_squared))

        def draw_theta(key, shape):
            return jnp.log(self.maximum_phase * jax.random.uniform(key, shape, jnp.float32, minval=1e-4))

        nu = self.param("nu", draw_nu, (states,))
        theta = self.param("theta", draw_theta, (states,))
        # Below 1e-7 the radius rounds to 1 in float32 and the state never decays.
        rate = jnp.maximum(jnp.exp(nu), 1e-7)
        gain = self.param("g", lambda key, shape: 0.5 * jnp.log(-jnp.expm1(-2.0 * rate)), (states,))
        radius, phase = jnp.exp(-rate), jnp.exp(theta)
        return _add_axes((radius * jnp.cos(phase), radius * jnp.sin(phase))), _add_axes(jnp.exp(gain))


def _add_axes(x):
    """Insert leading axes for time and batch."""
    return jax.tree.map(lambda part: part[None, None], x)
