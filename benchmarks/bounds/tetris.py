"""Players of Tetris."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.games.tetris import COLUMNS, EACH, ROWS, TetrisState
from podarcade.envs.rendering import tetrominoes
from podarcade.envs.rendering.tetrominoes import PIECES


class Seen(NamedTuple):
    """What the partial frame shows."""

    cells: jax.Array  # int32[20, 10] of the current piece: 1, and 2 in the cell that is marked at time 0; 0 elsewhere
    full: jax.Array  # bool[20] rows that are full and drawn white
    piece: jax.Array  # int32[] 0..6
    coming: jax.Array  # int32[p]
    lights: jax.Array  # bool[7] pieces lit in BAG at time 0, none later
    score: jax.Array  # int32[]


def seen(state: TetrisState) -> Seen:
    """The current piece, full rows, the coming pieces and the score; no locked block; mark and BAG at time 0."""
    start, place = state.time == 0, np.arange(PIECES)
    box = jnp.asarray(tetrominoes.boxes(), jnp.int32)[state.piece.astype(jnp.int32), state.rotation.astype(jnp.int32)]
    # Boxes reach beyond the board by up to three cells.
    board = jnp.zeros((ROWS + 6, COLUMNS + 6), jnp.int32)
    board = jax.lax.dynamic_update_slice(board, box, (state.row + 3, state.column + 3))[3:-3, 3:-3]
    full = ((state.rows | state.rows >> 1 | state.rows >> 2) & EACH) == EACH
    cells = jnp.where(full[:, None], 0, jnp.where(start, board, jnp.minimum(board, 1)))
    left = (place > state.index) | (state.index == PIECES - 1)
    lights = start & jnp.any((state.bag[None] == place[:, None]) & left[None], 1)
    piece = state.piece.astype(jnp.int32)
    return Seen(cells, full, piece, state.coming.astype(jnp.int32), lights, state.score)
