"""Players of DelayedCatch."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.delayed_catch import SIDE, DelayedCatch


def memoryless(task: DelayedCatch) -> Player:
    """Follow the fruit: return R, the optimum (exact)."""

    def act(memory, observation, previous, key):
        board = observation[: SIDE * SIDE].reshape(SIDE, SIDE)
        basket = jnp.argmax(board[-1])
        # A fruit in the basket is covered by it.
        fruit = jnp.where(jnp.any(board < 0), jnp.argmin(jnp.min(board, axis=0)), basket)
        return memory, (1 + jnp.sign(fruit - basket)).astype(jnp.int32)

    return Player(act)


def memory(task: DelayedCatch) -> Player:
    """Follow the fruit: memory helps the critic only (exact)."""
    return memoryless(task)
