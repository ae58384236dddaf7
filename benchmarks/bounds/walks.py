"""Walks over boards that several players share."""

import jax.numpy as jnp
import numpy as np

UP, DOWN, LEFT, RIGHT, CONFIRM = range(5)


def cycle(side: int) -> np.ndarray:
    """Return the moves int32[side, side] of a Hamiltonian cycle over a board with an even side.

    It goes up the first column, and back through the others row by row.
    """
    moves = np.full((side, side), UP, np.int32)
    moves[0::2, 1:], moves[1::2, 1:] = RIGHT, LEFT
    moves[0, 0] = RIGHT
    moves[0:-1:2, -1], moves[1:-1:2, 1] = DOWN, DOWN
    moves[-1, 1] = LEFT
    return moves


def order(moves: np.ndarray) -> np.ndarray:
    """Return the place of each cell in a cycle of moves from the first cell on, int32[side, side]."""
    places = np.zeros(moves.shape, np.int32)
    row, column = 0, 0
    for place in range(moves.size):
        places[row, column] = place
        move = moves[row, column]
        row, column = row + (move == DOWN) - (move == UP), column + (move == RIGHT) - (move == LEFT)
    return places


def towards(row, column, to_row, to_column):
    """Return the move from a cell towards another one, rows first, int32[]; `CONFIRM` if they are equal."""
    across = jnp.where(column < to_column, RIGHT, jnp.where(column > to_column, LEFT, CONFIRM))
    return jnp.where(row < to_row, DOWN, jnp.where(row > to_row, UP, across)).astype(jnp.int32)
