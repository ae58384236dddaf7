"""Cards: shuffled decks, the four suits in pixels, and cards laid out in rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.rendering import canvas, grid

HEART, SPADE, CLUB, DIAMOND = SUITS = (0, 1, 2, 3)
COLOURS = ((214, 24, 44), (22, 22, 34), (14, 124, 58), (24, 88, 214))  # suits differ in colour and in shape

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

# Cards in a row, and the height and width of their cells, by number of cards: all fill 70 rows of 96 pixels.
_ROWS = {26: (6, 14, 16), 52: (8, 10, 12), 78: (12, 10, 8)}


def shuffled(words: jax.Array, suits: int) -> jax.Array:
    """Return the cards {i mod suits, i < n} in uniformly random order, int8[n], for words uint32[n], n <= 128."""
    # The lowest seven bits are set to the index of the word: all are distinct, so that their ranks are a permutation.
    words = words & np.uint32(0xFFFFFF80) | np.arange(len(words), dtype=np.uint32)
    # Sums of int8 take less than half the time of int32.
    rank = jnp.sum(words[:, None] < words[None], 0, dtype=jnp.int8)
    return rank % np.int8(suits)


@functools.cache
def suit(which: int, size: int) -> np.ndarray:
    """Return the mask of a suit, bool[size, size], for size 7 or 11."""
    lines = [line.split()[which] for line in _SHEETS[size].strip().split("\n")]
    return np.array([list(line) for line in lines]) == "#"


def card(height: int, width: int, face: canvas.Colour, edge: canvas.Colour, which: int | None = None) -> np.ndarray:
    """Return a card uint8[height, width, 3] with a suit, as large as fits, or an empty one.

    Its last row and column are its edge, which separates neighbouring cards.
    """
    picture = canvas.blank(height, width, edge)
    picture[:-1, :-1] = face
    if which is None:
        return picture
    ink = suit(which, 11 if min(height, width) >= 14 else 7)
    place = (height - 1 - ink.shape[0]) // 2, (width - 1 - ink.shape[1]) // 2
    return canvas.stamp(picture, ink, *place, COLOURS[which])


def faces(count: int, face: canvas.Colour, edge: canvas.Colour) -> list[np.ndarray]:
    """Return the four suits as cards, of the size at which `count` cards are laid out."""
    _, height, width = _ROWS[count]
    return [card(height, width, face, edge, which) for which in SUITS]


def rows(atlas: np.ndarray, index: jax.Array) -> jax.Array:
    """Lay out 26, 52 or 78 cards row by row from the top left.

    Args:
      atlas: uint8[T, height, width, 3], a constant; its last tile pads the last row.
      index: int[n], the tile of each card.

    Returns:
      uint8[70 * scale, 3 * 96 * scale].
    """
    columns, kinds = _ROWS[len(index)][0], len(atlas)
    index = jnp.pad(index.astype(jnp.int32), (0, -len(index) % columns), constant_values=kinds - 1)
    # Gathering half as many tiles, each twice as wide, is up to a fifth faster.
    return grid.pairs(grid.paired(atlas), index.reshape(-1, columns))
