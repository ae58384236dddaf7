"""Players of MineSweeper."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player, mines, tabular, walks
from podarcade.envs.games import boards
from podarcade.envs.games.minesweeper import MINE, SEEN, MineSweeper, MineSweeperState

DETOUR = 0.03  # chance of a mine that saves a move


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


def memoryless(game: MineSweeper) -> Player:
    """A table from cell, number and score, found by search; a blind tour of the easy board earns 0.327."""
    cells, faces, scores = game.board**2, min(game.mines, 9) + 2, game.board**2 - game.mines + 1

    def index(seen):
        face = jnp.clip(seen.face + 1, 0, faces - 1)
        return ((seen.row * game.board + seen.column) * faces + face) * scores + seen.score

    return tabular.player(game, seen, index, cells * faces * scores)


def memory(game: MineSweeper) -> Player:
    """Remember the numbers, walk to the cell with the least risk, plus 0.03 for each move, and reveal it.

    Chances are exact at the easy level, approximate at the others.
    """
    chances, line = mines.chances(game.board, game.mines), np.arange(game.board**2)
    rows, columns = line // game.board, line % game.board

    def act(numbers, seen, previous, key):
        numbers = jnp.where(line == seen.row * game.board + seen.column, seen.face, numbers)
        distance = jnp.abs(rows - seen.row) + jnp.abs(columns - seen.column)
        cost = jnp.where(numbers < 0, chances(numbers) + DETOUR * distance, jnp.inf)
        target = jnp.argmin(cost)
        return numbers, walks.towards(seen.row, seen.column, target // game.board, target % game.board)

    return Player(act, jnp.full(game.board**2, -1, jnp.int32), sees=seen)
