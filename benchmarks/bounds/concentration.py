"""Players of Concentration."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.concentration import Concentration


def memoryless(task: Concentration) -> Player:
    """Flip a card at random among those shown face down."""

    def act(memory, observation, previous, key):
        down = observation[: task.count * (task.types + 1)].reshape(task.count, -1)[:, -1] > 0
        return memory, jnp.argmax(jnp.where(down, jax.random.uniform(key, (task.count,)), -1.0))

    return Player(act)


def memory(task: Concentration) -> Player:
    """Flip a known pair, else an unknown card and then its known partner or another unknown card."""
    count, types = task.count, task.types

    def act(memory, observation, previous, key):
        shown, remembered, matched, second = jnp.split(
            observation, np.cumsum([count * (types + 1), count * types, count])
        )
        shown = shown.reshape(count, types + 1)[:, :types]
        closed = (1 - matched)[:, None] * (shown + remembered.reshape(count, types))  # known and not matched
        unknown = (1 - matched) * (1 - closed.sum(axis=1))
        pairs = closed.sum(axis=0) >= 2
        # With the second flip due, the only unmatched card on show is the first of the pair.
        first = (1 - matched) * shown.sum(axis=1)
        partners = (closed * (first @ shown)[None]).sum(axis=1) * (1 - first)
        wanted = jnp.where(second > 0, partners, (closed * pairs[None]).sum(axis=1))
        return memory, jnp.argmax(2 * wanted + unknown)

    return Player(act, twin="full")
