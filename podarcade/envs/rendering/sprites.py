"""Sprites: small pictures written as text, and the shapes of arrows."""

import numpy as np

Colour = tuple[int, int, int]

MINE = """
....#....
.#.###.#.
..#####..
.##oo####
###o#####
.########
..#####..
.#.###.#.
....#....
"""


def sprite(art: str, palette: dict[str, Colour], background: Colour) -> np.ndarray:
    """Return the picture uint8[height, width, 3] of a text; a dot is the background."""
    colours = {".": background, **palette}
    return np.array([[colours[mark] for mark in line] for line in art.strip().split("\n")], np.uint8)


def _coverage(inside, side: int, scale: int) -> np.ndarray:
    """Return the share of each pixel inside a shape, float[side * scale, side * scale], by 8 x 8 samples."""
    samples = 8
    at = (np.arange(side * scale * samples) + 0.5) / (scale * samples) - side / 2
    hit = inside(at[None, :], at[:, None])
    return hit.reshape(side * scale, samples, side * scale, samples).mean((1, 3))


def straight_arrow(size: int, side: int, scale: int) -> np.ndarray:
    """Return the coverage float[side * scale, side * scale] of an arrow to the right; it grows with `size`."""
    thickness, head = 1.0 + 0.5 * size, 4.5 + size
    tip = side / 2 - 1

    def inside(x, y):
        shaft = (np.abs(y) <= thickness) & (x >= 1 - side / 2) & (x <= tip - head)
        return shaft | ((x > tip - head) & (np.abs(y) <= 0.95 * (tip - x)))

    return _coverage(inside, side, scale)


def turning_arrow(size: int, side: int, scale: int) -> np.ndarray:
    """Return the coverage float[side * scale, side * scale] of a clockwise quarter circle with a head at its end."""
    thickness, head = 1.0 + 0.5 * size, 4.5 + size
    centre, radius = 2 - side / 2, side - 11.0
    foot = side / 2 - 1 - head

    def inside(x, y):
        across, up = x - centre, foot - y
        arc = (np.abs(np.hypot(across, up) - radius) <= thickness) & (across >= 0) & (up >= 0)
        point = (y > foot) & (np.abs(across - radius) <= 0.95 * (foot + head - y))
        return arc | point

    return _coverage(inside, side, scale)
