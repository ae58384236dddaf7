"""Players of Breakout."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from podarcade.envs.games.breakout import BreakoutState


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
