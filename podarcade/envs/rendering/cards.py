"""Cards: a shuffled deck, the four suits in pixels, and the cards laid out in rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import canvas, grid

HEART, SPADE, CLUB, DIAMOND = SUITS = (0, 1, 2, 3)
COLOURS = ((214, 24, 44), (22, 22, 34), (14, 124, 58), (24, 88, 214))  # a deck of four colours: told apart twice

_SHEETS = {
    7: """
.##.##. ...#... ..###.. ...#...
####### ..###.. ..###.. ..###..
####### .#####. ####### .#####.
####### ####### ####### #######
.#####. ####### ##.#.## .#####.
..###.. .#.#.#. ...#... ..###..
...#... ..###.. ..###.. ...#...
""",
    11: """
.###...###. .....#..... ....###.... .....#.....
#####.##### ....###.... ...#####... ....###....
########### ...#####... ...#####... ...#####...
########### ..#######.. ...#####... ..#######..
########### .#########. .##.###.##. .#########.
########### ########### #####.##### ###########
.#########. ########### ########### .#########.
..#######.. ####.#.#### #####.##### ..#######..
...#####... .##..#..##. .##..#..##. ...#####...
....###.... ....###.... ....###.... ....###....
.....#..... ...#####... ...#####... .....#.....
""",
}

# How many cards lie in a row, and the height and width of their cells: all fill 70 rows of 96 pixels.
_ROWS = {26: (6, 14, 16), 52: (8, 10, 12), 78: (12, 10, 8)}


def shuffled(words: jax.Array, suits: int) -> jax.Array:
    """Random words, uint32[n], n <= 128 -> int8[n]: the cards {i mod suits, i < n} in uniformly random order."""
    # The lowest seven bits are made the word's own place: no two words are equal, their ranks are a permutation.
    words = words & np.uint32(0xFFFFFF80) | np.arange(len(words), dtype=np.uint32)
    # Counted in bytes: two decks in under half the time that 32 bits take.
    rank = jnp.sum(words[:, None] < words[None], 0, dtype=jnp.int8)
    return rank % np.int8(suits)


@functools.cache
def suit(which: int, size: int) -> np.ndarray:
    """bool[size, size]: where a suit has ink; there are sizes 7 and 11."""
    lines = [line.split()[which] for line in _SHEETS[size].strip().split("\n")]
    return np.array([list(line) for line in lines]) == "#"


def card(height: int, width: int, face: canvas.Colour, edge: canvas.Colour, which: int | None = None) -> np.ndarray:
    """uint8[height, width, 3]: a card with a suit, large if there is room around it, or an empty one.

    Its last row and column are its edge, so that cards side by side are told apart.
    """
    picture = canvas.blank(height, width, edge)
    picture[:-1, :-1] = face
    if which is None:
        return picture
    ink = suit(which, 11 if min(height, width) >= 14 else 7)
    place = (height - 1 - ink.shape[0]) // 2, (width - 1 - ink.shape[1]) // 2
    return canvas.stamp(picture, ink, *place, COLOURS[which])


def faces(count: int, face: canvas.Colour, edge: canvas.Colour) -> list[np.ndarray]:
    """The four suits as cards of the size in which `count` of them are laid out."""
    _, height, width = _ROWS[count]
    return [card(height, width, face, edge, which) for which in SUITS]


def rows(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """26, 52 or 78 cards laid out row by row, from the top left.

    Args:
      atlas: uint8[T, height, width, 3], a constant; its last tile fills up the last row.
      index: int[n], the tile of each card.

    Returns:
      uint8[70 * scale, 3 * 96 * scale].
    """
    columns, kinds = _ROWS[len(index)][0], len(atlas)
    index = jnp.pad(index.astype(jnp.int32), (0, -len(index) % columns), constant_values=kinds - 1)
    # Fetched in pairs: half as many tiles, each twice as wide, are faster by up to a fifth.
    return grid.pairs(grid.paired(atlas), index.reshape(-1, columns))
