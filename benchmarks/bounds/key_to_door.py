"""Players of KeyToDoor."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.key_to_door import VIEW, KeyToDoor

NORTH, SOUTH, WEST, EAST = range(4)
MIDDLE = VIEW // 2
ROWS, COLUMNS = np.mgrid[:VIEW, :VIEW].astype(np.int32) - MIDDLE


def memoryless(task: KeyToDoor) -> Player:
    """Walk to the key, to the nearest apple in view, and through the door: opens it in every episode."""

    def act(memory, observation, previous, key):
        wall, gold, door, apple, _ = jnp.moveaxis(observation[: 5 * VIEW * VIEW].reshape(VIEW, VIEW, 5), -1, 0) > 0
        blocked = wall[MIDDLE - 1, MIDDLE]
        west, east = jnp.any(wall[MIDDLE, :MIDDLE]), jnp.any(wall[MIDDLE, MIDDLE + 1 :])
        inward = jnp.where(west, EAST, WEST)
        search = jnp.where(west ^ east, inward, jnp.where(blocked, SOUTH, NORTH))
        row, column = jnp.sum(gold * ROWS), jnp.sum(gold * COLUMNS)
        fetch = jnp.where(row == 0, jnp.where(column > 0, EAST, WEST), jnp.where(blocked, inward, NORTH))
        nearest = jnp.argmin(jnp.where(apple, jnp.abs(ROWS) + jnp.abs(COLUMNS), VIEW * VIEW))
        row, column = jnp.asarray(ROWS.reshape(-1))[nearest], jnp.asarray(COLUMNS.reshape(-1))[nearest]
        pick = jnp.where(row != 0, jnp.where(row < 0, NORTH, SOUTH), jnp.where(column > 0, EAST, WEST))
        action = jnp.where(jnp.any(apple), pick, search)
        action = jnp.where(jnp.any(gold), fetch, jnp.where(jnp.any(door), NORTH, action))
        return memory, action.astype(jnp.int32)

    return Player(act)


def memory(task: KeyToDoor) -> Player:
    """The same: memory helps the critic, and to find apples again."""
    return memoryless(task)
