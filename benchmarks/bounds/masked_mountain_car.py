"""Players of MaskedMountainCar."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.masked_mountain_car import LEFT_WALL, RIGHT_END, MaskedMountainCar


def memoryless(task: MaskedMountainCar) -> Player:
    """Push to the right: -200. No policy without memory is known to arrive."""
    return Player(lambda memory, observation, previous, key: (memory, jnp.int32(2)))


# Actions after the actions 0, 1 and 2, in 40 equal intervals of the track; found by random changes of a table.
AFTER = np.array(
    [
        [*map(int, "2222110000000000000202222222222222011112")],
        [*map(int, "2222122222211111111111111111111111111111")],
        [*map(int, "2222222222222222220022222222222222222222")],
    ],
    np.int32,
)


def with_action(task: MaskedMountainCar) -> Player:
    """Keep pushing the same way in most places: the previous action says where the car is going."""
    width = (RIGHT_END - LEFT_WALL) / AFTER.shape[1]

    def act(memory, observation, previous, key):
        place = jnp.clip((observation[0] - LEFT_WALL) / width, 0, AFTER.shape[1] - 1).astype(jnp.int32)
        return memory, jnp.asarray(AFTER)[jnp.where(previous < 0, 2, previous), place]

    return Player(act)


def memory(task: MaskedMountainCar) -> Player:
    """Push along the velocity, but brake a fast car on its way to the left, by a cross-entropy search."""

    def act(memory, observation, previous, key):
        x, speed = observation[0], 50 * observation[1]
        least = 0.12 - 0.09 * x - 0.61 * x**2 + 0.25 * x**3
        most = 4.91 - 2.32 * x + 1.15 * x**2
        return memory, jnp.where((speed > least) & (speed < most), 2, 0)

    return Player(act, twin="full")
