"""NoisyPositionOnlyPendulum: swing a pendulum up by noisy views of its angle."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.noise import normal_pair
from podarcade.envs.tasks.pendulums import PendulumState, _PendulumTask, direction, speed


@struct.dataclass
class NoisyPositionOnlyPendulumState(PendulumState):
    """State of NoisyPositionOnlyPendulum: 24 bytes."""

    seen: jax.Array  # float32[2] cosine and sine with this step's noise


@dataclasses.dataclass(frozen=True)
class NoisyPositionOnlyPendulum(_PendulumTask):
    """Swing-up of a pendulum that shows a noisy angle only (POPGym's NoisyPositionOnlyPendulum).

    Start, dynamics, actions, reward and end are those of PositionOnlyPendulum, with T = `max_steps` = 200 and
    σ = `noise`.

    - observation: visible `seen`, cosine and sine of the angle, each plus a normal number of standard deviation σ that
      is drawn for each step, clipped to [-1, 1]; hidden `cosine`, `sine` and `speed` in rad/s, the true ones.
    - twin: oracle. The hidden block shows the true state from time 1 on, which no history determines.
    - channel: open, as in PositionOnlyPendulum. The best known policy without memory and previous action has 0.351,
      0.337 and 0.329 at the three levels, a random one 0.243, a simple observer with memory 0.890, 0.705 and 0.609, the
      best policy on the full twin 0.914.

    Published rules: the limit is terminal.

    Raises:
      ValueError: `noise` is negative or not finite.
    """

    noise: float = 0.1

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

    def reset(self, key: jax.Array) -> NoisyPositionOnlyPendulumState:
        """Return a pendulum at any angle, and a noisy view of it."""
        uniform = jax.random.uniform(key, (4,), jnp.float32)
        start = self.start(2 * uniform[2:] - 1)
        truth = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
        return NoisyPositionOnlyPendulumState(**truth, seen=self._observe(start, uniform[:2]))

    def step(self, state: NoisyPositionOnlyPendulumState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        state, reward, terminal = super().step(state, action, key)
        return state.replace(seen=self._observe(state, jax.random.uniform(key, (2,), jnp.float32))), reward, terminal

    def visible(self, state: NoisyPositionOnlyPendulumState) -> Fields:
        """Return the noisy cosine and sine."""
        return {"seen": state.seen}

    def hidden(self, state: NoisyPositionOnlyPendulumState) -> Fields:
        """Return the true state."""
        return direction(state) | speed(state)

    def _observe(self, state, uniform):
        """Return cosine and sine of the angle with the noise of two uniform numbers, float32[2]."""
        truth = jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle)])
        return jnp.clip(truth + self.noise * normal_pair(uniform), -1.0, 1.0)
