"""Boards of cells: the cursor, its moves, and random cells."""

import jax
import jax.numpy as jnp
import numpy as np


def cursor(row: jax.Array, column: jax.Array, side: int) -> jax.Array:
    """Return bool[side, side], set in the cursor's cell."""
    line = np.arange(side, dtype=np.int8)
    return (line[:, None] == row) & (line[None] == column)


def moved(row: jax.Array, column: jax.Array, action: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """Return row and column, int8[] each, after action 0 up, 1 down, 2 left or 3 right, clipped at the border."""
    row = jnp.clip(row - (action == 0) + (action == 1), 0, side - 1)
    column = jnp.clip(column - (action == 2) + (action == 3), 0, side - 1)
    return row.astype(jnp.int8), column.astype(jnp.int8)


def corner_square(word: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """Return row and column, int8[] each, uniform over the first `side` rows and columns, for a random uint32."""
    place = word % side**2
    return (place // side).astype(jnp.int8), (place % side).astype(jnp.int8)


def distinct(words: jax.Array, cells: int) -> list[jax.Array]:
    """Return k distinct numbers below `cells`, int32[] each, uniform over all sequences, for random words uint32[k]."""
    # Initially each place is an index into the cells that the earlier places left free.
    places = [(word % (cells - count)).astype(jnp.int32) for count, word in enumerate(words)]
    # Then, backwards from the second last, each cell is put back: later places at or beyond it move up by one.
    for count in reversed(range(len(places))):
        later = [place + (place >= places[count]) for place in places[count + 1 :]]
        places = [*places[: count + 1], *later]
    return places


def among(places: list[jax.Array], side: int) -> jax.Array:
    """Return bool[side, side], set in the cells with these row-major numbers."""
    return jnp.any(np.arange(side**2)[:, None] == jnp.stack(places)[None], 1).reshape(side, side)


def block_sums(marked: jax.Array) -> jax.Array:
    """Return the number of marked cells in the 3 x 3 block around each cell, its own included, int32[side, side]."""
    padded = jnp.pad(marked.astype(jnp.int32), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
