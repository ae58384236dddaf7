"""Players of CartPole."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, tabular
from podarcade.envs.games.cartpole import LEVELS_OF_SPEED, CartPole, CartPoleState

ITERATIONS = 100


class Seen(NamedTuple):
    """What the partial frame shows."""

    start: jax.Array  # bool[] cart, pole and gauges are shown
    variables: jax.Array  # float32[4] position, velocity, angle and spin at time 0, to 1/500; later zeros
    velocity: jax.Array  # int32[] arrow of the cart's velocity, 1 (slow) to 6, negative to the left
    spin: jax.Array  # int32[] arrow of the pole's spin
    score: jax.Array  # int32[] the time


def seen(state: CartPoleState) -> Seen:
    """The arrows for signs and coarse magnitudes of both speeds, and the score; cart, pole and gauges at time 0."""
    start = state.time == 0
    variables = jnp.stack([state.position, state.velocity, state.angle, state.spin])
    arrows = (_arrow(state.velocity), _arrow(state.spin))
    return Seen(start, jnp.where(start, variables, 0), *arrows, state.score)


def _arrow(speed):
    size = 1 + jnp.sum(jnp.abs(speed) >= LEVELS_OF_SPEED.astype(np.float32), dtype=jnp.int32)
    return jnp.where(speed > 0, size, -size)


def memoryless(game: CartPole) -> Player:
    """A table from both arrows to pushes, found by search."""
    most = 1 + len(LEVELS_OF_SPEED)

    def index(seen):
        return (seen.velocity + most) * (2 * most + 1) + seen.spin + most

    return tabular.player(game, seen, index, (2 * most + 1) ** 2, iterations=ITERATIONS)
