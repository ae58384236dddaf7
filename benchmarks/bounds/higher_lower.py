"""Players of HigherLower."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks import cards
from podarcade.envs.tasks.higher_lower import HIGHER, LOWER, HigherLower


def memoryless(task: HigherLower) -> Player:
    """Guess higher below the middle rank: 84 / 169, the optimum (exact)."""

    def act(memory, observation, previous, key):
        return memory, jnp.where(jnp.argmax(observation[: cards.RANKS]) < cards.RANKS // 2, HIGHER, LOWER)

    return Player(act)


def memory(task: HigherLower) -> Player:
    """Count the cards of each rank and guess where more are left: the optimum (exact)."""

    def act(dealt, observation, previous, key):
        rank = observation[: cards.RANKS]
        dealt = dealt + rank
        left, place = 4 * task.decks - dealt, np.arange(cards.RANKS)
        above = jnp.where(place > jnp.argmax(rank), left, 0).sum()
        below = jnp.where(place < jnp.argmax(rank), left, 0).sum()
        return dealt, jnp.where(above > below, HIGHER, LOWER)

    return Player(act, initial=jnp.zeros(cards.RANKS, jnp.float32))
