"""Players of RepeatPrevious."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.repeat_previous import RepeatPrevious


def memoryless(task: RepeatPrevious) -> Player:
    """Name another suit than the one on show: right with 13 d / (N - 1), the optimum for k > 1 (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, (jnp.argmax(observation[:4]) + 1) % 4))


def memory(task: RepeatPrevious) -> Player:
    """Remember the last k cards: return 1 (exact)."""

    def act(window, observation, previous, key):
        window = jnp.append(window[1:], jnp.argmax(observation[:4]).astype(jnp.int32))
        return window, window[0]

    return Player(act, initial=jnp.zeros(task.k, jnp.int32))
