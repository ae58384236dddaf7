"""NoisyCartPole."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games.cartpole import ANGLE_LIMIT, POSITION_LIMIT, CartPole, CartPoleState

MOST_SEEN = np.array([POSITION_LIMIT, np.inf, ANGLE_LIMIT, np.inf], np.float32)


@struct.dataclass
class NoisyCartPoleState(CartPoleState):
    """40 bytes: the true cart and pole, and what the frame shows of them."""

    seen: jax.Array  # float32[4] position, velocity, angle and spin with this step's noise


@dataclasses.dataclass(frozen=True)
class NoisyCartPole(CartPole):
    """CartPole seen through noise: the frame is drawn from a disturbed state, the cart moves by the true one.

    With T = `max_steps` and σ = `noise`:

    - start, dynamics, actions, reward and end are those of CartPole: noise never enters them.
    - frame: CartPole's, drawn from seen values: position, velocity, angle and spin, each with a normal number of
      standard deviation σ added, in units of length, radians and seconds. The four are independent, and fresh in
      each frame, that of time 0 included. The seen position is clipped to [-2.4, 2.4], the seen angle to 12 degrees
      on either side. The frame tells the seen values as finely as CartPole's tells the true ones, to 1/500
      of a unit; as there, a gauge ends at a speed of 5.875, and all beyond looks alike. The score on top counts the
      steps paid: the time, without noise.
    - partial twin: after time 0 cart, pole and gauges are hidden; the arrows, by the seen speeds, and the score
      stay. Both twins see the same noise.
    - reward memory length: O(n) in both twins.

    NEITHER twin is a Markov decision process. The full frame too is a noisy measurement: the best
    player filters its whole past. So the gap between the twins measures what hiding cart and
    pole costs, not what partial observability costs.

    Published rules differ as in CartPole: whole pixels, no gauges, and the end is noticed one step late.
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
            raise ValueError(f"noise={self.noise}; a standard deviation is at least 0, and finite")

    def reset(self, key: jax.Array) -> NoisyCartPoleState:
        """key -> a cart near the centre and a pole near upright, seen through noise."""
        start_key, noise_key = jax.random.split(key)
        start = super().reset(start_key)
        truth = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
        return NoisyCartPoleState(**truth, seen=self._look(start, noise_key))

    def step(self, state: NoisyCartPoleState, action: jax.Array, key: jax.Array):
        """(state, int32[], key) -> (state, reward, terminal)."""
        state, reward, terminal = super().step(state, action, key)
        return state.replace(seen=self._look(state, key)), reward, terminal

    def draw(self, state: NoisyCartPoleState, partial: jax.Array) -> jax.Array:
        """(state, bool[]) -> uint8[obs_size, obs_size, 3]."""
        return super().draw(CartPoleState(*state.seen, time=state.time, score=state.score), partial)

    def _look(self, state, key) -> jax.Array:
        """float32[4]: the four variables of motion with fresh noise."""
        truth = jnp.stack([state.position, state.velocity, state.angle, state.spin])
        return jnp.clip(truth + self.noise * jax.random.normal(key, (4,)), -MOST_SEEN, MOST_SEEN)
