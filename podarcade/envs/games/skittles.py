"""Skittles: dodge falling blocks."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import canvas, sprites

SIDE = 10  # rows and columns of the field
EMPTY = -1  # the block column of a row without a block

PAGE, LANE, GUTTER = (0, 0, 0), (30, 30, 38), (10, 10, 14)
PIN, BAND, SHADE, BLAST, SPARK = (255, 255, 255), (220, 30, 40), (170, 174, 190), (150, 24, 120), (255, 220, 40)
SCORE, TITLE = (0, 255, 128), (255, 245, 0)
COLOURS = (
    (255, 0, 0), (255, 127, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255), (74, 214, 247), (125, 0, 237),
)  # fmt: skip

TOP, LEFT, CELL = 16, 14, 10  # corner of the field on the page, and side of a cell, in pixels
GUTTER_TILE, LANE_TILE, BLOCK_TILES, PIN_TILE = 0, 1, 2, 2 + len(COLOURS)  # then the knocked-over pin

STANDING = """
....##....
...####...
...oooo...
....##....
...####...
..######..
..#####-..
..#####-..
..####--..
...##--...
"""
KNOCKED = """
y...y....y
.y.....y..
...yy...##
y.###..###
.######o#.
.######o#y
.-####..##
y.---....-
...y..y...
y....y...y
"""


@struct.dataclass
class SkittlesState:
    """State of Skittles: 40 bytes."""

    blocks: jax.Array  # int8[10] column of the block in each row from the top; -1 for none
    column: jax.Array  # int8[] of the pin, in the bottom row
    crashed: jax.Array  # bool[] the last step hit a block
    visible: jax.Array  # uint16[10] bit c of word r: the partial twin shows the cell in row r, column c
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps paid


@dataclasses.dataclass(frozen=True)
class Skittles(Game):
    """Dodge blocks that fall from the top, one a row, with a pin in the bottom row.

    On a field of 10 x 10 with a lane from column `first` to column `last`:

    - start: no blocks; the pin's column is uniform over the lane.
    - dynamics: in each step the pin moves, all blocks fall by one row, those of the bottom row leave, and one block
      appears in the top row, uniform over the lane.
    - frame: the field, its lane lighter than the gutters. The pin is white. The block that appears in step s has colour
      s mod 7 of a rainbow. The score on top counts the steps paid, that is the time.
    - action: 2 moves the pin one column to the left, 3 to the right, stopping at the lane's edges; all others keep it.
    - reward: 1 / 100 for each step, the last included.
    - end: the pin moves into the block beside it in the bottom row, or a block falls on it; it is then drawn knocked
      over. Truncated after 100 steps. Returns are in [0.1, 1]. A diagonal run of blocks can trap the pin at the lane's
      edge, so that even a player with foresight sometimes falls short of 1.
    - partial twin: each cell of the field is visible with probability 1/2 in each frame, independently; pin and score
      are always visible. At time 0 the field is empty, so the twins are equal.
    - memory: a block that is hidden in one frame may have been visible in the nine before. Best known returns on the
      partial twin (strict, easy): about 0.27 without memory, 0.985 with it.

    Published rules: the visible cells are a function of the time alone, the same in every episode; the time limit is
    terminal.
    """

    first: int = 1
    last: int = 8

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"first": 1, "last": 8},
        "medium": {"first": 2, "last": 8},
        "hard": {"first": 2, "last": 7},
    }
    RETURNS: ClassVar[tuple[float, float]] = (0.1, 1.0)
    max_steps: ClassVar[int] = 100

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.first <= self.last < SIDE:
            raise ValueError(f"first={self.first}, last={self.last}; expected 0 <= first <= last <= {SIDE - 1}")

    @property
    def lane(self) -> int:
        """Number of columns in the lane."""
        return self.last - self.first + 1

    def reset(self, key: jax.Array) -> SkittlesState:
        """Return an empty field with the pin in a random column."""
        zero = jnp.int32(0)
        return SkittlesState(
            blocks=jnp.full(SIDE, EMPTY, jnp.int8),
            column=self._column(jax.random.bits(key, dtype=jnp.uint32)),
            crashed=jnp.asarray(False),
            visible=jnp.zeros(SIDE, jnp.uint16),
            time=zero,
            score=zero,
        )

    def step(self, state: SkittlesState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        # One random draw: a word for the visible cells of each row, and one for the new block.
        words = jax.random.bits(key, (SIDE + 1,), dtype=jnp.uint32)
        column = jnp.clip(state.column - (action == 2) + (action == 3), self.first, self.last).astype(jnp.int8)
        blocks = jnp.concatenate([self._column(words[-1])[None], state.blocks[:-1]])
        time = state.time + 1
        if self.rules == "strict":
            visible = words[:-1]
        else:
            visible = jax.random.bits(jax.random.key(time, impl="threefry2x32"), (SIDE,), dtype=jnp.uint32)
        new = SkittlesState(
            blocks=blocks,
            column=column,
            # The pin hits the block beside it in the bottom row, before that leaves, or the one that falls on it.
            crashed=(state.blocks[-1] == column) | (blocks[-1] == column),
            visible=visible.astype(jnp.uint16),
            time=time,
            score=state.score + 1,
        )
        terminal = new.crashed if self.rules == "strict" else new.crashed | (time >= self.max_steps)
        return new, jnp.float32(1 / self.max_steps), terminal

    def draw(self, state: SkittlesState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        scale = self.obs_size // canvas.GRID
        ground, tiles, rows = _pictures(self.first, self.last, scale)
        line = np.arange(SIDE)
        shown = (state.visible >> jnp.maximum(state.blocks, 0).astype(jnp.uint16)) & 1 == 1
        shown = (shown | ~partial) & (state.blocks != EMPTY)
        colour = (state.time - line) % len(COLOURS)
        # A row above the pin has one block or none: gathering whole rows is much faster than gathering tiles.
        whole = jnp.where(shown, 1 + SIDE * colour + state.blocks, 0)[:-1]
        bottom = jnp.where(shown[-1] & (line == state.blocks[-1]), BLOCK_TILES + colour[-1], ground)
        bottom = jnp.where(line == state.column, PIN_TILE + state.crashed, bottom)
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(TOP, LEFT, canvas.tiles(rows, whole[:, None])),
            canvas.Part(TOP + CELL * (SIDE - 1), LEFT, canvas.tiles(tiles, bottom[None])),
        ]
        return canvas.compose(_page(scale), parts)

    def _column(self, word) -> jax.Array:
        """Return a column uniform over the lane, int8[], for a random word uint32[]."""
        return (self.first + word % self.lane).astype(jnp.int8)


@functools.cache
def _page(scale: int) -> np.ndarray:
    """Return the page without field and score, as rows of bytes."""
    return canvas.rows(canvas.enlarge(canvas.page(PAGE, PAGE, canvas.GRID, "SKITTLES", TITLE), scale))


@functools.cache
def _pictures(first: int, last: int, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pictures that the field is composed of.

    Returns:
      int[10], the tile of each column of an empty row;
      uint8[11, height, width, 3], tiles: gutter, lane, the seven blocks, the pin, the pin knocked over;
      uint8[71, height, 10 * width, 3], rows: an empty one, then for each colour one for each column of a block.
    """
    line = np.arange(SIDE)
    ground = np.where((line >= first) & (line <= last), LANE_TILE, GUTTER_TILE)
    gutter, lane = (canvas.blank(CELL, CELL, fill) for fill in (GUTTER, LANE))
    tiles = [gutter, lane]
    for colour in COLOURS:
        block = lane.copy()
        block[1:-1, 1:-1] = colour
        tiles.append(block)
    palette = {"#": PIN, "o": BAND, "-": SHADE, "y": SPARK}
    tiles += [sprites.sprite(STANDING, palette, LANE), sprites.sprite(KNOCKED, palette, BLAST)]
    tiles = np.stack([canvas.enlarge(tile, scale) for tile in tiles])
    indices = [ground]
    for block in range(BLOCK_TILES, PIN_TILE):
        indices += [np.where(line == column, block, ground) for column in range(SIDE)]
    return ground, tiles, np.stack([np.concatenate(list(tiles[index]), 1) for index in indices])
