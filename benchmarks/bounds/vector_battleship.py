"""Players of VectorBattleship."""

import jax
import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.games.battleship import SHIPS
from podarcade.envs.tasks.vector_battleship import VectorBattleship

FACTOR = 6.0  # weight of each hit that a place of a ship already has


def memoryless(task: VectorBattleship) -> Player:
    """Sweep the board row by row; the observation shows the last cell."""

    def act(memory, observation, previous, key):
        cell = observation[1 : 1 + task.max_steps]
        return memory, jnp.where(jnp.any(cell > 0), jnp.argmax(cell) + 1, 0) % task.max_steps

    return Player(act)


def memory(task: VectorBattleship) -> Player:
    """Shoot where most ships could lie: each place without a miss counts FACTOR for every hit that it has."""
    side = task.board

    def act(memory, observation, previous, key):
        hits, misses = (plane.reshape(side, side) for plane in jnp.split(observation[1 + side**2 :], 2))
        weight = jnp.where(misses > 0, 0.0, jnp.where(hits > 0, FACTOR, 1.0))
        total = sum(_covered(weight, length) + _covered(weight.T, length).T for length in SHIPS)
        total = jnp.where(hits + misses > 0, -1.0, total).reshape(-1)
        return memory, jnp.argmax(total * (1 + 1e-3 * jax.random.uniform(key, total.shape)))

    return Player(act, twin="full")


def _covered(weight: jax.Array, length: int) -> jax.Array:
    """Return, for each cell, the summed weights of the horizontal places of a ship that cover it, [N, N]."""
    places = weight.shape[1] - length + 1
    product = jnp.prod(jnp.stack([weight[:, shift : shift + places] for shift in range(length)]), axis=0)
    return sum(jnp.pad(product, ((0, 0), (shift, length - 1 - shift))) for shift in range(length))
