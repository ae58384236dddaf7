"""Players of VectorCountRecall."""

from math import comb

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.vector_countrecall import VectorCountRecall


def memoryless(task: VectorCountRecall) -> Player:
    """Give the likeliest count over all times, one if value and query are equal and one if not: the optimum (exact)."""
    answers = jnp.asarray(np.argmax(_chances(task).sum(axis=0), axis=-1), jnp.int32)
    return Player(lambda memory, observation, previous, key: (memory, answers[_equal(task, observation)]))


def clock(task: VectorCountRecall) -> Player:
    """Give the likeliest count at each time, one if value and query are equal and one if not, counting only the time.

    It is the best that policies earn which know the time and the pair on show (exact).
    """
    answers = jnp.asarray(np.argmax(_chances(task), axis=-1), jnp.int32)

    def act(time, observation, previous, key):
        return time + 1, answers[time, _equal(task, observation)]

    return Player(act, initial=jnp.int32(0))


def memory(task: VectorCountRecall) -> Player:
    """Count the values of each kind: return 1 (exact)."""

    def act(counts, observation, previous, key):
        value, query = observation[: task.types], observation[task.types : 2 * task.types]
        counts = counts + value
        return counts, jnp.sum(counts * query).astype(jnp.int32)

    return Player(act, initial=jnp.zeros(task.types, jnp.float32))


def _equal(task: VectorCountRecall, observation) -> jnp.ndarray:
    """Return 1 if value and query on show are equal, else 0, int32[]."""
    value, query = observation[: task.types], observation[task.types : 2 * task.types]
    return jnp.sum(value * query).astype(jnp.int32)


def _chances(task: VectorCountRecall) -> np.ndarray:
    """Return the chances [N - 1, 2, M + 1] of each count at each time, with the value unlike and like the query."""
    others, each = task.max_steps, task.each
    chances = np.zeros((others, 2, each + 1))
    for time in range(others):
        # The cards before the one on show are `time` of the N - 1 others, of which M or M - 1 are of the query's kind.
        for like in (0, 1):
            for before in range(min(time, each - like) + 1):
                ways = comb(each - like, before) * comb(others - each + like, time - before)
                share = each / (others + 1) if like else 1 - each / (others + 1)
                chances[time, like, before + like] = share * ways / comb(others, time)
    return chances
