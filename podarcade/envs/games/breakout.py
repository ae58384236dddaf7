"""Breakout: bounce a ball off a paddle to knock out bricks."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import bars, canvas

ROWS, COLUMNS = 20, 10  # of the board
FIRST_BRICK_ROW, BRICK_ROWS = 1, 6
BALL_START, PADDLE_START = 13, 5  # row of the ball, column of the paddle
PADDLE_ROW = ROWS - 1

PAGE, PANEL, TRACK = (119, 122, 127), (0, 0, 0), (96, 98, 103)
SCORE, TITLE, TIME_BAR = (255, 48, 71), (255, 255, 0), (255, 255, 0)
BALL, STRIKE, LEAD, TRAIL, PADDLE = (255, 255, 255), (255, 224, 32), (255, 0, 160), (255, 50, 50), (200, 72, 72)
BRICKS = (
    (200, 72, 72), (198, 108, 58), (255, 122, 48), (162, 162, 42), (72, 255, 72), (66, 72, 200),
)  # fmt: skip

CELL_WIDTH, CELL_HEIGHT = 8, 5
TOP, LEFT, HEIGHT = 16, 24, ROWS * CELL_HEIGHT  # of the board on the page, in pixels
GROUNDS = 1 + BRICK_ROWS  # backgrounds of a cell: empty, or the brick of a row
MARKED_BALL, PLAIN_BALL, TRAIL_PICTURE, PADDLE_TILE = 1, 9, 10, 11 * GROUNDS  # 4 directions x 2 are marked

# The ball marked as moving up-left, the plain ball, the trail. The last row of a cell stays empty.
BALL_ART = """
.oo##...
.o####..
..####..
...##...
"""
PLAIN_ART = """
...##...
..####..
..####..
...##...
"""
TRAIL_ART = """
..----..
..-##-..
..-##-..
..----..
"""


@struct.dataclass
class BreakoutState:
    """State of Breakout: 76 bytes."""

    bricks: jax.Array  # bool[6, 10] by row from the top, and column
    row: jax.Array  # int8[] of the ball
    column: jax.Array  # int8[]
    right: jax.Array  # bool[] the ball moves to the right, else to the left
    falling: jax.Array  # bool[] the ball moves down, else up
    strike: jax.Array  # bool[] the last step removed a brick
    last_row: jax.Array  # int8[] of the ball a step ago
    last_column: jax.Array  # int8[]
    paddle: jax.Array  # int8[] its leftmost column
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] bricks paid


@dataclasses.dataclass(frozen=True)
class Breakout(Game):
    """Keep a ball in play with a paddle and knock bricks out of a wall.

    On a board of 20 rows and 10 columns, with a paddle of w = `width` cells in the bottom row:

    - start: bricks fill rows 1 to 6, counted from 0 at the top. A fair coin, the only randomness of the game, puts the
      ball in row 13 of the first column, moving up-left, or of the last, moving up-right. The paddle starts in column
      min(5, 10 - w).
    - dynamics: the paddle moves, then the ball moves one cell diagonally. A side wall keeps the ball in its column and
      reverses it horizontally; the ceiling keeps it in its row and reverses it vertically. A brick in the cell that the
      ball enters is removed. If the previous step removed none, the brick pays and reverses the ball vertically, which
      stays in its row and takes the new column; otherwise the ball passes through it and nothing is paid. Where the
      ball would enter the bottom row it stays in its row and takes the new column: it bounces upwards if the paddle is
      under the column that it leaves, else it bounces back where it came from if the paddle is under the new column,
      else it is missed.
    - frame: bricks coloured by row, paddle, ball, and a red trail in the cell where the ball was a step ago, if that is
      another cell. The ball's leading corner is marked, and the ball is yellow instead of white if the step removed a
      brick. The score on top counts the bricks paid; a bar beside the board shows the time.
    - action: 2 moves the paddle one column to the left, 3 to the right, stopping at the walls; all others keep it.
    - reward: a paid brick gives 15/600 in the top row of bricks, then 13, 11, 9, 7 and 5/600: the wall is worth 1.
      A missed ball costs 1/60 for every brick left.
    - end: the ball is missed or no brick is left; truncated after 2000 steps. Returns are in [-0.975, 1].
    - partial twin: after time 0 it shows the ball only while it rises, without marks, and hides trail and time.
    - memory: not needed. The game is deterministic after the first coin, and a memoryless table from bricks to places
      of the paddle has return 1 at every level (strict). A policy that reacts to the ball instead needs the last 20
      or so frames: the longest fall, and the two frames that show the direction.

    Published rules: neither bar nor marks; the paddle starts in column 5 even if w = 6, with one cell beyond the
    edge, and its first move, to either side, puts it in column 4; the time limit is terminal.
    """

    width: int = 6

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"width": 6},
        "medium": {"width": 5},
        "hard": {"width": 4},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-0.975, 1.0)
    max_steps: ClassVar[int] = 2000

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.width <= COLUMNS:
            raise ValueError(f"width={self.width}; expected 1 to {COLUMNS}")

    def reset(self, key: jax.Array) -> BreakoutState:
        """Return a complete wall and the ball at a random side."""
        right = jax.random.bits(key, dtype=jnp.uint32) % 2 == 1
        row = jnp.int8(BALL_START)
        column = jnp.where(right, COLUMNS - 1, 0).astype(jnp.int8)
        paddle = min(PADDLE_START, COLUMNS - self.width) if self.rules == "strict" else PADDLE_START
        no, zero = jnp.asarray(False), jnp.int32(0)
        return BreakoutState(
            bricks=jnp.ones((BRICK_ROWS, COLUMNS), bool),
            row=row,
            column=column,
            right=right,
            falling=no,
            strike=no,
            last_row=row,
            last_column=column,
            paddle=jnp.int8(paddle),
            time=zero,
            score=zero,
        )

    def step(self, state: BreakoutState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        left, right = jnp.maximum(state.paddle - 1, 0), jnp.minimum(state.paddle + 1, COLUMNS - self.width)
        paddle = jnp.where(action == 2, left, jnp.where(action == 3, right, state.paddle)).astype(jnp.int8)
        row = state.row + jnp.where(state.falling, 1, -1)
        column = state.column + jnp.where(state.right, 1, -1)
        side, top = (column < 0) | (column >= COLUMNS), row < 0
        row, column = jnp.maximum(row, 0), jnp.clip(column, 0, COLUMNS - 1)

        here = (np.arange(BRICK_ROWS)[:, None] == row - FIRST_BRICK_ROW) & (np.arange(COLUMNS)[None] == column)
        strike = jnp.any(state.bricks & here)
        paid = strike & ~state.strike
        bricks = state.bricks & ~here
        left_over = jnp.sum(bricks, dtype=jnp.int32)

        bottom = row == PADDLE_ROW
        under = bottom & self._over(paddle, state.column)
        back = bottom & ~under & self._over(paddle, column)
        missed = bottom & ~under & ~back
        new = BreakoutState(
            bricks=bricks,
            row=jnp.where(paid | under | back, state.row, row).astype(jnp.int8),
            column=column.astype(jnp.int8),
            right=state.right ^ side ^ back,
            falling=state.falling ^ (top | paid | under | back),
            strike=strike,
            last_row=state.row,
            last_column=state.column,
            paddle=paddle,
            time=state.time + 1,
            score=state.score + paid,
        )
        value = 15 - 2 * (row - FIRST_BRICK_ROW)
        reward = (jnp.where(paid, value, 0) - jnp.where(missed, 10 * left_over, 0)).astype(jnp.float32) / 600
        terminal = missed | (left_over == 0)
        return new, reward, terminal if self.rules == "strict" else terminal | (new.time >= self.max_steps)

    def draw(self, state: BreakoutState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        full = ~partial | (state.time == 0)
        lines, columns = np.arange(ROWS)[:, None], np.arange(COLUMNS)[None]
        ball = (lines == state.row) & (columns == state.column) & (full | ~state.falling)
        trail = (lines == state.last_row) & (columns == state.last_column) & full & (state.time > 0)
        picture = PLAIN_BALL
        if strict:
            marked = MARKED_BALL + 4 * state.strike + 2 * state.falling + state.right
            picture = jnp.where(full, marked, PLAIN_BALL)
        ground = jnp.where(state.bricks, np.arange(1, GROUNDS)[:, None], 0)
        ground = jnp.pad(ground, ((FIRST_BRICK_ROW, ROWS - FIRST_BRICK_ROW - BRICK_ROWS), (0, 0)))
        index = ground + GROUNDS * jnp.where(ball, picture, jnp.where(trail, TRAIL_PICTURE, 0))
        on_paddle = (lines == PADDLE_ROW) & self._over(state.paddle, columns)
        part = jnp.where(columns == state.paddle, 0, jnp.where(columns == state.paddle + self.width - 1, 2, 1))
        index = jnp.where(on_paddle, PADDLE_TILE + part, index)
        page, atlas = _pictures(strict, scale)
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(TOP, LEFT, canvas.tiles(atlas, index)),
        ]
        if strict:
            time = jnp.where(partial, 0, state.time)
            parts.append(bars.bar(time, self.max_steps, bars.LEFT, TIME_BAR, TRACK, scale, HEIGHT))
        return canvas.compose(page, parts)

    def _over(self, paddle, column):
        """Return whether the paddle is under a column, bool."""
        return (paddle <= column) & (column < paddle + self.width)


@functools.cache
def _pictures(clock: bool, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the page without board, score and time as rows of bytes, and the atlas uint8[80, height, width, 3]."""
    page = canvas.page(PAGE, PAGE, canvas.GRID, "BREAKOUT", TITLE)
    if clock:
        page = bars.tracks(page, (bars.LEFT,), TRACK, HEIGHT)
    nothing = canvas.blank(CELL_HEIGHT, CELL_WIDTH, PANEL)
    grounds = [nothing]
    for colour in BRICKS:
        brick = nothing.copy()
        brick[:-1, :-1] = colour
        grounds.append(brick)
    atlas = list(grounds)
    for ink, fill in _inks():
        for ground in grounds:
            tile = ground.copy()
            for mark, colour in (("#", fill), ("o", LEAD), ("-", PANEL)):
                tile[:-1][ink == mark] = colour
            atlas.append(tile)
    for end in (0, None, -1):
        paddle = nothing.copy()
        paddle[:-1] = PADDLE
        if end is not None:
            paddle[[0, -2], end] = PANEL
        atlas.append(paddle)
    return canvas.rows(canvas.enlarge(page, scale)), np.stack([canvas.enlarge(tile, scale) for tile in atlas])


def _inks():
    """Yield str[4, 8] and the colour of "#": marked balls by strike, fall and side, the plain ball, the trail."""
    ball, plain, trail = (
        np.array([list(line) for line in art.strip().split("\n")]) for art in (BALL_ART, PLAIN_ART, TRAIL_ART)
    )
    for fill in (BALL, STRIKE):
        for fall in (1, -1):
            for side in (1, -1):
                yield ball[::fall, ::side], fill
    yield plain, BALL
    yield trail, TRAIL
