"""Tetris: fill rows with falling pieces."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import canvas, font, grid, tetrominoes
from podarcade.envs.rendering.tetrominoes import CELL_HEIGHT, CELL_WIDTH, NEXT_WIDTH, PIECES

PAGE, WALL = (128, 128, 128), (255, 255, 255)
SCORE, TITLE, LABEL = (255, 48, 71), (255, 255, 0), (170, 170, 180)
ROWS, COLUMNS, WIN = 20, 10, 10
EACH = 0o1111111111  # a row of ten three-bit cells with 1 in each
START_COLUMN = 3
TOP, LEFT = 16, 14  # of the board, in pixels
SIDE_LEFT = LEFT + COLUMNS * CELL_WIDTH + 2  # of the panel beside it, which has the same height
NEXT_TOP, BAG_TOP = 12, 66  # rows of NEXT and BAG within that panel


@struct.dataclass
class TetrisState:
    """State of Tetris: at most 104 bytes."""

    rows: jax.Array  # int32[20] from the top; three bits a cell from the left: 0 empty, else 1 + piece
    piece: jax.Array  # int8[] current piece, 0..6
    row: jax.Array  # int8[] of the top-left corner of its 4 x 4 box
    column: jax.Array  # int8[]
    rotation: jax.Array  # int8[] quarter turns clockwise, modulo 4
    locked: jax.Array  # bool[] the current piece is at rest, and is part of `rows` too
    coming: jax.Array  # int8[p] the next pieces, in order
    bag: jax.Array  # int8[7] the current bag, in order
    index: jax.Array  # int8[] position in the bag of the last piece of `coming`
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] lines cleared


@dataclasses.dataclass(frozen=True)
class Tetris(Game):
    """Fill rows with falling pieces of four cells; full rows vanish, and ten of them win.

    With p = `preview`, A = `fall` and D = `drop`, on 20 rows by 10 columns:

    - start: an empty board. Pieces come in bags: each seven in sequence, from the first on, are the seven pieces in a
      uniformly random order.
    - piece: starts unrotated in columns 3 to 6, in rows 1 and 2. I and O rotate within a box of 4 x 4, the others
      within one of 3 x 3, without kicks: a move that would collide with border or blocks is not made.
    - action: 0 rotates the piece clockwise, 1 drops it by D rows (by 1 where D collides, and in a piece's first step),
      2 and 3 move it left and right, 4 and all others do nothing.
    - fall: after any action but 1 it falls by A rows, by 1 where A collides. Falls and drops test only the
      destination: on Hard a piece can jump through a shelf of one row.
    - lock: a piece that now cannot fall by one row is locked at once. The next step first removes full rows, starts the
      next piece, and applies its action to that one.
    - reward: 0.1 for each removed row up to the tenth, and -1 if the new piece collides where it starts, unless the
      tenth row has just been removed.
    - end: ten rows removed, or a new piece collides. Truncated after 3000 steps, which no game reaches: fewer than ten
      lines allow 72 locked pieces, and a piece takes at most 18 steps. Returns are in [-1, 1].
    - frame: the board between its walls; the current piece brighter than the locked blocks, with a mark on one of its
      cells that rotates with it; full rows white in the step that fills them. NEXT shows the p pieces to come, BAG
      lights those still to come in the bag of the first piece beyond the preview. The score on top counts the removed
      rows.
    - partial twin: it never shows locked blocks, and after time 0 neither the mark nor the lights of BAG. The current
      piece is shown also in the step that locks it.
    - memory: the blocks are where all earlier pieces came to rest. The best known memoryless policy, which drops each
      kind of piece in a place of its own, has return -0.820, one with memory 0.999 (strict, easy).

    The full frame is Markov: a piece is locked exactly when it rests on something, and a step is its first exactly when
    the last piece is locked or it is in row 0, as at time 0.

    Published rules: with p > 1 the first bag q gives q0 ... qp, skips p - 1, and continues from its start, so that it
    gives q0 q1 q2 q3 q6 q0 q1 for p = 3 and q0 q1 q2 q4 q5 q6 q0 for p = 2; each removed row pays, up to 1.3 in total;
    step 3000 would end the game, without -1; current piece and locked blocks look the same, without mark and BAG.
    """

    preview: int = 3
    fall: int = 1
    drop: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"preview": 3, "fall": 1, "drop": 2},
        "medium": {"preview": 2, "fall": 1, "drop": 2},
        "hard": {"preview": 1, "fall": 2, "drop": 3},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    max_steps: ClassVar[int] = 3000

    def __post_init__(self):
        super().__post_init__()
        for name in ("preview", "fall", "drop"):
            if getattr(self, name) not in (1, 2, 3):
                raise ValueError(f"{name}={getattr(self, name)}; expected 1, 2 or 3")

    def reset(self, key: jax.Array) -> TetrisState:
        """Return an empty board with the first piece of a random bag."""
        bag = _new_bag(key)
        small, zero = functools.partial(jnp.asarray, dtype=jnp.int8), jnp.int32(0)
        return TetrisState(
            rows=jnp.zeros(ROWS, jnp.int32),
            piece=bag[0],
            row=small(0),
            column=small(START_COLUMN),
            rotation=small(0),
            locked=jnp.asarray(False),
            coming=bag[1 : 1 + self.preview],
            bag=bag,
            index=small(self.preview),
            time=zero,
            score=zero,
        )

    def step(self, state: TetrisState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        full = state.locked & _full(state.rows)
        removed = jnp.sum(full, dtype=jnp.int32)
        first = state.locked | (state.time == 0)
        new = self._spawn(state, key).replace(
            rows=_without(state.rows, full), time=state.time + 1, score=state.score + removed
        )
        blocks = _blocks(new.rows, new.row)
        topped = state.locked & _collides(blocks, _shape(new.piece, new.rotation, new.column), 0)
        new = self._move(new, action, first, blocks)
        won = new.score >= WIN
        lost, terminal = topped & ~won, topped | won
        if self.rules == "strict":
            removed = jnp.minimum(removed, WIN - state.score)
        else:
            lost, terminal = lost & (new.time < self.max_steps), terminal | (new.time >= self.max_steps)
        return new, (jnp.float32(0.1) * removed - lost).astype(jnp.float32), terminal

    def draw(self, state: TetrisState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        hints = ~partial | (state.time == 0)
        shape = _shape(state.piece, state.rotation, state.column)
        body, mark = _laid(shape.body, state.row), _laid(shape.mark, state.row)
        # Seven tiles each for locked, moving and marked cells, then one for full rows.
        rows = jnp.where(partial, 0, state.rows) & ~(7 * body) | (state.piece + 1) * body
        kind = body + mark * hints if strict else body
        full = _full(state.rows)
        index = _cells(jnp.where(full, EACH, rows)) + PIECES * _cells(jnp.where(full, 3 * EACH, kind))
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(TOP, LEFT, grid.pairs(tetrominoes.cells(strict, scale), index)),
            canvas.Part(TOP, SIDE_LEFT, _side(state, hints, strict, scale)),
        ]
        return canvas.compose(_page(strict, scale), parts)

    def _spawn(self, state, key) -> TetrisState:
        """Start the next piece if the current one is locked; else return the same state."""
        index = (state.index + 1) % PIECES
        bag = jnp.where(index == 0, _new_bag(key), state.bag)
        shift = 0 if self.rules == "strict" else self.preview - 1
        newest = jnp.sum(jnp.where(np.arange(PIECES) == (index + shift) % PIECES, bag, 0), dtype=jnp.int8)
        spawned = state.replace(
            piece=state.coming[0],
            row=jnp.zeros_like(state.row),
            column=jnp.full_like(state.column, START_COLUMN),
            rotation=jnp.zeros_like(state.rotation),
            coming=jnp.append(state.coming[1:], newest),
            bag=bag,
            index=index,
        )
        return jax.tree.map(lambda new, old: jnp.where(state.locked, new, old), spawned, state)

    def _move(self, state, action, first, blocks) -> TetrisState:
        """Apply the player's move, the fall and the lock; `first` is set in the first step of a piece."""
        column = (state.column - (action == 2) + (action == 3)).astype(jnp.int8)
        rotation = (state.rotation + (action == 0)) % 4
        current, target = _shape(state.piece, state.rotation, state.column), _shape(state.piece, rotation, column)
        moved = target.inside & ~_collides(blocks, target, 0)
        shape = jax.tree.map(lambda new, old: jnp.where(moved, new, old), target, current)

        depths = np.arange(1, max(self.fall, self.drop) + 2)
        collides = jnp.stack([_collides(blocks, shape, depth) for depth in depths])
        blocked = lambda depth: jnp.any(collides & (depths == depth))  # noqa: E731
        reach = jnp.where(action == 1, jnp.where(first, 1, self.drop), self.fall)
        fallen = jnp.where(~blocked(reach), reach, jnp.where(~collides[0], 1, 0))
        locked = blocked(fallen + 1)
        row = (state.row + fallen).astype(jnp.int8)
        laid = _laid(shape.body, row) * locked
        return state.replace(
            rows=state.rows & ~(7 * laid) | (state.piece + 1) * laid,
            row=row,
            column=jnp.where(moved, column, state.column),
            rotation=jnp.where(moved, rotation, state.rotation),
            locked=locked,
        )


class _Shape(NamedTuple):
    """A piece at a rotation and a column; bits as in the rows of the board, the lowest bit of each cell."""

    body: jax.Array  # int32[4] rows of its box
    mark: jax.Array  # int32[4] its marked cell alone
    inside: jax.Array  # bool[] it is within the walls; if not, the rest is meaningless


def _rotations() -> np.ndarray:
    """Return int32[28, 10] by piece and rotation: body and mark at the left border, first and last column."""
    boxes = tetrominoes.boxes().reshape(-1, 4, 4)
    filled = boxes.any(1)
    first, last = filled.argmax(1), 3 - filled[:, ::-1].argmax(1)
    bits = 8 ** np.arange(4)
    rows = [((boxes >= least) * bits).sum(2) >> 3 * first[:, None] for least in (1, 2)]
    return np.concatenate([*rows, first[:, None], last[:, None]], 1).astype(np.int32)


ROTATIONS = _rotations()


def _shape(piece, rotation, column) -> _Shape:
    table = jnp.asarray(ROTATIONS).at[4 * piece.astype(jnp.int32) + rotation].get(mode="promise_in_bounds")
    first, last = column + table[8], column + table[9]
    rows = table[:8] << (3 * jnp.clip(first, 0, COLUMNS - 1))
    return _Shape(rows[:4], rows[4:], (first >= 0) & (last < COLUMNS))


def _occupied(rows):
    """Return the rows with 1 in each cell that is not empty."""
    return (rows | rows >> 1 | rows >> 2) & EACH


def _full(rows):
    return _occupied(rows) == EACH


def _blocks(rows, row):
    """Return the occupied cells of the four rows of the box and the four below, int32[8]; all below the board."""
    rows = jnp.concatenate([_occupied(rows), np.full(8, EACH, np.int32)])
    return rows.at[row + np.arange(8)].get(mode="promise_in_bounds")


def _collides(blocks, shape, depth):
    """Return whether a shape, moved down by `depth` rows, collides with blocks, bool[]."""
    return jnp.any((blocks[depth : depth + 4] & shape.body) != 0)


def _laid(box, row):
    """Return the rows int32[20] of a board that holds only a box int32[4] at a row."""
    line = np.arange(ROWS)
    return sum(jnp.where(line == row + place, box[place], 0) for place in range(4))


def _without(rows, full):
    """Remove full rows: the others move down, and empty ones are added on top."""
    line = np.arange(ROWS)
    below = jnp.sum(~full[None] & (line[None] > line[:, None]), 1, dtype=jnp.int32)
    moved = (ROWS - 1 - below[None] == line[:, None]) & ~full[None]
    return jnp.sum(jnp.where(moved, rows[None], 0), 1, dtype=jnp.int32)


def _cells(rows):
    """Unpack rows int32[20] into the three bits of each cell, int32[20, 10]."""
    return rows[:, None] >> 3 * np.arange(COLUMNS)[None] & 7


def _new_bag(key):
    """Return the seven pieces in a random order, int8[7]."""
    # The lowest three bits are set to the index of the word, so that all words are distinct.
    words = jax.random.bits(key, (PIECES,), dtype=jnp.uint32)
    words = words & np.uint32(0xFFFFFFF8) | np.arange(PIECES, dtype=np.uint32)
    return jnp.sum(words[None] < words[:, None], 1, dtype=jnp.int8)


def _side(state, hints, strict, scale):
    """Return the panel beside the board, with NEXT and BAG, uint8[100 * scale, 120 * scale]."""
    panel = _page(strict, scale)[TOP * scale : (TOP + ROWS * CELL_HEIGHT) * scale]
    panel = panel[:, 3 * SIDE_LEFT * scale : 3 * (SIDE_LEFT + NEXT_WIDTH) * scale]
    patches = [(NEXT_TOP, canvas.tiles(tetrominoes.coming(scale), state.coming.astype(jnp.int32)[:, None]))]
    if strict:
        place = np.arange(PIECES)
        left = (place > state.index) | (state.index == PIECES - 1)
        lit = jnp.any((state.bag[None] == place[:, None]) & left[None], 1) & hints
        index = jnp.append(place + PIECES * lit, 2 * PIECES).reshape(4, 2)
        patches.append((BAG_TOP, canvas.tiles(tetrominoes.lights(scale), index)))
    rows, bottom = [], 0
    for top, patch in patches:
        rows += [panel[bottom : top * scale], patch]
        bottom = top * scale + len(patch)
    return jnp.concatenate([*rows, panel[bottom:]])


@functools.cache
def _page(strict: bool, scale: int) -> np.ndarray:
    """Return the empty page as rows of bytes."""
    page = canvas.page(PAGE, PAGE, 0, "TETRIS", TITLE)
    bottom = TOP + ROWS * CELL_HEIGHT
    page[TOP : bottom + 1, LEFT - 2 : SIDE_LEFT] = WALL
    page[TOP:bottom, SIDE_LEFT : SIDE_LEFT + NEXT_WIDTH] = tetrominoes.PANEL
    for row, word in ((0, "NEXT"), (BAG_TOP - NEXT_TOP, "BAG"))[: 1 + strict]:
        ink = font.text(word)
        page = canvas.stamp(page, ink, TOP + row + 3, SIDE_LEFT + (NEXT_WIDTH - ink.shape[1]) // 2, LABEL)
    return canvas.rows(canvas.enlarge(page, scale))
