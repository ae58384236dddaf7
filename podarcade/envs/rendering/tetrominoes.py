"""The seven tetrominoes: their shapes at each rotation, and their pictures."""

import functools

import numpy as np

from podarcade.envs.rendering import canvas, grid

PIECES = 7  # I O T S Z J L
COLOURS = (
    (0, 203, 225),
    (225, 206, 0),
    (187, 0, 222),
    (0, 226, 64),
    (208, 0, 0),
    (0, 119, 220),
    (215, 144, 0),
)
PANEL, GRID_LINE, UNLIT = (0, 0, 0), (22, 22, 28), (44, 44, 52)
FULL_EDGE, FULL_ROW = (214, 214, 222), (255, 255, 255)

CELL_HEIGHT, CELL_WIDTH = 5, 6  # of a cell of the board, in pixels
NEXT_HEIGHT, NEXT_WIDTH, LIGHT_HEIGHT, LIGHT_WIDTH = 14, 40, 8, 20  # of the pieces in NEXT and BAG

# Rows 1 and 2 of the 4 x 4 box of each piece, unrotated; o is the marked cell.
_STARTS = ("o### ....", ".##. .o#.", ".#.. o##.", ".##. o#..", "o#.. .##.", "#... o##.", "..#. o##.")


@functools.cache
def boxes() -> np.ndarray:
    """Return int[7, 4, 4, 4] by piece, clockwise quarter turns, row and column: 0 empty, 1 filled, 2 marked.

    I and O rotate within the box of 4 x 4, the others within its lower left 3 x 3.
    """
    rotated = np.zeros((PIECES, 4, 4, 4), int)
    for piece, start in enumerate(_STARTS):
        box = rotated[piece]
        box[0, 1:3] = [[".#o".index(letter) for letter in line] for line in start.split()]
        turning = box if piece < 2 else box[:, 1:, :3]
        for turns in range(1, 4):
            turning[turns] = np.rot90(turning[0], -turns)
    return rotated


@functools.cache
def cells(dim: bool, scale: int) -> np.ndarray:
    """Return the paired atlas of 23 tiles: empty; seven locked, perhaps dim; seven moving; seven marked; full row.

    Rows have an even number of cells, and a pair is 36 bytes wide, a multiple of 4, which a single cell is not:
    gathering pairs takes half the time.
    """
    empty = _cell(PANEL, PANEL)
    empty[-1], empty[:, -1] = GRID_LINE, GRID_LINE
    moving = [_bright(colour) for colour in COLOURS]
    locked = [_cell(_mixed(colour, 0, 0.6), _mixed(colour, 0, 0.2)) for colour in COLOURS] if dim else moving
    marked = [canvas.stamp(cell, np.ones((3, 2), bool), 1, 2, PANEL) for cell in moving]
    return grid.paired(_stack([empty, *locked, *moving, *marked, _cell(FULL_EDGE, FULL_ROW)], scale))


@functools.cache
def coming(scale: int) -> np.ndarray:
    """Return uint8[7, ...]: unrotated pieces in cells of the board, for NEXT."""
    pieces = [_whole(piece, _bright(COLOURS[piece]), NEXT_HEIGHT, NEXT_WIDTH) for piece in range(PIECES)]
    return _stack(pieces, scale)


@functools.cache
def lights(scale: int) -> np.ndarray:
    """Return uint8[15, ...]: small unrotated pieces for BAG, seven unlit and seven lit, and an empty one."""
    size = LIGHT_HEIGHT, LIGHT_WIDTH
    unlit = [_whole(piece, canvas.blank(3, 3, UNLIT), *size) for piece in range(PIECES)]
    lit = [_whole(piece, canvas.blank(3, 3, COLOURS[piece]), *size) for piece in range(PIECES)]
    return _stack([*unlit, *lit, canvas.blank(*size, PANEL)], scale)


def _stack(pictures, scale):
    return np.stack([canvas.enlarge(picture, scale) for picture in pictures])


def _mixed(colour, other, share):
    """Mix a colour with a share of black, 0, or of white, 255."""
    return tuple(round(value + (other - value) * share) for value in colour)


def _cell(edge, fill):
    """Return a cell uint8[5, 6, 3] with an edge of one pixel."""
    picture = canvas.blank(CELL_HEIGHT, CELL_WIDTH, edge)
    picture[1:-1, 1:-1] = fill
    return picture


def _bright(colour):
    return _cell(_mixed(colour, 255, 0.7), colour)


def _whole(piece, tile, height, width):
    """Return an unrotated piece made of tiles, centred in uint8[height, width, 3]."""
    shape = np.argwhere(boxes()[piece, 0])
    shape -= shape.min(0)
    size = np.array(tile.shape[:2])
    corner = (np.array((height, width)) - size * (shape.max(0) + 1)) // 2
    picture = canvas.blank(height, width, PANEL)
    for row, column in corner + shape * size:
        picture[row : row + size[0], column : column + size[1]] = tile
    return picture
