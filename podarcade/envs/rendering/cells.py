"""Pictures of vectors: rows of labelled cells, coloured by value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import font

PAGE, TEXT, HIDDEN_TEXT = (20, 24, 40), (235, 235, 235), (255, 180, 0)
LOW, ZERO, HIGH = (60, 120, 255), (34, 38, 58), (120, 230, 140)
CELL, GAP, MARGIN, LETTERS, COLUMNS = 10, 2, 8, 12, 26  # pixels, pixels, pixels, letters of a label, cells in a row
WIDTH = 176  # least width of a picture in pixels


def picture(title: str, visible: dict[str, jax.Array], hidden: dict[str, jax.Array]) -> jax.Array:
    """Return a picture of named vectors, uint8[H, W, 3].

    Each value is a cell, blue below zero and green above, with intensity √|v| up to |v| = 1. Long fields wrap. Labels
    of hidden fields are amber.

    Args:
      title: heading; letters and digits.
      visible: name -> float32[n].
      hidden: name -> float32[n].
    """
    fields = visible | hidden
    sizes = tuple((name, value.shape[0], name in hidden) for name, value in fields.items())
    page, index = _layout(title, sizes)
    values = jnp.clip(jnp.concatenate(list(fields.values())), -1.0, 1.0)[jnp.maximum(index, 0)]
    weight = jnp.sqrt(jnp.abs(values))[..., None]
    low, zero, high = (jnp.array(colour, jnp.float32)[None, None] for colour in (LOW, ZERO, HIGH))
    colour = (1 - weight) * zero + weight * jnp.where((values > 0)[..., None], high, low)
    return jnp.where((index >= 0)[..., None], jnp.round(colour).astype(jnp.uint8), page)


@functools.cache
def _layout(title: str, sizes: tuple[tuple[str, int, bool], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the page uint8[H, W, 3], and for each pixel the index of its value int32[H, W], -1 for none."""
    pitch, left = CELL + GAP, 2 * MARGIN + LETTERS * font.PITCH
    columns = min(max(size for _, size, _ in sizes), COLUMNS)
    height = 3 * MARGIN + font.HEIGHT + sum(-(-size // COLUMNS) * pitch + GAP for _, size, _ in sizes)
    width = max(left + columns * pitch, 2 * MARGIN + font.PITCH * len(title), WIDTH - MARGIN) + MARGIN
    page = np.full((height, width, 3), PAGE, np.uint8)
    index = np.full((height, width), -1, np.int32)
    _write(page, MARGIN, MARGIN, title, TEXT)
    top, first = 2 * MARGIN + font.HEIGHT, 0
    for name, size, is_hidden in sizes:
        _write(page, top + 2, MARGIN, name[:LETTERS], HIDDEN_TEXT if is_hidden else TEXT)
        for cell in range(size):
            row, column = top + cell // COLUMNS * pitch, left + cell % COLUMNS * pitch
            index[row : row + CELL, column : column + CELL] = first + cell
        top, first = top + -(-size // COLUMNS) * pitch + GAP, first + size
    return page, index


def _write(page: np.ndarray, row: int, column: int, words: str, colour: tuple[int, int, int]) -> None:
    mask = font.text(words.upper())
    page[row : row + mask.shape[0], column : column + mask.shape[1]][mask] = colour
