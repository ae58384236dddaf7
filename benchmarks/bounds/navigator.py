"""Players of Navigator."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.bounds import Player, walks
from benchmarks.bounds.walks import CONFIRM
from podarcade.envs.games.navigator import TNT, TREASURE, Navigator, NavigatorState

CONFIRMING = 0.75  # found by trying


class Seen(NamedTuple):
    """What the partial frame shows."""

    cells: jax.Array  # int32[N, N] at time 0: 0 empty, 1 TNT, 2 treasure; later zeros
    row: jax.Array  # int32[] of the cursor
    column: jax.Array  # int32[]
    score: jax.Array  # int32[]


def seen(state: NavigatorState) -> Seen:
    """The map at time 0; later the cursor and the score, and no time."""
    cells = jnp.where(state.time == 0, state.cells, 0).astype(jnp.int32)
    return Seen(cells, state.row.astype(jnp.int32), state.column.astype(jnp.int32), state.score)


def memoryless(game: Navigator) -> Player:
    """Follow a Hamiltonian cycle, trying each cell with probability 0.75 before moving on.

    The first move, made with the map in view, joins the cycle where it leads to the treasure soonest, before any TNT.
    """
    return _tour(game, with_action=False)


def with_action(game: Navigator) -> Player:
    """Join a Hamiltonian cycle with the first move and follow it; after each move, confirm once."""
    return _tour(game, with_action=True)


def memory(game: Navigator) -> Player:
    """Walk the shortest way past the TNT in the first frame: the optimum (exact)."""
    far = 4 * game.board

    def act(distance, seen, previous, key):
        blocked = seen.cells == TNT
        start = jnp.where(seen.cells == TREASURE, 0, far)

        def relax(_, distance):
            nearest = jnp.min(_neighbours(distance, far), axis=0)
            return jnp.where(blocked, far, jnp.minimum(distance, nearest + 1))

        distance = jnp.where(previous < 0, jax.lax.fori_loop(0, far, relax, start), distance)
        around = _neighbours(distance, far)[:, seen.row, seen.column]
        found = distance[seen.row, seen.column] == 0
        return distance, jnp.where(found | (jnp.min(around) >= far), CONFIRM, jnp.argmin(around))

    return Player(act, jnp.zeros((game.board, game.board), jnp.int32), sees=seen)


def _tour(game, with_action):
    cycle = walks.cycle(game.board)
    order, size = jnp.asarray(walks.order(cycle)), cycle.size
    cycle = jnp.asarray(cycle)

    def act(memory, seen, previous, key):
        def ahead(place, content):
            """Return the number of moves along the cycle from each place to the next cell with a content."""
            return jnp.min(jnp.where(seen.cells == content, (order - place) % size, size))

        places = jnp.append(_neighbours(order, -1)[:, seen.row, seen.column], order[seen.row, seen.column])
        treasure, tnt = (jax.vmap(lambda place, x=x: ahead(place, x))(places) for x in (TREASURE, TNT))
        cost = jnp.where(places < 0, 3 * size, jnp.where(treasure < tnt, treasure, size + tnt))
        tries = (previous < CONFIRM) & (previous >= 0) if with_action else jax.random.bernoulli(key, CONFIRMING)
        later = jnp.where(tries, CONFIRM, cycle[seen.row, seen.column])
        return memory, jnp.where(jnp.any(seen.cells > 0), jnp.argmin(cost), later).astype(jnp.int32)

    return Player(act, sees=seen)


def _neighbours(board, border):
    """Return the values of the cells above, below, to the left and to the right of each cell, [4, N, N]."""
    padded = jnp.pad(board, 1, constant_values=border)
    return jnp.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
