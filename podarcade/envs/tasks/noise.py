"""Noise of observations, and what tasks share that show a noisy view of their state."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.tasks import Fields


def normal_pair(uniform: jax.Array) -> jax.Array:
    """Return two independent standard normal numbers, float32[2], for two uniform ones in [0, 1), float32[2].

    The Box-Muller transform: √(-2 ln(1 - u₁)) (cos 2πu₂, sin 2πu₂), much cheaper on a CPU than the inverse of erf.
    """
    radius = jnp.sqrt(-2.0 * jnp.log1p(-uniform[0]))
    angle = 2 * np.pi * uniform[1]
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


@dataclasses.dataclass(frozen=True)
class NoisyView:
    """Mixin in front of a task's base: the visible field `seen`, float32[2] of the state, is drawn again in each step.

    Subclasses define `observe`, and a state with `seen`.

    Raises:
      ValueError: `noise` is negative or not finite.
    """

    noise: float = 0.1  # standard deviation

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"noise": 0.1},
        "medium": {"noise": 0.2},
        "hard": {"noise": 0.3},
    }
    TWIN: ClassVar[str] = "oracle"

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < np.inf:
            raise ValueError(f"noise={self.noise}; expected a finite standard deviation >= 0")

    def step(self, state: Any, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        state, reward, terminal = super().step(state, action, key)
        return state.replace(seen=self.observe(state, jax.random.uniform(key, (2,), jnp.float32))), reward, terminal

    def visible(self, state: Any) -> Fields:
        """Return the noisy view."""
        return {"seen": state.seen}

    def observe(self, state: Any, uniform: jax.Array) -> jax.Array:
        """Return the view of a state with the noise of two uniform numbers in [0, 1), float32[2]."""
        raise NotImplementedError
