"""Players of Navigator."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from podarcade.envs.games.navigator import NavigatorState


class Seen(NamedTuple):
    """What the partial frame shows."""

    cells: jax.Array  # int32[N, N] at time 0: 0 empty, 1 TNT, 2 treasure; later zeros
    row: jax.Array  # int32[] of the cursor
    column: jax.Array  # int32[]
    score: jax.Array  # int32[]


def seen(state: NavigatorState) -> Seen:
    """The map at time 0; later the cursor and the score, and no time."""
    cells = jnp.where(state.time == 0, state.cells, 0).astype(jnp.int32)
    return Seen(cells, state.row.astype(jnp.int32), state.column.astype(jnp.int32), state.score)
