"""NoisyPositionOnlyCartPole: balance a pole by noisy positions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games.cartpole import ANGLE_LIMIT, POSITION_LIMIT, CartPoleState
from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.noise import NoisyView, normal_pair
from podarcade.envs.tasks.poles import _CartPoleTask, positions, velocities

SEEN_LIMIT = np.array([2 * POSITION_LIMIT, 2 * ANGLE_LIMIT], np.float32)


@struct.dataclass
class NoisyPositionOnlyCartPoleState(CartPoleState):
    """State of NoisyPositionOnlyCartPole: 32 bytes."""

    seen: jax.Array  # float32[2] position and angle with this step's noise


@dataclasses.dataclass(frozen=True)
class NoisyPositionOnlyCartPole(NoisyView, _CartPoleTask):
    """CartPole that shows noisy positions only (POPGym's NoisyPositionOnlyCartPole).

    Start, dynamics, actions, reward and end are those of PositionOnlyCartPole, with T = `max_steps` = 200 and
    σ = `noise`.

    - observation: visible `seen`, position and angle, each plus a normal number of standard deviation σ that is drawn
      for each step, clipped to [-4.8, 4.8] m and to 24 degrees on either side; hidden `position`, `angle`, `velocity`
      and `spin`, the true ones. No value is scaled.
    - twin: oracle. The hidden block shows the true state from time 1 on, which no history determines.
    - channel: small. The best known policy without memory has 0.249, 0.206 and 0.175 at the three levels, one that sees
      its previous action 0.461, 0.278 and 0.211; a random policy has 0.111. A Kalman filter with a linear controller
      reaches 0.992, 0.525 and 0.334, the best published network 0.995, 0.659 and 0.404. The full twin has 1.

    Published rules: the limit is terminal.

    Raises:
      ValueError: `noise` is negative or not finite.
    """

    def reset(self, key: jax.Array) -> NoisyPositionOnlyCartPoleState:
        """Return a cart near the centre with a pole near upright, and a noisy view of them."""
        uniform = jax.random.uniform(key, (6,), jnp.float32)
        start = self.start(2 * uniform[2:] - 1)
        truth = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
        return NoisyPositionOnlyCartPoleState(**truth, seen=self.observe(start, uniform[:2]))

    def hidden(self, state: NoisyPositionOnlyCartPoleState) -> Fields:
        """Return the true state."""
        return positions(state) | velocities(state)

    def observe(self, state, uniform):
        """Return position and angle with the noise of two uniform numbers, float32[2]."""
        truth = jnp.stack([state.position, state.angle])
        return jnp.clip(truth + self.noise * normal_pair(uniform), -SEEN_LIMIT, SEEN_LIMIT)
