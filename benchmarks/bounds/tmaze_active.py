"""Players of TMaze with an oracle to visit."""

import jax.numpy as jnp

from benchmarks.bounds import Player, tmaze
from podarcade.envs.tasks.tmaze import LEFT, RIGHT, UP
from podarcade.envs.tasks.tmaze_active import TMazeActive


def memoryless(task: TMazeActive) -> Player:
    """Walk right and turn up: 0.5, the optimum with or without the previous action (exact)."""
    return tmaze.memoryless(task)


def memory(task: TMazeActive) -> Player:
    """Walk left until the cue is seen, remember it, and turn there: return 1 (exact)."""

    def act(goal, observation, previous, key):
        goal = jnp.where(goal == 0, observation[1], goal)
        turn = UP + (1 - goal).astype(jnp.int32)
        return goal, jnp.where(goal == 0, LEFT, jnp.where(observation[0] > 0, turn, RIGHT))

    return Player(act, initial=jnp.float32(0))
