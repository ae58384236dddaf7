"""Fast and forgetful memory (Morad et al. 2023, arXiv 2310.04128)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from podarcade.models.memory import Memory, scan, time_scales
from podarcade.models.memory.scan import Number


class FFM(Memory):
    """A complex state S in Cᵐˣᶜ: m traces of the input with one decay rate each, at c frequencies.

        x̃ₜ = (W₁ xₜ + b₁) ⊙ sigmoid(W₂ xₜ + b₂)                                x̃ in Rᵐ
        Sₜ = γ ⊙ Sₜ₋₁ + x̃ₜ 1ᵀ               γⱼₖ = exp(-|aⱼ| + i ωₖ)             |γ| < 1
        zₜ = W₃ [Re Sₜ, Im Sₜ] + b₃          gₜ = sigmoid(W₄ xₜ + b₄)
        yₜ = LN(zₜ) ⊙ gₜ + (W₅ xₜ + b₅) ⊙ (1 - gₜ)

    LN has no parameters. The output follows the paper, with a learned skip W₅; other implementations skip with x itself
    and normalise after the gate. Both a and ω are trained. The initial a are evenly spaced on [1e-6, 0.5], the initial
    periods 2π/ω on [1, 10000] steps.

    Horizon at initialisation: relative gradient 1e-2 at k = 32, 4e-3 at k = 128.

    Attributes:
      traces: m, the number of decay rates.
      contexts: c, the number of frequencies; the carry takes 8 m c bytes per environment.
      init_horizon: longest initial time constant in steps (`time_scales`); 0 for the a above.
      form: implementation of the scan, "auto" or one of FORMS.
    """

    FORMS: ClassVar[tuple[str, ...]] = scan.FORMS
    SIZE: ClassVar[str] = "contexts"

    traces: int = 4
    contexts: int = 64
    init_horizon: float = 0.0
    form: str = "auto"

    def initial(self, batch: int) -> Number:
        """Return S₀ = 0 as real and imaginary part, float32[batch, traces, contexts] each."""
        shape = (batch, self.traces, self.contexts)
        return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)

    @nn.compact
    def __call__(self, carry: Number, x: jax.Array, start: jax.Array) -> tuple[Number, jax.Array]:
        """Map (S, x [T, B, width], start [T, B]) to (S, y [T, B, width])."""
        width, dtype = self.width, x.dtype
        trace, trace_gate, gate, skip = (
            nn.Dense(features, dtype=dtype, name=name)(x).astype(jnp.float32)
            for name, features in (
                ("trace", self.traces),
                ("trace_gate", self.traces),
                ("gate", width),
                ("skip", width),
            )
        )
        gated = (trace * nn.sigmoid(trace_gate))[..., None]
        drive = jnp.broadcast_to(gated, (*gated.shape[:-1], self.contexts))
        hidden = scan.linear_scan(self._decay(), (drive, jnp.zeros_like(drive)), start, carry, self.form)
        flat = jnp.concatenate([part.reshape(*x.shape[:2], -1) for part in hidden], axis=-1)
        # The slowest traces sum over a whole episode: only the normalised read-out fits the range of x's dtype.
        read = nn.LayerNorm(use_bias=False, use_scale=False)(nn.Dense(width, name="read")(flat))
        gate = nn.sigmoid(gate)
        return tuple(part[-1] for part in hidden), (read * gate + skip * (1.0 - gate)).astype(dtype)

    def _decay(self) -> Number:
        """Return γ as a pair of real and imaginary part, float32[1, 1, traces, contexts]."""
        rate = self.param("a", lambda key: jnp.asarray(self._initial_rates(), jnp.float32))
        periods = np.linspace(1.0, 10_000.0, self.contexts)
        frequency = self.param("omega", lambda key: jnp.asarray(2.0 * np.pi / periods, jnp.float32))
        # Below 1e-7 the radius rounds to 1 in float32 and the trace never decays.
        radius = jnp.exp(-jnp.maximum(jnp.abs(rate), 1e-7))[None, None, :, None]
        frequency = frequency[None, None, None, :]
        return radius * jnp.cos(frequency), radius * jnp.sin(frequency)

    def _initial_rates(self) -> np.ndarray:
        """Return the initial a, [traces]."""
        if self.init_horizon:
            return 1.0 / time_scales.time_constants(self.traces, self.init_horizon)
        return np.linspace(1e-6, 0.5, self.traces)
