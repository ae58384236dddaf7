"""Players of Skittles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.games.skittles import COLOURS, EMPTY, SIDE, Skittles, SkittlesState

LEFT, RIGHT = 2, 3
CENTRE = 0.03  # preference for columns near the middle


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


def memoryless(game: Skittles) -> Player:
    """Take the way on which the blocks on show, and unseen ones anywhere in the lane, are least likely to hit."""

    def act(memory, seen, previous, key):
        return memory, _way(game, seen.blocks, seen)

    return Player(act, sees=seen)


def memory(game: Skittles) -> Player:
    """The same, with all blocks seen since they appeared."""

    def act(blocks, seen, previous, key):
        blocks = jnp.maximum(jnp.append(-1, blocks[:-1]), seen.blocks)
        return blocks, _way(game, blocks, seen, CENTRE)

    return Player(act, jnp.full(SIDE, -1, jnp.int32), sees=seen)


def _way(game, blocks, seen, centre=0.0):
    """Return the action of the likeliest way to survive until all rows have fallen, int32[]."""
    line = np.arange(SIDE)
    lane = (line >= game.first) & (line <= game.last)
    # Chance of a block in each cell; rows that no block has reached yet are empty.
    chance = jnp.where(blocks[:, None] >= 0, line[None] == blocks[:, None], 1 / game.lane)
    chance = jnp.where((line < seen.score)[:, None], chance, 0.0)
    value = jnp.asarray(np.where(lane, 1 - centre * np.abs(line - (game.first + game.last) / 2), 0.0))
    for row in range(SIDE):  # from the last to leave to the first
        # A block falls on the pin's column, or leaves while the pin moves into its own.
        here, there = chance[row], jnp.pad(chance[row], 1, constant_values=1.0)
        later = jnp.pad(value, 1)
        moves = [value * (1 - here), later[:-2] * (1 - here - there[:-2]), later[2:] * (1 - here - there[2:])]
        value = jnp.where(lane, jnp.max(jnp.stack(moves), axis=0), 0.0)
    return jnp.array([0, LEFT, RIGHT], jnp.int32)[jnp.argmax(jnp.stack(moves)[:, seen.column])]
