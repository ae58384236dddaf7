"""MineSweeper: reveal cells without hitting a mine."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game, boards
from podarcade.envs.rendering import bars, canvas, font, sprites

PAGE, PANEL, GRID_LINE, TRACK = (229, 234, 242), (0, 0, 0), (102, 102, 102), (203, 211, 224)
REVEALED, DIGIT = (58, 66, 88), (255, 255, 255)
CURSOR, CURSOR_DIGIT, BLAST = (255, 127, 0), (20, 14, 0), (214, 40, 40)
SCORE, TITLE, TIME_BAR, REPEAT_BAR = (153, 0, 204), (0, 51, 102), (38, 110, 190), (205, 45, 70)

MINE, SEEN = 1, 2  # the two bits of a cell
PANEL_SIDE, PANEL_CORNER = 96, 16
HIDDEN_TILE, MINE_TILE, TILES = 0, 10, 11  # numbers 0..8 in between; the same again under the cursor


@struct.dataclass
class MineSweeperState:
    """State of MineSweeper: 78 bytes on the largest board."""

    cells: jax.Array  # int8[N, N] by row and column: 0 empty, +1 mine, +2 revealed
    row: jax.Array  # int8[] of the cursor
    column: jax.Array  # int8[]
    repeats: jax.Array  # int32[] reveals of cells that were revealed before
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] safe cells revealed


@dataclasses.dataclass(frozen=True)
class MineSweeper(Game):
    """Reveal the safe cells of a board with a cursor, without hitting a mine.

    With N = `board`, m = `mines`, L = 2 N² the time limit and C = N² / 2 the cap on repeats:

    - start: the m mined cells are uniform over all sets of m cells; the cursor's cell is uniform and may be mined.
    - frame: N x N cells; the cursor is a cell filled with orange. A revealed cell shows the number of mines in the
      3 x 3 block around it, zero included. Mines are never shown, except the one just hit, in the last frame. The
      score on top counts the safe cells revealed. Two bars beside the board, initially empty, show the time and the
      repeats as shares of L and of C.
    - action: 0 up, 1 down, 2 left, 3 right, stopping at the border; 4 reveals the cursor's cell. All others do
      nothing.
    - reward: 1 / (N² - m) for a safe cell revealed for the first time, -2 / N² for a repeat (revealing a revealed
      cell), 0 for a mine and for moves.
    - end: a mine is hit, all safe cells are revealed, or the C-th repeat is made; truncated after L steps. Returns are
      in (-1, 1]: C repeats cost 1 in total.
    - partial twin: it hides the numbers outside the cursor's own cell, and both bars. At time 0 nothing is revealed and
      both bars are empty, so the twins are equal.
    - memory: numbers seen earlier locate the mines. Best known returns on the partial twin (strict, easy): 0.59
      without memory (a blind tour of the board: 0.327), 0.819 with it (a belief solver). The full frame is a
      sufficient statistic: given it, earlier frames say nothing more about mines or rewards.

    Published rules: no bars; the cursor never starts in the last row or column; the time limit is terminal, but an
    episode whose L-th action reveals takes one more step; the episode ends with the first reveal after C repeats,
    which still pays, so that returns reach 1 / (N² - m) - 1 - 2 / N².
    """

    board: int = 4
    mines: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"board": 4, "mines": 2},
        "medium": {"board": 6, "mines": 6},
        "hard": {"board": 8, "mines": 10},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if self.board not in (4, 6, 8):
            raise ValueError(f"board={self.board}; expected 4, 6 or 8")
        if not 0 < self.mines < self.board**2:
            raise ValueError(f"mines={self.mines}; expected 1 to {self.board**2 - 1} with board={self.board}")

    @property
    def max_steps(self) -> int:
        """Time limit in steps, L."""
        return 2 * self.board**2

    @property
    def cap(self) -> int:
        """Number of repeats that ends the episode, C."""
        return self.board**2 // 2

    def reset(self, key: jax.Array) -> MineSweeperState:
        """Return a random board and cursor, with nothing revealed."""
        # One random draw: a word for each mine and one for the cursor.
        words = jax.random.bits(key, (self.mines + 1,), dtype=jnp.uint32)
        mines = boards.among(boards.distinct(words[:-1], self.board**2), self.board)
        row, column = boards.corner_square(words[-1], self.board if self.rules == "strict" else self.board - 1)
        zero = jnp.int32(0)
        return MineSweeperState(mines.astype(jnp.int8), row, column, repeats=zero, time=zero, score=zero)

    def step(self, state: MineSweeperState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        reveal, here = action == 4, boards.cursor(state.row, state.column, self.board)
        cell = jnp.sum(jnp.where(here, state.cells, 0), dtype=jnp.int8)
        mine, repeat = reveal & (cell == MINE), reveal & (cell >= SEEN)
        safe = reveal & (cell == 0)
        row, column = boards.moved(state.row, state.column, action, self.board)
        new = state.replace(
            cells=jnp.where(here & reveal, state.cells | SEEN, state.cells),
            row=row,
            column=column,
            repeats=state.repeats + repeat,
            time=state.time + 1,
            score=state.score + safe,
        )
        reward = jnp.where(safe, 1 / (self.board**2 - self.mines), jnp.where(repeat, -2 / self.board**2, 0.0))
        terminal = mine | (safe & (new.score == self.board**2 - self.mines)) | self._worn_out(state, new, reveal)
        return new, reward.astype(jnp.float32), terminal

    def draw(self, state: MineSweeperState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        scale = self.obs_size // canvas.GRID
        background, atlas = _pictures(self.board, self.rules == "strict", scale)
        here = boards.cursor(state.row, state.column, self.board)
        shown = (state.cells >= SEEN) & (here | ~partial)
        face = jnp.where((state.cells & MINE) == MINE, MINE_TILE, 1 + boards.block_sums(state.cells & MINE))
        index = jnp.where(shown, face, HIDDEN_TILE) + TILES * here
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(PANEL_CORNER, PANEL_CORNER, canvas.tiles(atlas, index)),
        ]
        if self.rules == "strict":
            time, repeats = (jnp.where(partial, 0, count) for count in (state.time, state.repeats))
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale))
            parts.append(bars.bar(repeats, self.cap, bars.RIGHT, REPEAT_BAR, TRACK, scale))
        return canvas.compose(background, parts)

    def _worn_out(self, old, new, reveal) -> jax.Array:
        """Return whether repeats end the episode, or under published rules the time limit does, bool[]."""
        if self.rules == "strict":
            return new.repeats >= self.cap
        # The released game tests the counters of the previous state when it reveals.
        return jnp.where(reveal, (old.repeats >= self.cap) | (old.time >= self.max_steps), new.time >= self.max_steps)


@functools.cache
def _pictures(board: int, counters: bool, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the empty page as rows of bytes, and the atlas uint8[22, height, width, 3]."""
    page = canvas.page(PAGE, PANEL, PANEL_SIDE, "MINESWEEPER", TITLE)
    if counters:
        page = bars.tracks(page, (bars.LEFT, bars.RIGHT), TRACK)
    side = PANEL_SIDE // board
    size = 2 if board == 4 else 1
    atlas = []
    for hidden, revealed, digit, mined in (
        (PANEL, REVEALED, DIGIT, BLAST),
        (CURSOR, CURSOR, CURSOR_DIGIT, BLAST),
    ):
        atlas.append(_tile(side, hidden))
        for letter in "012345678":
            ink = font.glyph(letter)
            place = (side - ink.shape[0] * size) // 2, (side - ink.shape[1] * size + 1) // 2
            atlas.append(canvas.stamp(_tile(side, revealed), ink, *place, digit, size))
        atlas.append(_mine_tile(side, mined, size))
    return canvas.rows(canvas.enlarge(page, scale)), np.stack([canvas.enlarge(tile, scale) for tile in atlas])


def _tile(side: int, fill: canvas.Colour) -> np.ndarray:
    """Return a cell inside its grid lines, uint8[side, side, 3]."""
    tile = canvas.blank(side, side, GRID_LINE)
    tile[1:-1, 1:-1] = fill
    return tile


def _mine_tile(side: int, fill: canvas.Colour, size: int) -> np.ndarray:
    art = canvas.enlarge(sprites.sprite(sprites.MINE, {"#": (0, 0, 0), "o": (255, 255, 255)}, fill), size)
    corner = (side - art.shape[0]) // 2
    tile = _tile(side, fill)
    tile[corner : corner + art.shape[0], corner : corner + art.shape[1]] = art
    return tile
