"""Frames put together from parts: numpy makes what is constant, jax draws what moves.

A frame in the making is rows of bytes, uint8[side, 3 * side]: loops over a last axis of three
colours are slow on a CPU, loops over whole rows are not. A part of it is a `Part`, a
patch of bytes with its place; `compose` lays all parts over the page.
Rows, columns and sizes are those of the logical grid of 128; patches come enlarged by
the scale, 1 or 2.

Shapes are drawn with integers only. A float is rounded once, after a product
with a power of two, which is exact: so a frame drawn again by another program has the same bytes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import font

GRID = 128
FULL = 256  # coverage of a pixel that lies wholly inside a shape
SCORE_ROW, SCORE_SIZE = 1, 2  # the score is drawn with font pixels of 2 x 2
TITLE_ROW = 118

Colour = tuple[int, int, int]


class Part(NamedTuple):
    """A patch of bytes, uint8[height * scale, 3 * width * scale], and the logical place of its corner."""

    row: int
    column: int
    patch: jax.Array


def blank(height: int, width: int, colour: Colour) -> np.ndarray:
    """uint8[height, width, 3] of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def stamp(picture: np.ndarray, ink: np.ndarray, row: int, column: int, colour: Colour, size: int = 1) -> np.ndarray:
    """A copy of `picture` with the marks of `ink`, bool[h, w], each `size` pixels wide, in `colour`."""
    ink = enlarge(ink, size)
    picture = picture.copy()
    picture[row : row + ink.shape[0], column : column + ink.shape[1]][ink] = colour
    return picture


def page(background: Colour, panel: Colour, side: int, title: str, colour: Colour) -> np.ndarray:
    """uint8[128, 128, 3]: a centred panel of the given side, and the title below it."""
    picture = blank(GRID, GRID, background)
    margin = (GRID - side) // 2
    picture[margin : margin + side, margin : margin + side] = panel
    ink = font.text(title)
    return stamp(picture, ink, TITLE_ROW, (GRID - ink.shape[1]) // 2, colour)


def enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """[height, width, ...] -> [height * scale, width * scale, ...], each pixel repeated."""
    return picture.repeat(scale, 0).repeat(scale, 1)


def rows(picture: np.ndarray) -> np.ndarray:
    """uint8[..., width, 3] -> uint8[..., 3 * width]: the same picture as rows of bytes."""
    return np.ascontiguousarray(picture).reshape(*picture.shape[:-2], -1)


def compose(page: np.ndarray, parts: list[Part]) -> jax.Array:
    """The finished frame: a page with parts laid over it.

    Parts that begin in the same row must be of the same height, others must share no
    row: then the frame is a pile of bands, each a row of blocks, and is written once.

    Args:
      page: uint8[side, 3 * side], a constant.
      parts: what changes.

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
    """A board of tiles as rows of bytes.

    Args:
      atlas: uint8[T, height, width, 3], a constant; an even width.
      index: int[R, C], which tile lies where.

    Returns:
      uint8[R * height, C * width * 3].
    """
    count, height, width, _ = atlas.shape
    # Whole rows of tiles are fetched, in words as wide as they allow: much faster than single bytes.
    word = np.uint32 if width % 4 == 0 else np.uint16
    words = jnp.asarray(rows(atlas).view(word).reshape(count * height, -1))
    index = index.astype(jnp.int32)  # the rows of an atlas are more than an int8 can count
    fetched = words.at[index[:, None, :] * height + np.arange(height)[None, :, None]].get(mode="promise_in_bounds")
    fetched = jax.lax.bitcast_convert_type(fetched, jnp.uint8)
    return fetched.reshape(index.shape[0] * height, index.shape[1] * width * 3)


def blend(below: jax.Array, above: jax.Array, coverage: jax.Array) -> jax.Array:
    """Bytes of `above` laid over bytes of `below`; coverage is an int of 0 to 256."""
    below, above = jnp.asarray(below).astype(jnp.int32), jnp.asarray(above).astype(jnp.int32)
    return (below + (((above - below) * coverage) >> 8)).astype(jnp.uint8)


def overlap(low: jax.Array, high: jax.Array, edge: np.ndarray) -> jax.Array:
    """How much of each pixel in a row lies between two places; all in 1/256 of a pixel.

    Args:
      low, high: int32[], low <= high.
      edge: int32[n], where each pixel begins; it ends 256 later.

    Returns:
      int32[n] coverage of 0 to 256.
    """
    return jnp.clip(high - edge, 0, FULL) - jnp.clip(low - edge, 0, FULL)


@functools.cache
def _half_digits(background: Colour, colour: Colour, scale: int) -> np.ndarray:
    """uint8[21, ...]: the left and right halves of the ten digits, and an empty half."""
    width = font.PITCH * SCORE_SIZE
    cell = blank(font.HEIGHT * SCORE_SIZE, width, background)
    digits = [stamp(cell, font.glyph(letter), 0, 1, colour, SCORE_SIZE) for letter in "0123456789"]
    halves = [half for digit in digits for half in np.split(digit, 2, axis=1)]
    return np.stack([enlarge(half, scale) for half in [*halves, cell[:, : width // 2]]])


def number(value: jax.Array, background: Colour, colour: Colour, scale: int) -> Part:
    """A number of up to three digits, int32[], at the top centre of the page; no leading zeros."""
    value = jnp.clip(value, 0, 999)
    count = 1 + (value >= 10) + (value >= 100)
    # Half a digit is the unit of the row of six, so that one, two and three digits are all centred.
    place = np.arange(6)
    half = place + 3 - count  # counted from the left half of the hundreds
    power = jnp.where(half < 2, 100, jnp.where(half < 4, 10, 1))
    shown = (place >= 3 - count) & (place < 3 + count)
    index = jnp.where(shown, 2 * (value // power % 10) + half % 2, 20)
    column = (GRID - 3 * font.PITCH * SCORE_SIZE) // 2
    return Part(SCORE_ROW, column, tiles(_half_digits(background, colour, scale), index[None]))
