"""Players of Breakout."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.games.breakout import (
    BALL_START,
    BRICK_ROWS,
    COLUMNS,
    FIRST_BRICK_ROW,
    PADDLE_ROW,
    Breakout,
    BreakoutState,
)

KEEP, LEFT, RIGHT = 0, 2, 3
WALL = (1 << BRICK_ROWS * COLUMNS) - 1  # bricks are the bits of a number, row by row
PAID = 600  # for the whole wall, in 1/600
BEAM = 1000
LANDINGS = 140


class Seen(NamedTuple):
    """What the partial frame shows."""

    bricks: jax.Array  # bool[6, 10]
    row: jax.Array  # int32[] of the ball, -1 while it falls
    column: jax.Array  # int32[]
    marks: jax.Array  # int32[] what the ball's marks tell of side, fall and strike at time 0, later -1
    paddle: jax.Array  # int32[] its leftmost column
    score: jax.Array  # int32[]


def seen(state: BreakoutState) -> Seen:
    """The bricks, the ball while it rises, paddle and score; no trail, no marks and no time after time 0."""
    start = state.time == 0
    row, column = (jnp.where(start | ~state.falling, place, -1) for place in (state.row, state.column))
    marks = jnp.where(start, 4 * state.strike + 2 * state.falling + state.right, -1)
    paddle = state.paddle.astype(jnp.int32)
    return Seen(state.bricks, row.astype(jnp.int32), column.astype(jnp.int32), marks, paddle, state.score)


def memoryless(game: Breakout) -> Player:
    """A table from bricks to places of the paddle, found by search: return 1 (exact)."""
    walls, places = table(game)

    def act(memory, seen, previous, key):
        match = jnp.all(seen.bricks.reshape(-1)[None] == walls, axis=1)
        place = jnp.where(jnp.any(match), jnp.asarray(places)[jnp.argmax(match)], seen.paddle)
        sideways = jnp.where(place > seen.paddle, RIGHT, KEEP)
        return memory, jnp.where(place < seen.paddle, LEFT, sideways).astype(jnp.int32)

    return Player(act, sees=seen)


def memory(game: Breakout) -> Player:
    """The memoryless one: return 1 (exact)."""
    return memoryless(game)


def table(game: Breakout) -> tuple[np.ndarray, np.ndarray]:
    """Return bricks bool[n, 60] before each landing of the ball, for both starts, and the paddle's place int32[n]."""
    bits = np.arange(BRICK_ROWS * COLUMNS)
    plan = search(game.width)
    walls = np.array([[wall >> int(bit) & 1 for bit in bits] for wall, _ in plan], bool)
    places = np.array([min(places) for _, places in plan], np.int32)
    mirrored = walls.reshape(-1, BRICK_ROWS, COLUMNS)[:, :, ::-1].reshape(walls.shape)
    return np.concatenate([walls, mirrored]), np.concatenate([places, COLUMNS - game.width - places])


class Ball(NamedTuple):
    """Bricks and ball; the ball starts on the left and moves to the left."""

    wall: int = WALL
    row: int = BALL_START
    column: int = 0
    right: bool = False
    falling: bool = False
    strike: bool = False


class Path(NamedTuple):
    """Bricks and ball after the last landing, how it came to that, and where the paddle was at each landing."""

    ball: Ball
    lost: int = 0  # value of bricks that were removed without pay, in 1/600
    steps: int = 0
    plan: tuple[tuple[int, frozenset[int]], ...] = ()  # the wall and the places at each landing


@functools.cache
def search(width: int) -> tuple[tuple[int, frozenset[int]], ...]:
    """Return a plan that removes all bricks for pay in time, by a beam search over landings of the ball.

    At each landing the paddle can send the ball on or back. Before any two landings with the same bricks the paddle
    must have the same place, so that bricks tell it.
    """
    paths = [Path(Ball())]
    for _ in range(LANDINGS):
        new: dict[Ball, Path] = {}
        for path in paths:
            before, lost, steps = _fly(path.ball)
            path = path._replace(lost=path.lost + lost, steps=path.steps + steps)
            if not before.wall and not path.lost and path.steps <= Breakout.max_steps:
                return path.plan
            for after in _landings(before, path, width) if before.wall else ():
                if after.ball not in new or _value(new[after.ball]) < _value(after):
                    new[after.ball] = after
        paths = sorted(new.values(), key=_value, reverse=True)[:BEAM]
    raise ValueError(f"no plan removes all bricks with a paddle of {width} cells")


def _value(path: Path) -> float:
    left = sum(
        15 - 2 * row for row in range(BRICK_ROWS) for column in range(COLUMNS) if path.ball.wall & _bit(row, column)
    )
    return PAID - left - 4 * path.lost - 0.12 * path.steps


def _bit(row: int, column: int) -> int:
    return 1 << row * COLUMNS + column


def _ahead(ball: Ball) -> tuple[int, int]:
    """Return the row and the column that the ball would enter without walls."""
    return ball.row + (1 if ball.falling else -1), ball.column + (1 if ball.right else -1)


def _fly(ball: Ball) -> tuple[Ball, int, int]:
    """Return bricks and ball before its next landing or without bricks, the value lost, and the number of steps."""
    lost = steps = 0
    while ball.wall and _ahead(ball)[0] != PADDLE_ROW:
        row, column = _ahead(ball)
        top, side = row < 0, not 0 <= column < COLUMNS
        row, column = max(row, 0), ball.column if side else column
        brick = _bit(row - FIRST_BRICK_ROW, column) if 0 <= row - FIRST_BRICK_ROW < BRICK_ROWS else 0
        strike = bool(ball.wall & brick)
        paid = strike and not ball.strike
        lost += (15 - 2 * (row - FIRST_BRICK_ROW)) * (strike and not paid)
        row, falling = ball.row if paid else row, ball.falling ^ (top or paid)
        ball, steps = Ball(ball.wall & ~brick, row, column, ball.right ^ side, falling, strike), steps + 1
    return ball, lost, steps


def _landings(ball: Ball, path: Path, width: int) -> list[Path]:
    """Return the ways to catch the ball."""
    column = _ahead(ball)[1]
    side = not 0 <= column < COLUMNS
    last = COLUMNS - width
    under = frozenset(range(max(0, ball.column - width + 1), min(ball.column, last) + 1))
    behind = column if ball.right else ball.column - width  # under the column ahead, but not under the ball's
    choices = [(under, False), (frozenset({behind}), True)] if not side and 0 <= behind <= last else [(under, False)]
    found = []
    for places, back in choices:
        plan = path.plan
        if plan and plan[-1][0] == ball.wall:
            places, plan = places & plan[-1][1], plan[:-1]
        if places:
            after = Ball(ball.wall, ball.row, ball.column if side else column, ball.right ^ side ^ back)
            found.append(Path(after, path.lost, path.steps + 1, (*plan, (ball.wall, places))))
    return found
