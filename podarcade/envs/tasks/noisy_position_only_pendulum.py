"""NoisyPositionOnlyPendulum: swing a pendulum up by noisy views of its angle."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.noise import NoisyView, normal_pair
from podarcade.envs.tasks.pendulums import PendulumState, _PendulumTask, direction, speed


@struct.dataclass
class NoisyPositionOnlyPendulumState(PendulumState):
    """State of NoisyPositionOnlyPendulum: 24 bytes."""

    seen: jax.Array  # float32[2] cosine and sine with this step's noise


@dataclasses.dataclass(frozen=True)
class NoisyPositionOnlyPendulum(NoisyView, _PendulumTask):
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

    def reset(self, key: jax.Array) -> NoisyPositionOnlyPendulumState:
        """Return a pendulum at any angle, and a noisy view of it."""
        uniform = jax.random.uniform(key, (4,), jnp.float32)
        start = self.start(2 * uniform[2:] - 1)
        truth = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
        return NoisyPositionOnlyPendulumState(**truth, seen=self.observe(start, uniform[:2]))

    def hidden(self, state: NoisyPositionOnlyPendulumState) -> Fields:
        """Return the true state."""
        return direction(state) | speed(state)

    def observe(self, state, uniform):
        """Return cosine and sine of the angle with the noise of two uniform numbers, float32[2]."""
        truth = jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle)])
        return jnp.clip(truth + self.noise * normal_pair(uniform), -1.0, 1.0)
