"""Players of TMaze without an oracle to visit."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.tmaze import RIGHT, UP, TMaze


def memoryless(task: TMaze) -> Player:
    """Walk right and turn up: 0.5, the optimum with or without the previous action (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, jnp.where(observation[0] > 0, UP, RIGHT)))


def memory(task: TMaze) -> Player:
    """Remember the cue: return 1 (exact)."""

    def act(goal, observation, previous, key):
        goal = jnp.where(goal == 0, observation[1], goal)
        return goal, jnp.where(observation[0] > 0, UP + (1 - goal).astype(jnp.int32), RIGHT)

    return Player(act, initial=jnp.float32(0))
