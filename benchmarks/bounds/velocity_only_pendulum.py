"""Players of VelocityOnlyPendulum."""

import jax.numpy as jnp

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.pendulums import SECONDS
from podarcade.envs.tasks.velocity_only_pendulum import VelocityOnlyPendulum


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
