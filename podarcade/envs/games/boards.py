"""What games on a board of cells share: a cursor, its moves, and cells chosen by chance."""

import jax
import jax.numpy as jnp
import numpy as np


def cursor(row: jax.Array, column: jax.Array, side: int) -> jax.Array:
    """bool[side, side]: true in the cursor's cell."""
    line = np.arange(side, dtype=np.int8)
    return (line[:, None] == row) & (line[None] == column)


def moved(row: jax.Array, column: jax.Array, action: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """The row and column, int8[], after 0 up, 1 down, 2 left or 3 right; it stops at the border."""
    row = jnp.clip(row - (action == 0) + (action == 1), 0, side - 1)
    column = jnp.clip(column - (action == 2) + (action == 3), 0, side - 1)
    return row.astype(jnp.int8), column.astype(jnp.int8)


def corner_square(word: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """A random uint32 -> row and column, int8[], uniform over the `side` x `side` cells of the first corner."""
    place = word % side**2
    return (place // side).astype(jnp.int8), (place % side).astype(jnp.int8)


def distinct(words: jax.Array, cells: int) -> list[jax.Array]:
    """Random uint32[k] -> k different numbers below `cells`, int32[] each; all sequences are alike."""
    # At first each is a place among the cells that those before it have left.
    places = [(word % (cells - count)).astype(jnp.int32) for count, word in enumerate(words)]
    # Then, from the last but one back to the first, each cell is put back: whoever lies at or beyond it moves up.
    for count in reversed(range(len(places))):
        later = [place + (place >= places[count]) for place in places[count + 1 :]]
        places = [*places[: count + 1], *later]
    return places


def among(places: list[jax.Array], side: int) -> jax.Array:
    """bool[side, side]: true in the cells with these numbers, counted along the rows."""
    return jnp.any(np.arange(side**2)[:, None] == jnp.stack(places)[None], 1).reshape(side, side)
