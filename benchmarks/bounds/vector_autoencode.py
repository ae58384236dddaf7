"""Players of VectorAutoencode."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.vector_autoencode import VectorAutoencode


def memoryless(task: VectorAutoencode) -> Player:
    """Echo the card on show, else name suit 0: 13 d + 3 / 4 of N right, the optimum under strict rules (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, jnp.argmax(observation[2:6])))


def memory(task: VectorAutoencode) -> Player:
    """Push the cards that are shown on a stack, then pop it: return 1 (exact)."""

    def act(memory, observation, previous, key):
        stack, time = memory
        shown = jnp.argmax(observation[2:6]).astype(jnp.int32)
        stack = jnp.where(time < task.count, jnp.append(shown, stack[:-1]), jnp.append(stack[1:], jnp.int32(0)))
        return (stack, time + 1), stack[0]

    return Player(act, initial=(jnp.zeros(task.count, jnp.int32), jnp.int32(0)))
