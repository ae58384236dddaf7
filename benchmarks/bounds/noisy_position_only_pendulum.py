"""Players of NoisyPositionOnlyPendulum."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.noisy_position_only_pendulum import NoisyPositionOnlyPendulum
from podarcade.envs.tasks.pendulums import GRAVITY, MAX_SPEED, SECONDS, TORQUE


def memoryless(task: NoisyPositionOnlyPendulum) -> Player:
    """A torque by the seen angle alone, found by a cross-entropy search."""

    def act(memory, observation, previous, key):
        cosine, sine = observation[0], observation[1]
        return memory, jnp.clip(-11.0 * sine - 2.3 * sine * cosine, -1.0, 1.0)[None]

    return Player(act)


def memory(task: NoisyPositionOnlyPendulum) -> Player:
    """Swing up and hold by the estimate of an observer that corrects angle and speed by the seen angle."""
    to_angle, to_speed = (0.3, 1.5) if task.noise <= 0.1 else (0.2, 0.8)

    def act(memory, observation, previous, key):
        angle, speed, time = memory
        cosine, sine = observation[0], observation[1]
        error = sine * jnp.cos(angle) - cosine * jnp.sin(angle)
        first = time == 0
        angle = jnp.where(first, jnp.arctan2(sine, cosine), angle + to_angle * error)
        speed = jnp.where(first, 0.0, speed + to_speed * error)
        action = controllers.swing_up(jnp.cos(angle), jnp.sin(angle), speed)
        speed = speed + SECONDS * (1.5 * GRAVITY * jnp.sin(angle) + 3.0 * TORQUE * action[0])
        speed = jnp.clip(speed, -MAX_SPEED, MAX_SPEED)
        return (controllers.wrap(angle + SECONDS * speed).astype(np.float32), speed, time + 1), action

    return Player(act, initial=(jnp.float32(0), jnp.float32(0), jnp.int32(0)))
