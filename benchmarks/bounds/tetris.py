"""Players of Tetris."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.games.tetris import COLUMNS, EACH, ROWS, START_COLUMN, Tetris, TetrisState
from podarcade.envs.rendering import tetrominoes
from podarcade.envs.rendering.tetrominoes import PIECES

TURN, DROP, LEFT, RIGHT = range(4)
LATE = 100.0  # what a place is worth less that cannot be reached in time

# Rotation and column of the box for each piece, found by an evolutionary search.
PLACES = ((1, 4), (0, 1), (0, 7), (1, -1), (1, 3), (1, 3), (2, 7))


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


def memoryless(game: Tetris) -> Player:
    """Drop each kind of piece in a fixed place."""
    wanted = np.zeros((PIECES, ROWS, COLUMNS), bool)
    for piece, (rotation, column) in enumerate(PLACES):
        for row, place in np.argwhere(tetrominoes.boxes()[piece, rotation] > 0):
            wanted[piece, row, column + place] = True
    shapes, firsts = jax.vmap(_shape)(jnp.asarray(wanted))

    def act(memory, seen, previous, key):
        shape, first = _shape(seen.cells > 0)
        wanted = firsts[seen.piece]
        sideways = jnp.where(first < wanted, RIGHT, jnp.where(first > wanted, LEFT, DROP))
        return memory, jnp.where(jnp.all(shape == shapes[seen.piece]), sideways, TURN).astype(jnp.int32)

    return Player(act, sees=seen)


def _shape(cells):
    """Return the cells bool[4, 4] from the first row and column on that are not empty, and that column, int32[]."""
    row, column = jnp.argmax(jnp.any(cells, axis=1)), jnp.argmax(jnp.any(cells, axis=0))
    return jax.lax.dynamic_slice(jnp.pad(cells, ((0, 4), (0, 4))), (row, column), (4, 4)), column


class Known(NamedTuple):
    """What a player with memory knows: locked blocks are where it has seen pieces come to rest."""

    blocks: jax.Array  # bool[20, 10] locked blocks, full rows not yet removed
    piece: jax.Array  # int32[] the piece that the action moves: the next one, if the current one is at rest
    rotation: jax.Array  # int32[]
    row: jax.Array  # int32[] of its box
    column: jax.Array  # int32[] of its box


def known(state: TetrisState) -> Known:
    """Return what the full frame shows, but for the pieces after the one that moves."""
    blocks = (state.rows[:, None] >> 3 * np.arange(COLUMNS)[None] & 7) > 0
    moving, zero = (state.piece, state.rotation, state.row, state.column), jnp.zeros_like(state.row)
    following = (state.coming[0], zero, zero, jnp.full_like(state.column, START_COLUMN))
    chosen = [jnp.where(state.locked, b, a).astype(jnp.int32) for a, b in zip(moving, following, strict=True)]
    return Known(blocks, *chosen)


def memory(game: Tetris) -> Player:
    """Drop each piece where the board is best by heights, holes and bumps, with the weights of a well-known search.

    The weights are those of Y. Lee, "Tetris AI - the (near) perfect player" (2013).
    """
    boxes = jnp.asarray(tetrominoes.boxes() > 0)
    columns = np.arange(-2, COLUMNS)

    def act(memory, seen, previous, key):
        board = _without_full(seen.blocks)
        place = jax.vmap(jax.vmap(lambda box, column: _value(board, box, column), (None, 0)), (0, None))
        # Places that need more moves than there are until the piece meets a block on its way come last.
        turns = (np.arange(4)[:, None] - seen.rotation) % 4
        tops, line = jnp.argmax(jnp.pad(board, ((0, 1), (0, 0)), constant_values=True), axis=0), np.arange(COLUMNS)
        first, last = jnp.minimum(columns, seen.column), jnp.maximum(columns, seen.column) + 3
        between = (line[None] >= first[:, None]) & (line[None] <= last[:, None])
        peak = jnp.min(jnp.where(between, tops[None], ROWS), axis=1)
        late = (turns + jnp.abs(columns - seen.column)[None]) * game.fall > peak[None] - 3 - seen.row
        best = jnp.argmax(place(boxes[seen.piece], columns) - LATE * late)
        rotation, column = best // len(columns), columns[0] + best % len(columns)
        sideways = jnp.where(seen.column < column, RIGHT, jnp.where(seen.column > column, LEFT, DROP))
        return memory, jnp.where(seen.rotation != rotation, TURN, sideways).astype(jnp.int32)

    return Player(act, sees=known)


def _value(board, box, column):
    """Return what the board is worth after a box bool[4, 4] is dropped at a column, float32[]; -inf beyond walls."""
    line = np.arange(ROWS)
    wide = jnp.pad(board, ((0, 0), (3, 3)))
    tops = jnp.where(jnp.any(wide, axis=0), jnp.argmax(wide, axis=0), ROWS)
    under = jax.lax.dynamic_slice(tops, (column + 3,), (4,))
    filled, lowest = jnp.any(box, axis=0), 3 - jnp.argmax(box[::-1], axis=0)
    row = jnp.min(jnp.where(filled, under - 1 - lowest, ROWS))
    tall = jnp.pad(wide, ((3, 3), (0, 0)))
    piece = jax.lax.dynamic_update_slice(jnp.zeros_like(tall), box, (row + 3, column + 3))
    inside = jnp.sum(piece[3:-3, 3:-3]) == 4
    after = (tall | piece)[3:-3, 3:-3]
    lines = jnp.sum(jnp.all(after, axis=1))
    after = _without_full(after)
    heights = ROWS - jnp.where(jnp.any(after, axis=0), jnp.argmax(after, axis=0), ROWS)
    holes = jnp.sum(~after & (line[:, None] >= ROWS - heights[None]))
    bumps = jnp.sum(jnp.abs(jnp.diff(heights)))
    value = 0.760666 * lines - 0.510066 * jnp.sum(heights) - 0.35663 * holes - 0.184483 * bumps
    return jnp.where(inside, value, -jnp.inf)


def _without_full(blocks):
    """Remove full rows: the others move down, and empty ones are added on top."""
    full = jnp.all(blocks, axis=1)
    kept = jnp.argsort(~full, stable=True)
    return blocks[kept] & ~full[kept][:, None]
