"""Players of Wind."""

import jax.numpy as jnp

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.points import STRIDE
from podarcade.envs.tasks.wind import GOAL, Wind


def memoryless(task: Wind) -> Player:
    """Go to the goal with a gain of 1.95: the distance at which wind and stride balance is as small as is stable."""

    def act(memory, observation, previous, key):
        return memory, 1.95 / STRIDE * (GOAL - observation[:2])

    return Player(act)


def with_action(task: Wind) -> Player:
    """Write the position into the small digits of each action, and learn the wind from it: no memory is needed."""

    def act(memory, observation, previous, key):
        position = observation[:2]
        wind = position - controllers.read(previous) - STRIDE * previous
        wind = jnp.where(jnp.any(previous != 0), wind, 0.0)
        return memory, controllers.write((GOAL - position - wind) / STRIDE, position)

    return Player(act)


def memory(task: Wind) -> Player:
    """Go straight to the goal, allowing for the wind."""

    def act(memory, observation, previous, key):
        return memory, (GOAL - observation[:2] - observation[2:]) / STRIDE

    return Player(act, twin="full")
