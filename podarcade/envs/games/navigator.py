"""Navigator: reach a treasure without stepping on TNT."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game, boards
from podarcade.envs.rendering import bars, canvas, grid

PAGE, PANEL, GRID_LINE, TRACK = (186, 189, 196), (66, 68, 82), (122, 126, 140), (164, 167, 176)
CURSOR, SCORE, TITLE, TIME_BAR = (255, 240, 40), (0, 0, 127), (122, 0, 132), (30, 110, 200)
STICK, SEAM, BAND, FUSE, SPARK = (230, 56, 48), (140, 18, 20), (255, 255, 255), (176, 130, 74), (255, 140, 20)
EDGE, FACET, SHINE = (34, 124, 206), (74, 205, 247), (226, 248, 255)

TNT, TREASURE = 1, 2  # contents of a cell
CHARGES = 7  # number of cells with TNT
CONTENTS = 3  # tiles: empty, TNT, treasure; the same again under the cursor

# Entries at which the released game reads the treasure's column and row from its list of cells without TNT.
TREASURE_ENTRIES = {8: (18, 38), 10: (45, 56), 12: (112, 79)}

TNT_ART = {
    11: """
.......kk.y
......k..k.
.....k.....
.rrdrrrdrr.
.rrdrrrdrr.
.wwwwwwwww.
.wwwwwwwww.
.wwwwwwwww.
.rrdrrrdrr.
.rrdrrrdrr.
...........
""",
    9: """
......kky
.....k...
.rrdrdrr.
.rrdrdrr.
.wwwwwww.
.wwwwwww.
.rrdrdrr.
.rrdrdrr.
.........
""",
    7: """
....ky.
...k...
rrdrdrr
wwwwwww
wwwwwww
rrdrdrr
rrdrdrr
""",
}
TREASURE_ART = {
    11: """
...........
..eeeeeee..
.esfsssfse.
esffsssffse
eeeeeeeeeee
.esffsffse.
..esfsfse..
...esfse...
....ese....
.....e.....
...........
""",
    9: """
.........
.eeeeeee.
esfsssfse
eeeeeeeee
.esfsfse.
..esfse..
...ese...
....e....
.........
""",
    7: """
.......
.eeeee.
esfsfse
eeeeeee
.esfse.
..ese..
...e...
""",
}


@struct.dataclass
class NavigatorState:
    """State of Navigator: 154 bytes on the largest board."""

    cells: jax.Array  # int8[N, N] by row and column: 0 empty, 1 TNT, 2 treasure
    row: jax.Array  # int8[] of the cursor
    column: jax.Array  # int8[]
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] 100 once the treasure is found


@dataclasses.dataclass(frozen=True)
class Navigator(Game):
    """Walk a cursor to a treasure, past seven charges of TNT.

    With N = `board` and L = N² the time limit:

    - start: the seven cells of TNT, the treasure's and the cursor's are nine distinct cells, uniform over all choices.
      TNT separates the cursor from the treasure in one start of 310 (easy), 1500 (medium) or 5300 (hard).
    - frame: N x N cells with their TNT and the treasure; the cursor is a cell filled with yellow, on which its content
      is visible. A bar beside the board, initially empty, shows the time as a share of L. The score on top is 0, and
      100 once the treasure is found.
    - action: 0 up, 1 down, 2 left, 3 right, stopping at the border; 4 takes the treasure if it is in the cursor's cell.
      All others do nothing.
    - reward: 1 for taking the treasure, -1 / 2 for stepping on TNT, -1 / (2 L) for any other step.
    - end: the treasure is taken or TNT is stepped on; truncated after L steps. Returns are in
      [-1 + 1 / (2 L), 1 - 1 / (2 L)]; a treasure d moves away gives at most 1 - d / (2 L).
    - partial twin: after time 0 it hides TNT, treasure and the bar, and shows the cursor.
    - memory: only the first frame shows the way. Best known returns on the partial twin (strict, easy): -0.29 without
      memory, -0.14 for a memoryless policy that also sees its previous action, 0.95 with memory.

    Published rules: no bar, and the cursor covers the content of its cell. The time limit is terminal, and step L pays
    0 in every case, so that returns are in [-1 + 1 / L, 1]. The treasure's column and row are taken from two cells
    without TNT, always the same two entries of their list, so that it is nearly always in the same few cells; where
    column and row meet on TNT, the treasure replaces it. The cursor's column and row are taken from two random cells
    without TNT: it may start on the treasure, or on TNT, which kills when the cursor next stays in place at the
    border.
    """

    board: int = 8

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"board": 8}, "medium": {"board": 10}, "hard": {"board": 12}}
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if self.board not in (8, 10, 12):
            raise ValueError(f"board={self.board}; expected 8, 10 or 12")

    @property
    def max_steps(self) -> int:
        """Time limit in steps, L."""
        return self.board**2

    def reset(self, key: jax.Array) -> NavigatorState:
        """Return a random board with its treasure and cursor."""
        # One random draw: a word for each object on the board.
        words = jax.random.bits(key, (CHARGES + 2,), dtype=jnp.uint32)
        if self.rules == "strict":
            *tnt, treasure, start = boards.distinct(words, self.board**2)
            tnt = boards.among(tnt, self.board)
        else:
            tnt, treasure, start = self._published_start(words)
        cells = jnp.where(boards.among([treasure], self.board), TREASURE, jnp.where(tnt, TNT, 0))
        row, column = (place.astype(jnp.int8) for place in (start // self.board, start % self.board))
        return NavigatorState(cells.astype(jnp.int8), row, column, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: NavigatorState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        row, column = boards.moved(state.row, state.column, action, self.board)
        cell = jnp.sum(jnp.where(boards.cursor(row, column, self.board), state.cells, 0), dtype=jnp.int8)
        found = (action == 4) & (cell == TREASURE)
        dead = (action >= 0) & (action < 4) & (cell == TNT)
        reward = jnp.where(found, 1.0, jnp.where(dead, -0.5, -0.5 / self.max_steps))
        time, terminal = state.time + 1, found | dead
        if self.rules == "published":
            late = time >= self.max_steps
            reward, terminal = jnp.where(late, 0.0, reward), terminal | late
        score = state.score + 100 * (reward > 0)
        new = state.replace(row=row, column=column, time=time, score=score)
        return new, reward.astype(jnp.float32), terminal

    def draw(self, state: NavigatorState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        page, atlas = _pictures(self.board, strict, scale)
        here = boards.cursor(state.row, state.column, self.board)
        shown = ~partial | (state.time == 0)
        face = jnp.where(shown if strict else shown & ~here, state.cells, 0)
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(grid.TOP, grid.left(self.board), grid.pairs(atlas, face + CONTENTS * here)),
        ]
        if strict:
            time = jnp.where(partial, 0, state.time)
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale, grid.panel_side(self.board)))
        return canvas.compose(page, parts)

    def _published_start(self, words) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return TNT bool[N, N], and the row-major cells of treasure and cursor, int32[] each, for words uint32[9]."""
        places = boards.distinct(words[:CHARGES], self.board**2)
        # The lists of cells without TNT are in column-major order, and so is `free`.
        line = np.arange(self.board**2)
        free = line + 1 - jnp.sum(jnp.stack(places)[None] <= line[:, None], 1, dtype=jnp.int32)

        def crossing(one, two):
            column, row = (jnp.sum(free <= entry, dtype=jnp.int32) for entry in (one, two))
            return row % self.board * self.board + column // self.board

        entries = (words[CHARGES:] % (self.board**2 - CHARGES)).astype(jnp.int32)
        treasure = crossing(*TREASURE_ENTRIES[self.board])
        return boards.among(places, self.board).T, treasure, crossing(entries[0], entries[1])


@functools.cache
def _pictures(cells: int, counter: bool, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the empty page as rows of bytes, and the paired atlas of six tiles."""
    page = grid.page(PAGE, GRID_LINE, cells, "NAVIGATOR", TITLE)
    if counter:
        page = bars.tracks(page, (bars.LEFT,), TRACK, grid.panel_side(cells))
    side = grid.cell_side(cells)
    palette = {"r": STICK, "d": SEAM, "w": BAND, "k": FUSE, "y": SPARK, "e": EDGE, "f": FACET, "s": SHINE}
    atlas = []
    for fill in (PANEL, CURSOR):
        arts = (TNT_ART[side - 1], TREASURE_ART[side - 1])
        atlas += [grid.tile(side, fill, GRID_LINE), *(grid.sprite_tile(art, palette, fill, GRID_LINE) for art in arts)]
    atlas = np.stack([canvas.enlarge(tile, scale) for tile in atlas])
    return canvas.rows(canvas.enlarge(page, scale)), grid.paired(atlas)
