"""Players of PositionOnlyCartPole."""

import jax.numpy as jnp

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.position_only_cartpole import PositionOnlyCartPole


def memoryless(task: PositionOnlyCartPole) -> Player:
    """Push by bands of the angle, found by a cross-entropy search."""

    def act(memory, observation, previous, key):
        position, angle = observation[0], observation[1]
        push = 0.03 * position + 7.2 * angle + jnp.sin(164 * angle)
        return memory, (push > 0).astype(jnp.int32)

    return Player(act)


def with_action(task: PositionOnlyCartPole) -> Player:
    """Alternate pushes, and repeat one only if the pole leans far to its side, with fine bands of the angle between."""

    def act(memory, observation, previous, key):
        last = jnp.where(previous < 0, 0, 2 * previous - 1)
        position, angle = observation[0], observation[1]
        push = 0.06 * position + 27.6 * angle - 2.32 * last + jnp.sin(1543 * angle + 1)
        return memory, (push > 0).astype(jnp.int32)

    return Player(act)


def memory(task: PositionOnlyCartPole) -> Player:
    """Balance by all four variables: return 1 (exact)."""

    def act(memory, observation, previous, key):
        return memory, controllers.balance(*observation)

    return Player(act, twin="full")
