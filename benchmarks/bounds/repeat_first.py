"""Players of RepeatFirst."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.repeat_first import RepeatFirst


def memoryless(task: RepeatFirst) -> Player:
    """Name another suit than the one on show: right with 13 d (N - 2) / (N - 1) of N - 1 cards, the optimum (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, (jnp.argmax(observation[:4]) + 1) % 4))


def with_action(task: RepeatFirst) -> Player:
    """Answer the first card, then repeat the previous action: return 1 (exact)."""

    def act(memory, observation, previous, key):
        return memory, jnp.where(previous < 0, jnp.argmax(observation[:4]), previous)

    return Player(act)


def memory(task: RepeatFirst) -> Player:
    """Remember the first card: return 1 (exact)."""

    def act(first, observation, previous, key):
        first = jnp.where(first < 0, jnp.argmax(observation[:4]), first)
        return first, first

    return Player(act, initial=jnp.int32(-1))
