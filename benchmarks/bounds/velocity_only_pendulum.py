"""Players of VelocityOnlyPendulum."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.pendulums import MAX_SPEED, SECONDS
from podarcade.envs.tasks.velocity_only_pendulum import VelocityOnlyPendulum

# Torques at 33 speeds from -8 to 8, found by a cross-entropy search.
TORQUES = np.array(
    [
        [1.9, 1.3, 3.0, 1.5, 1.0, 0.5, 0.1, 0.2, -3.0, -3.3, -1.5],
        [-1.8, -2.7, -1.7, -2.2, -0.7, 1.2, 1.1, -2.7, -6.1, -1.7, -0.3],
        [-0.4, 0.6, 3.8, 1.4, 2.1, 3.1, 0.7, -1.0, -1.9, -0.5, -1.1],
    ],
    np.float32,
).reshape(-1)


def memoryless(task: VelocityOnlyPendulum) -> Player:
    """A torque by the speed alone: whether to pump or to brake depends on how fast the pendulum is."""
    speeds = np.linspace(-MAX_SPEED, MAX_SPEED, len(TORQUES), dtype=np.float32)

    def act(memory, observation, previous, key):
        return memory, jnp.clip(jnp.interp(observation[:1], speeds, TORQUES), -1.0, 1.0)

    return Player(act)


def with_action(task: VelocityOnlyPendulum) -> Player:
    """Keep the angle in the small digits of each action, and add the speed to it: no memory is needed."""

    def act(memory, observation, previous, key):
        speed, cosine, sine = observation
        angle = controllers.wrap(controllers.read(previous)[0] + SECONDS * speed)
        angle = jnp.where(previous[0] == 0, jnp.arctan2(sine, cosine), angle)  # the angle is visible at time 0
        return memory, controllers.write(controllers.swing_up(jnp.cos(angle), jnp.sin(angle), speed), angle[None])

    return Player(act)


def memory(task: VelocityOnlyPendulum) -> Player:
    """Swing up and hold by angle and speed."""

    def act(memory, observation, previous, key):
        speed, cosine, sine = observation
        return memory, controllers.swing_up(cosine, sine, speed)

    return Player(act, twin="full")
