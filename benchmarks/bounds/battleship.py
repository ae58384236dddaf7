"""Players of BattleShip."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.bounds import Player, walks
from podarcade.envs.games.battleship import FIRED, BattleShip, BattleShipState

FIRE = 4


class Seen(NamedTuple):
    """What the partial frame shows."""

    row: jax.Array  # int32[] of the cursor
    column: jax.Array  # int32[]
    mark: jax.Array  # int32[] in the cursor's cell: 0 not fired at, 1 miss, 2 hit
    score: jax.Array  # int32[]


def seen(state: BattleShipState) -> Seen:
    """The cursor, the outcome of a shot at its own cell, and the score; no other shot, no time and no repeats."""
    row, column = state.row.astype(jnp.int32), state.column.astype(jnp.int32)
    cell = state.cells[row, column].astype(jnp.int32)
    return Seen(row, column, jnp.where(cell >= FIRED, cell - FIRED + 1, 0), state.score)


def memoryless(game: BattleShip) -> Player:
    """Walk a Hamiltonian cycle and fire where the own cell shows no shot: return 1 (exact).

    N² shots and the N² - 1 moves between them fit into the time limit of 2 N² steps.
    """
    cycle = jnp.asarray(walks.cycle(game.board))

    def act(memory, seen, previous, key):
        return memory, jnp.where(seen.mark == 0, FIRE, cycle[seen.row, seen.column])

    return Player(act, sees=seen)


def memory(game: BattleShip) -> Player:
    """The same: memory only finds the ships earlier, which pays nothing (exact)."""
    return memoryless(game)
