"""Boards of small cells: their sizes, their page and their tiles."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import canvas, sprites

LARGEST = 100  # side of the largest board in pixels
TOP = 16  # first row of a board


def cell_side(board: int) -> int:
    """Return the side of a cell with its grid line, in logical pixels, of a board of `board` x `board` cells."""
    return LARGEST // board


def panel_side(board: int) -> int:
    """Return the side of the whole board in logical pixels."""
    return board * cell_side(board)


def left(board: int) -> int:
    """Return the first column of a board, which is centred on the page."""
    return (canvas.GRID - panel_side(board)) // 2


def page(background: canvas.Colour, line: canvas.Colour, board: int, title: str, colour: canvas.Colour) -> np.ndarray:
    """Return a page uint8[128, 128, 3] with the title, and the grid lines below and to the right of the board."""
    picture = canvas.page(background, background, panel_side(board), title, colour)
    bottom, right = TOP + panel_side(board), left(board) + panel_side(board)
    picture[bottom, left(board) : right + 1] = line
    picture[TOP : bottom + 1, right] = line
    return picture


def tile(side: int, fill: canvas.Colour, line: canvas.Colour) -> np.ndarray:
    """Return a cell uint8[side, side, 3] with the grid lines above it and to its left."""
    picture = canvas.blank(side, side, line)
    picture[1:, 1:] = fill
    return picture


def sprite_tile(art: str, palette: dict[str, canvas.Colour], fill: canvas.Colour, line: canvas.Colour) -> np.ndarray:
    """Return a cell like `tile`, filled by a sprite that is one pixel smaller."""
    picture = sprites.sprite(art, palette, fill)
    cell = tile(len(picture) + 1, fill, line)
    cell[1:, 1:] = picture
    return cell


def paired(atlas: np.ndarray) -> np.ndarray:
    """Return every pair of tiles side by side: uint8[T, side, side, 3] to uint8[T², side, 2 * side, 3].

    With it, `pairs` gathers half as many tiles. Worthwhile only for a small T.
    """
    count = len(atlas)
    return np.concatenate([atlas.repeat(count, 0), np.tile(atlas, (count, 1, 1, 1))], 2)


def pairs(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """Return a board of tiles as rows of bytes, like `canvas.tiles`.

    Args:
      atlas: uint8[T², height, 2 * width, 3], a constant from `paired`.
      index: int[R, C], which of the T tiles each cell has; an even C.

    Returns:
      uint8[R * height, C * width * 3].
    """
    index = index.astype(jnp.int32)
    return canvas.tiles(atlas, index[:, ::2] * round(len(atlas) ** 0.5) + index[:, 1::2])
