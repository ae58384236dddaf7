"""Boards of small cells: how large they are, the page they lie on, and the tiles they are made of."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import canvas, sprites

MOST = 100  # a board is no larger than this
TOP = 16  # the row of its first pixel


def cell_side(board: int) -> int:
    """Logical pixels along a cell, with the grid line before it, of a board of `board` x `board` cells."""
    return MOST // board


def panel_side(board: int) -> int:
    """Logical pixels along the whole board."""
    return board * cell_side(board)


def left(board: int) -> int:
    """The column of the first pixel of a board, which stands in the middle of the page."""
    return (canvas.GRID - panel_side(board)) // 2


def page(background: canvas.Colour, line: canvas.Colour, board: int, title: str, colour: canvas.Colour) -> np.ndarray:
    """uint8[128, 128, 3]: a page with the title, and the grid lines below the board and to its right."""
    picture = canvas.page(background, background, panel_side(board), title, colour)
    bottom, right = TOP + panel_side(board), left(board) + panel_side(board)
    picture[bottom, left(board) : right + 1] = line
    picture[TOP : bottom + 1, right] = line
    return picture


def tile(side: int, fill: canvas.Colour, line: canvas.Colour) -> np.ndarray:
    """uint8[side, side, 3]: a cell with the grid lines above it and to its left."""
    picture = canvas.blank(side, side, line)
    picture[1:, 1:] = fill
    return picture


def sprite_tile(art: str, palette: dict[str, canvas.Colour], fill: canvas.Colour, line: canvas.Colour) -> np.ndarray:
    """As `tile`, filled by a sprite that is one pixel smaller."""
    picture = sprites.sprite(art, palette, fill)
    cell = tile(len(picture) + 1, fill, line)
    cell[1:, 1:] = picture
    return cell


def paired(atlas: np.ndarray) -> np.ndarray:
    """uint8[T, side, side, 3] -> uint8[T², side, 2 * side, 3]: every two tiles beside each other.

    For `pairs`: half as many tiles have to be fetched. Only worth while if there are few different ones.
    """
    count = len(atlas)
    return np.concatenate([atlas.repeat(count, 0), np.tile(atlas, (count, 1, 1, 1))], 2)


def pairs(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """A board of tiles as rows of bytes, like `canvas.tiles`.

    Args:
      atlas: uint8[T², height, 2 * width, 3], a constant made by `paired`.
      index: int[R, C], which of the T tiles lies where; an even C.

    Returns:
      uint8[R * height, C * width * 3].
    """
    index = index.astype(jnp.int32)
    return canvas.tiles(atlas, index[:, ::2] * round(len(atlas) ** 0.5) + index[:, 1::2])
