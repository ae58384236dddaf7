"""BattleShip: find hidden ships by firing at cells."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game, boards
from podarcade.envs.rendering import bars, canvas, grid

PAGE, SEA, GRID_LINE, TRACK = (255, 255, 255), (172, 196, 216), (112, 136, 160), (222, 226, 232)
HULL, CROSS, RING, CURSOR = (236, 238, 242), (210, 20, 30), (16, 44, 92), (244, 190, 40)
SCORE, TITLE, TIME_BAR, REPEAT_BAR = (235, 110, 0), (20, 140, 190), (38, 110, 190), (205, 45, 70)

SHIP, FIRED = 1, 2  # the two bits of a cell
SHIPS = (2, 3, 3, 4)  # lengths, in placement order
WATER_TILE, MISS_TILE, HIT_TILE, TILES = 0, 1, 2, 3  # the same again under the cursor


@struct.dataclass
class BattleShipState:
    """State of BattleShip: 158 bytes on the largest board."""

    cells: jax.Array  # int8[N, N] by row and column: 0 water, +1 ship, +2 fired at
    row: jax.Array  # int8[] of the cursor
    column: jax.Array  # int8[]
    repeats: jax.Array  # int32[] shots at cells that were fired at before
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] hits


@dataclasses.dataclass(frozen=True)
class BattleShip(Game):
    """Find and hit four hidden ships by moving a cursor over the sea and firing.

    With N = `board`, L = 2 N² the time limit and C = N² / 2 the cap on repeats:

    - start: ships of 2, 3, 3 and 4 cells are placed in this order, each uniformly over all horizontal and vertical
      positions that are still free; ships may touch. The cursor's cell is uniform.
    - frame: N x N cells; the cursor is a cell filled with gold. A cell that was fired at shows a red cross on a
      hull for a hit and a ring for a miss. Ships are never shown otherwise. The score on top counts the hits. Two bars
      beside the board, initially empty, show the time and the repeats as shares of L and of C.
    - action: 0 up, 1 down, 2 left, 3 right, stopping at the border; 4 fires at the cursor's cell. All others do
      nothing.
    - reward: 1 / 12 for a hit, 0 for a miss and for moves, -2 / N² for a repeat (firing at a cell that was fired at
      before).
    - end: all 12 cells are hit, or the C-th repeat is made; truncated after L steps. Returns are in [-1, 1]: C
      repeats cost 1 in total.
    - partial twin: it hides crosses and rings outside the cursor's own cell, and both bars. At time 0 no shot has been
      fired and both bars are empty, so the twins are equal.
    - memory: not needed. A memoryless policy on the partial frame has return 1 (strict, all levels): it walks a
      Hamiltonian cycle, firing where its own cell shows no shot. The full frame is a sufficient statistic: given it,
      earlier frames say nothing more about ships or rewards.

    Published rules: no bars; the cursor never starts in the last row or column; the time limit is terminal; the
    episode ends with the first shot after C repeats, which still pays, so that returns reach -1 - 2 / N².
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
        return 2 * self.board**2

    @property
    def cap(self) -> int:
        """Number of repeats that ends the episode, C."""
        return self.board**2 // 2

    def reset(self, key: jax.Array) -> BattleShipState:
        """Return a random fleet and cursor, with no shot fired."""
        # One random draw: a word for each ship and one for the cursor.
        words = jax.random.bits(key, (len(SHIPS) + 1,), dtype=jnp.uint32)
        taken = jnp.zeros(self.board, jnp.int32)
        for length, word in zip(SHIPS, words, strict=False):
            taken = place(taken, length, word)
        cells = (taken[:, None] >> np.arange(self.board)[None]) & 1
        row, column = boards.corner_square(words[-1], self.board if self.rules == "strict" else self.board - 1)
        zero = jnp.int32(0)
        return BattleShipState(cells.astype(jnp.int8), row, column, repeats=zero, time=zero, score=zero)

    def step(self, state: BattleShipState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        fire, here = action == 4, boards.cursor(state.row, state.column, self.board)
        cell = jnp.sum(jnp.where(here, state.cells, 0), dtype=jnp.int8)
        hit, repeat = fire & (cell == SHIP), fire & (cell >= FIRED)
        row, column = boards.moved(state.row, state.column, action, self.board)
        new = state.replace(
            cells=jnp.where(here & fire, state.cells | FIRED, state.cells),
            row=row,
            column=column,
            repeats=state.repeats + repeat,
            time=state.time + 1,
            score=state.score + hit,
        )
        reward = jnp.where(hit, 1 / sum(SHIPS), jnp.where(repeat, -2 / self.board**2, 0.0))
        if self.rules == "strict":
            worn_out = new.repeats >= self.cap
        else:
            # The released game tests the repeats of the previous state, and only when it fires.
            worn_out = (fire & (state.repeats >= self.cap)) | (new.time >= self.max_steps)
        return new, reward.astype(jnp.float32), (new.score == sum(SHIPS)) | worn_out

    def draw(self, state: BattleShipState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        scale, side = self.obs_size // canvas.GRID, grid.panel_side(self.board)
        page, atlas = _pictures(self.board, self.rules == "strict", scale)
        here = boards.cursor(state.row, state.column, self.board)
        shown = (state.cells >= FIRED) & (here | ~partial)
        face = jnp.where(shown, jnp.where(state.cells == SHIP + FIRED, HIT_TILE, MISS_TILE), WATER_TILE)
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(grid.TOP, grid.left(self.board), grid.pairs(atlas, face + TILES * here)),
        ]
        if self.rules == "strict":
            time, repeats = (jnp.where(partial, 0, count) for count in (state.time, state.repeats))
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale, side))
            parts.append(bars.bar(repeats, self.cap, bars.RIGHT, REPEAT_BAR, TRACK, scale, side))
        return canvas.compose(page, parts)


def place(taken: jax.Array, length: int, word: jax.Array) -> jax.Array:
    """Place a ship on a board, uniformly over its free positions.

    Args:
      taken: int32[N], occupied cells of each row; bit c is column c.
      length: number of cells of the ship.
      word: a random uint32; modulo the number of free positions it is the index of the chosen one, horizontal
        positions first.

    Returns:
      int32[N], the occupied cells with the ship added.
    """
    side = taken.shape[0]
    free = ~taken & (2**side - 1)
    across, down = free, free  # where a ship may have its first cell
    for count in range(1, length):
        across &= free >> count
        down &= jnp.pad(free[count:], (0, count))
    places = jnp.sum(jax.lax.population_count(across))
    nth = (word % (places + jnp.sum(jax.lax.population_count(down))).astype(jnp.uint32)).astype(jnp.int32)
    upright = nth >= places
    nth -= jnp.where(upright, places, 0)
    first = jnp.where(upright, down, across)
    # The row whose positions include the nth, then the column within that row.
    line = np.arange(side)
    counts = jax.lax.population_count(first)
    before = jnp.sum(jnp.where(line[None] < line[:, None], counts[None], 0), 1, dtype=jnp.int32)
    in_row = (before <= nth) & (nth < before + counts)
    row, bits, before = (jnp.sum(jnp.where(in_row, each, 0), dtype=jnp.int32) for each in (line, first, before))
    in_column = ((bits >> line) & 1 == 1) & (jax.lax.population_count(bits & (2**line - 1)) == nth - before)
    bit = jnp.sum(jnp.where(in_column, 2**line, 0), dtype=jnp.int32)
    covered = (line >= row) & (line < row + jnp.where(upright, length, 1))
    return taken | jnp.where(covered, jnp.where(upright, bit, bit * (2**length - 1)), 0)


@functools.cache
def _pictures(cells: int, counters: bool, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the empty page as rows of bytes, and the paired atlas of six tiles."""
    page = grid.page(PAGE, GRID_LINE, cells, "BATTLESHIP", TITLE)
    if counters:
        page = bars.tracks(page, (bars.LEFT, bars.RIGHT), TRACK, grid.panel_side(cells))
    side = grid.cell_side(cells)
    cross, ring = _marks(side - 1)
    atlas = []
    for water, hull in ((SEA, HULL), (CURSOR, CURSOR)):
        empty, hit = grid.tile(side, water, GRID_LINE), grid.tile(side, hull, GRID_LINE)
        atlas += [empty, canvas.stamp(empty, ring, 1, 1, RING), canvas.stamp(hit, cross, 1, 1, CROSS)]
    atlas = np.stack([canvas.enlarge(tile, scale) for tile in atlas])
    return canvas.rows(canvas.enlarge(page, scale)), grid.paired(atlas)


def _marks(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of a cross and of a ring, bool[side, side] each."""
    at = np.abs(2 * np.arange(side) - side + 1)  # twice the distance of each pixel from the centre
    across, down = at[None], at[:, None]
    cross = (across - down >= (-2 if side > 8 else 0)) & (across - down <= 2)
    square = across**2 + down**2
    return cross, (20 * square <= 19 * side**2) & (2 * square > side**2)
