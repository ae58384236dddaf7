"""Players of Skittles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.envs.games.skittles import COLOURS, EMPTY, SIDE, SkittlesState


class Seen(NamedTuple):
    """What the partial frame shows."""

    blocks: jax.Array  # int32[10] column of the block shown in each row from the top, -1 for none
    colours: jax.Array  # int32[10] of these blocks, -1 for none
    column: jax.Array  # int32[] of the pin, which covers the bottom row
    crashed: jax.Array  # bool[]
    score: jax.Array  # int32[] the time


def seen(state: SkittlesState) -> Seen:
    """The blocks in visible cells, the pin and the score, not which cells are visible: a hidden cell looks empty."""
    line = np.arange(SIDE)
    shown = (state.visible >> jnp.maximum(state.blocks, 0).astype(jnp.uint16)) & 1 == 1
    shown &= (state.blocks != EMPTY) & ~((line == SIDE - 1) & (state.blocks == state.column))
    blocks = jnp.where(shown, state.blocks, -1).astype(jnp.int32)
    colours = jnp.where(shown, (state.time - line) % len(COLOURS), -1)
    return Seen(blocks, colours, state.column.astype(jnp.int32), state.crashed, state.score)
