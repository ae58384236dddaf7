"""NoisyCartPole: CartPole with noisy observations."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games.cartpole import ANGLE_LIMIT, POSITION_LIMIT, CartPole, CartPoleState

SEEN_LIMIT = np.array([POSITION_LIMIT, np.inf, ANGLE_LIMIT, np.inf], np.float32)


@struct.dataclass
class NoisyCartPoleState(CartPoleState):
    """State of NoisyCartPole: the true variables, and the noisy ones that the frame shows; 40 bytes."""

    seen: jax.Array  # float32[4] position, velocity, angle and spin with this step's noise


@dataclasses.dataclass(frozen=True)
class NoisyCartPole(CartPole):
    """CartPole with noisy observations: the frame shows a disturbed state, the cart moves by the true one.

    With T = `max_steps` and σ = `noise`:

    - start, dynamics, actions, reward and end are those of CartPole; noise never enters them.
    - frame: CartPole's, drawn from the seen values: position, velocity, angle and spin, each plus a normal number of
      standard deviation σ, in units of length, radians and seconds. The four are independent, and drawn again for each
      frame, that of time 0 included. The seen position is clipped to [-2.4, 2.4], the seen angle to 12 degrees on
      either side. The frame determines the seen values as finely as CartPole's does the true ones, to 1/500 of a unit;
      as there, gauges saturate at a speed of 5.875. The score on top counts the steps paid, that is the time, without
      noise.
    - partial twin: after time 0 it hides cart, pole and gauges, and shows the arrows, by the seen speeds, and the
      score. Both twins see the same noise.
    - memory: to filter the noise. It is hardly needed on the easy level: memoryless policies on the partial frame have
      return 0.966 on the easy level, 0.896 on the medium and 0.796 on the hard one, a filter 0.998 or more (strict).

    NEITHER twin is a Markov decision process: the full frame, too, is a noisy measurement of the state. So the gap
    between the twins measures what hiding cart and pole costs, not what partial observability costs.

    Published rules: as in CartPole, whole pixels and no gauges, and the end is detected one step late.
    """

    noise: float = 0.1

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"noise": 0.1},
        "medium": {"noise": 0.2},
        "hard": {"noise": 0.3},
    }
    WORDS: ClassVar[str] = "NOISY CARTPOLE"

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < np.inf:
            raise ValueError(f"noise={self.noise}; expected a finite standard deviation >= 0")

    def reset(self, key: jax.Array) -> NoisyCartPoleState:
        """Return a cart near the centre with a pole near upright, and noisy values of both."""
        start_key, noise_key = jax.random.split(key)
        start = super().reset(start_key)
        truth = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
        return NoisyCartPoleState(**truth, seen=self._observe(start, noise_key))

    def step(self, state: NoisyCartPoleState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        state, reward, terminal = super().step(state, action, key)
        return state.replace(seen=self._observe(state, key)), reward, terminal

    def draw(self, state: NoisyCartPoleState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        return super().draw(CartPoleState(*state.seen, time=state.time, score=state.score), partial)

    def _observe(self, state, key) -> jax.Array:
        """Return position, velocity, angle and spin with new noise, float32[4]."""
        truth = jnp.stack([state.position, state.velocity, state.angle, state.spin])
        return jnp.clip(truth + self.noise * jax.random.normal(key, (4,), dtype=jnp.float32), -SEEN_LIMIT, SEEN_LIMIT)
