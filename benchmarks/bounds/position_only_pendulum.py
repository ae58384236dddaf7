"""Players of PositionOnlyPendulum."""

import jax.numpy as jnp

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.pendulums import SECONDS
from podarcade.envs.tasks.position_only_pendulum import PositionOnlyPendulum


def memoryless(task: PositionOnlyPendulum) -> Player:
    """A torque by the angle alone, against gravity, found by a cross-entropy search."""

    def act(memory, observation, previous, key):
        cosine, sine = observation[0], observation[1]
        return memory, jnp.clip(-11.0 * sine - 2.3 * sine * cosine, -1.0, 1.0)[None]

    return Player(act)


def with_action(task: PositionOnlyPendulum) -> Player:
    """Write the angle into the small digits of each action, and read it there one step later: no memory is needed."""

    def act(memory, observation, previous, key):
        cosine, sine, speed = observation
        angle = jnp.arctan2(sine, cosine)
        since = controllers.wrap(angle - controllers.read(previous)[0]) / SECONDS
        speed = jnp.where(previous[0] == 0, speed, since)  # no action yet: the speed is visible at time 0
        return memory, controllers.write(controllers.swing_up(cosine, sine, speed), angle[None])

    return Player(act)


def memory(task: PositionOnlyPendulum) -> Player:
    """Swing up and hold by angle and speed."""

    def act(memory, observation, previous, key):
        return memory, controllers.swing_up(*observation)

    return Player(act, twin="full")
