"""Frames put together from parts: numpy makes what is constant, jax pastes what moves.

A frame in the making is rows of bytes, uint8[side, 3 * side]: loops over a last axis of three
colours are slow on a CPU, loops over whole rows are not. `pixels` gives the finished
frame. Rows, columns and sizes are those of the logical grid of 128; the scale, 1 or 2, is
read off the frame.

Shapes are drawn with integers only. A float is rounded once, after a product
with a power of two, which is exact: so a frame drawn again by another program has the same bytes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.pixels import font

GRID = 128
FULL = 256  # coverage of a pixel that lies wholly inside a shape
SCORE_ROW, SCORE_SIZE = 1, 2  # the score is drawn with font pixels of 2 x 2
TITLE_ROW = 118

Colour = tuple[int, int, int]


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


def pixels(frame: jax.Array) -> jax.Array:
    """uint8[side, 3 * side] -> uint8[side, side, 3]: the finished frame."""
    return frame.reshape(frame.shape[0], -1, 3)


def paste(frame: jax.Array, patch: jax.Array, row: int, column: int) -> jax.Array:
    """The frame with a patch of bytes laid over it, its corner at a fixed logical place."""
    scale = frame.shape[0] // GRID
    return jax.lax.dynamic_update_slice(jnp.asarray(frame), patch, (row * scale, column * scale * 3))


def tiles(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """A board of tiles as rows of bytes.

    Args:
      atlas: uint8[T, height, width, 3], a constant; an even width.
      index: int32[R, C], which tile lies where.

    Returns:
      uint8[R * height, C * width * 3].
    """
    count, height, width, _ = atlas.shape
    # Whole tiles are fetched in words as wide as their rows allow, and put in place as bytes.
    word = np.uint32 if width % 4 == 0 else np.uint16
    words = jnp.asarray(rows(atlas).view(word))
    fetched = words.at[index].get(mode="promise_in_bounds")
    fetched = jax.lax.bitcast_convert_type(fetched, jnp.uint8).reshape(*index.shape, height, width * 3)
    return fetched.transpose(0, 2, 1, 3).reshape(index.shape[0] * height, index.shape[1] * width * 3)


def blend(below: jax.Array, above: jax.Array, coverage: jax.Array) -> jax.Array:
    """Bytes of `above` laid over bytes of `below`; coverage is an int of 0 to 256."""
    below, above = jnp.asarray(below).astype(jnp.int32), jnp.asarray(above).astype(jnp.int32)
    return (below + (((above - below) * coverage) >> 8)).astype(jnp.uint8)


def overlap(low: jax.Array, high: jax.Array, length: int) -> jax.Array:
    """How much of each of `length` pixels in a row lies between two places.

    Args:
      low, high: int32[...], in 1/256 of a pixel from the edge of the first one; low <= high.

    Returns:
      int32[..., length] coverage of 0 to 256.
    """
    edge = FULL * np.arange(length, dtype=np.int32)
    return jnp.clip(high[..., None] - edge, 0, FULL) - jnp.clip(low[..., None] - edge, 0, FULL)


@functools.cache
def _half_digits(background: Colour, colour: Colour, scale: int) -> np.ndarray:
    """uint8[21, ...]: the left and right halves of the ten digits, and an empty half."""
    width = font.PITCH * SCORE_SIZE
    cell = blank(font.HEIGHT * SCORE_SIZE, width, background)
    digits = [stamp(cell, font.glyph(letter), 0, 1, colour, SCORE_SIZE) for letter in "0123456789"]
    halves = [half for digit in digits for half in np.split(digit, 2, axis=1)]
    return np.stack([enlarge(half, scale) for half in [*halves, cell[:, : width // 2]]])


def number(frame: jax.Array, value: jax.Array, background: Colour, colour: Colour) -> jax.Array:
    """The frame with a number of up to three digits, int32[], at the top centre; no leading zeros."""
    atlas = _half_digits(background, colour, frame.shape[0] // GRID)
    value = jnp.clip(value, 0, 999)
    count = 1 + (value >= 10) + (value >= 100)
    # Half a digit is the unit of the row of six, so that one, two and three digits are all centred.
    place = np.arange(6)
    half = place + 3 - count  # counted from the left half of the hundreds
    power = jnp.where(half < 2, 100, jnp.where(half < 4, 10, 1))
    shown = (place >= 3 - count) & (place < 3 + count)
    index = jnp.where(shown, 2 * (value // power % 10) + half % 2, 20)
    return paste(frame, tiles(atlas, index[None]), SCORE_ROW, (GRID - 3 * font.PITCH * SCORE_SIZE) // 2)
