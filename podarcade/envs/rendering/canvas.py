"""Composition of frames: constant pages from NumPy, moving parts from jax.

Until it is finished a frame is rows of bytes, uint8[side, 3 * side]: loops over a last axis of three colours are slow
on a CPU, loops over whole rows are fast. A `Part` is a patch of bytes with its position; `compose` places all parts
on the page. Rows, columns and sizes are those of the logical grid of 128; patches are already enlarged by the scale,
1 or 2.

Shapes are drawn with integers. A float is rounded once, after a product with a power of two, which is exact, so that
every program draws the same bytes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import font

GRID = 128
FULL = 256  # coverage of a pixel that is entirely inside a shape
SCORE_ROW, SCORE_SIZE = 1, 2  # the score is drawn with font pixels of 2 x 2
TITLE_ROW = 118

Colour = tuple[int, int, int]


class Part(NamedTuple):
    """A patch of bytes, uint8[height * scale, 3 * width * scale], and the logical position of its corner."""

    row: int
    column: int
    patch: jax.Array


def blank(height: int, width: int, colour: Colour) -> np.ndarray:
    """Return uint8[height, width, 3] of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def stamp(picture: np.ndarray, ink: np.ndarray, row: int, column: int, colour: Colour, size: int = 1) -> np.ndarray:
    """Return a copy of `picture` with the mask `ink`, bool[h, w], enlarged `size` times, in `colour`."""
    ink = enlarge(ink, size)
    picture = picture.copy()
    picture[row : row + ink.shape[0], column : column + ink.shape[1]][ink] = colour
    return picture


def page(background: Colour, panel: Colour, side: int, title: str, colour: Colour) -> np.ndarray:
    """Return a page uint8[128, 128, 3] with a centred panel of the given side, and the title below it."""
    picture = blank(GRID, GRID, background)
    margin = (GRID - side) // 2
    picture[margin : margin + side, margin : margin + side] = panel
    ink = font.text(title)
    return stamp(picture, ink, TITLE_ROW, (GRID - ink.shape[1]) // 2, colour)


def enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """Repeat each pixel: [height, width, ...] to [height * scale, width * scale, ...]."""
    return picture.repeat(scale, 0).repeat(scale, 1)


def rows(picture: np.ndarray) -> np.ndarray:
    """Return a picture uint8[..., width, 3] as rows of bytes, uint8[..., 3 * width]."""
    return np.ascontiguousarray(picture).reshape(*picture.shape[:-2], -1)


def compose(page: np.ndarray, parts: list[Part]) -> jax.Array:
    """Compose a frame from a page and parts.

    Parts that start in the same row must have the same height, and others must share no row: then the frame is a
    stack of bands, each a row of blocks, and is written once.

    Args:
      page: uint8[side, 3 * side], a constant.
      parts: the patches that replace pixels of the page.

    Returns:
      uint8[side, side, 3].
    """
    scale = page.shape[0] // GRID
    bands, bottom = [], 0
    for row in sorted({part.row for part in parts}):
        beside = sorted((part for part in parts if part.row == row), key=lambda part: part.column)
        top, height = row * scale, beside[0].patch.shape[0]
        assert top >= bottom and all(part.patch.shape[0] == height for part in beside), "parts overlap"
        bands += [page[bottom:top], _band(page[top : top + height], beside, scale)]
        bottom = top + height
    return jnp.concatenate([*bands, page[bottom:]]).reshape(GRID * scale, GRID * scale, 3)


def _band(band: np.ndarray, parts: list[Part], scale: int) -> jax.Array:
    blocks, right = [], 0
    for part in parts:
        left = part.column * scale * 3
        assert left >= right, "parts overlap"
        blocks += [band[:, right:left], part.patch]
        right = left + part.patch.shape[1]
    return jnp.concatenate([*blocks, band[:, right:]], 1)


def tiles(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """Return a board of tiles as rows of bytes.

    Args:
      atlas: uint8[T, height, width, 3], a constant; an even width.
      index: int[R, C], the tile of each cell.

    Returns:
      uint8[R * height, C * width * 3].
    """
    count, height, width, _ = atlas.shape
    # Rows of tiles are gathered as words of 4 or 2 bytes, which is much faster than single bytes.
    word = np.uint32 if width % 4 == 0 else np.uint16
    words = jnp.asarray(rows(atlas).view(word).reshape(count * height, -1))
    index = index.astype(jnp.int32)  # an int8 is too small for the row numbers of an atlas
    fetched = words.at[index[:, None, :] * height + np.arange(height)[None, :, None]].get(mode="promise_in_bounds")
    fetched = jax.lax.bitcast_convert_type(fetched, jnp.uint8)
    return fetched.reshape(index.shape[0] * height, index.shape[1] * width * 3)


def blend(below: jax.Array, above: jax.Array, coverage: jax.Array) -> jax.Array:
    """Blend bytes of `above` over bytes of `below`; coverage is an int of 0 to 256."""
    below, above = jnp.asarray(below).astype(jnp.int32), jnp.asarray(above).astype(jnp.int32)
    return (below + (((above - below) * coverage) >> 8)).astype(jnp.uint8)


def overlap(low: jax.Array, high: jax.Array, edge: np.ndarray) -> jax.Array:
    """Return the coverage of each pixel in a row by an interval; all in 1/256 of a pixel.

    Args:
      low, high: int32[], ends of the interval, low <= high.
      edge: int32[n], left edge of each pixel; its right edge is 256 further.

    Returns:
      int32[n], coverage of 0 to 256.
    """
    return jnp.clip(high - edge, 0, FULL) - jnp.clip(low - edge, 0, FULL)


@functools.cache
def _half_digits(background: Colour, colour: Colour, scale: int) -> np.ndarray:
    """Return uint8[21, ...]: the left and right halves of the ten digits, and an empty half."""
    width = font.PITCH * SCORE_SIZE
    cell = blank(font.HEIGHT * SCORE_SIZE, width, background)
    digits = [stamp(cell, font.glyph(letter), 0, 1, colour, SCORE_SIZE) for letter in "0123456789"]
    halves = [half for digit in digits for half in np.split(digit, 2, axis=1)]
    return np.stack([enlarge(half, scale) for half in [*halves, cell[:, : width // 2]]])


def number(value: jax.Array, background: Colour, colour: Colour, scale: int) -> Part:
    """Draw a number, int32[], at the top centre of the page: up to three digits, no leading zeros."""
    value = jnp.clip(value, 0, 999)
    count = 1 + (value >= 10) + (value >= 100)
    # The row is six half digits, so that one, two and three digits are all centred.
    place = np.arange(6)
    half = place + 3 - count  # 0 is the left half of the hundreds
    power = jnp.where(half < 2, 100, jnp.where(half < 4, 10, 1))
    shown = (place >= 3 - count) & (place < 3 + count)
    index = jnp.where(shown, 2 * (value // power % 10) + half % 2, 20)
    column = (GRID - 3 * font.PITCH * SCORE_SIZE) // 2
    return Part(SCORE_ROW, column, tiles(_half_digits(background, colour, scale), index[None]))
