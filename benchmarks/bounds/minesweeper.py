"""Players of MineSweeper."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from podarcade.envs.games import boards
from podarcade.envs.games.minesweeper import MINE, SEEN, MineSweeperState


class Seen(NamedTuple):
    """What the partial frame shows."""

    row: jax.Array  # int32[] of the cursor
    column: jax.Array  # int32[]
    face: jax.Array  # int32[] of the cursor's cell: -1 hidden, the number of mines nearby, 10 a mine
    score: jax.Array  # int32[]


def seen(state: MineSweeperState) -> Seen:
    """The cursor, what its own cell shows, and the score; no other number, no time and no repeats."""
    row, column = state.row.astype(jnp.int32), state.column.astype(jnp.int32)
    cell, count = state.cells[row, column], boards.block_sums(state.cells & MINE)[row, column]
    face = jnp.where(cell < SEEN, -1, jnp.where((cell & MINE) == MINE, 10, count))
    return Seen(row, column, face.astype(jnp.int32), state.score)
