"""A block font, five columns by seven rows: digits and capitals."""

import functools

import numpy as np

WIDTH, HEIGHT, PITCH = 5, 7, 6

_SHEETS = {
    "0123456789": """
.###. ..#.. .###. ####. ...#. ##### .###. ##### .###. .###.
#...# .##.. #...# ....# ..##. #.... #.... ....# #...# #...#
#...# ..#.. ....# ....# .#.#. #.... #.... ...#. #...# #...#
#...# ..#.. ..##. .###. #..#. ####. ####. ..#.. .###. .####
#...# ..#.. .#... ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. #.... ....# ...#. #...# #...# ..#.. #...# ....#
.###. .###. ##### ####. ...#. .###. .###. ..#.. .###. .###.
""",
    "ABCDEFGHI": """
.###. ####. .###. ####. ##### ##### .###. #...# .###.
#...# #...# #...# #...# #.... #.... #...# #...# ..#..
#...# #...# #.... #...# #.... #.... #.... #...# ..#..
##### ####. #.... #...# ####. ####. #.### ##### ..#..
#...# #...# #.... #...# #.... #.... #...# #...# ..#..
#...# #...# #...# #...# #.... #.... #...# #...# ..#..
#...# ####. .###. ####. ##### #.... .###. #...# .###.
""",
    "JKLMNOPQR": """
....# #...# #.... #...# #...# .###. ####. .###. ####.
....# #..#. #.... ##.## ##..# #...# #...# #...# #...#
....# #.#.. #.... #.#.# ##..# #...# #...# #...# #...#
....# ##... #.... #.#.# #.#.# #...# ####. #...# ####.
....# #.#.. #.... #...# #..## #...# #.... #.#.# #.#..
#...# #..#. #.... #...# #..## #...# #.... #..#. #..#.
.###. #...# ##### #...# #...# .###. #.... .##.# #...#
""",
    "STUVWXYZ ": """
.#### ##### #...# #...# #...# #...# #...# ##### .....
#.... ..#.. #...# #...# #...# #...# #...# ....# .....
#.... ..#.. #...# #...# #.#.# .#.#. .#.#. ...#. .....
.###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. .....
....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... .....
....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... .....
####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .....
""",
}


def _read_sheets() -> dict[str, np.ndarray]:
    glyphs = {}
    for letters, sheet in _SHEETS.items():
        rows = np.array([list(line) for line in sheet.strip().split("\n")]) == "#"
        for index, letter in enumerate(letters):
            glyphs[letter] = rows[:, index * PITCH : index * PITCH + WIDTH]
    return glyphs


_GLYPHS = _read_sheets()


def glyph(letter: str) -> np.ndarray:
    """Return the mask of a digit or capital, bool[7, 5]."""
    if letter not in _GLYPHS:
        raise ValueError(f"no glyph for {letter!r}; expected one of {''.join(_GLYPHS)!r}")
    return _GLYPHS[letter]


@functools.cache
def text(letters: str) -> np.ndarray:
    """Return the mask of a line of text, bool[7, 6 * len - 1], with one empty column between letters."""
    line = np.zeros((HEIGHT, PITCH * len(letters) - 1), bool)
    for index, letter in enumerate(letters):
        line[:, index * PITCH : index * PITCH + WIDTH] = glyph(letter)
    return line
