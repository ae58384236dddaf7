"""Bars beside the panel, which show counters exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import canvas

TOP, HEIGHT, WIDTH = 16, 96, 8
LEFT, RIGHT = 4, 116  # columns


def tracks(page: np.ndarray, columns: tuple[int, ...], colour: canvas.Colour, height: int = HEIGHT) -> np.ndarray:
    """Return a copy of a page uint8[128, 128, 3] with the tracks of empty bars."""
    page = page.copy()
    for column in columns:
        page[TOP : TOP + height, column : column + WIDTH] = colour
    return page


def bar(
    count: jax.Array,
    full_count: int,
    column: int,
    colour: canvas.Colour,
    track: canvas.Colour,
    scale: int,
    height: int = HEIGHT,
) -> canvas.Part:
    """Draw a bar that fills from the bottom up as `count`, int32[], goes from 0 to `full_count` <= 2000.

    The top pixel is shaded by the share of it that is filled, so that every count has a picture of its own.
    """
    filled = count * (height * canvas.FULL) // full_count
    edge = canvas.FULL * np.arange(height, dtype=np.int32)[::-1].repeat(scale)
    coverage = canvas.overlap(jnp.zeros_like(filled), filled, edge)
    empty, full = (canvas.rows(canvas.enlarge(canvas.blank(height, WIDTH, fill), scale)) for fill in (track, colour))
    return canvas.Part(TOP, column, canvas.blend(empty, full, coverage[:, None]))
