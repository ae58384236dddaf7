"""VectorMineSweeper: reveal every safe cell of a board, from counts of nearby mines."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.games import boards
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class VectorMineSweeperState:
    """State of VectorMineSweeper: 2 n + 11 bytes."""

    mines: jax.Array  # bool[n], row by row
    revealed: jax.Array  # bool[n]
    last: jax.Array  # int16[] last cell, -1 for none
    count: jax.Array  # int8[] mines in its 3 x 3 block, -1 for no last cell
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] safe cells revealed


@dataclasses.dataclass(frozen=True)
class VectorMineSweeper(Task):
    """Every action reveals a cell of a board with hidden mines and shows how many are near it (POPGym's MineSweeper).

    n = `side`² cells, `mines` of them with a mine, uniformly at random; S = n - `mines`. Revealing a cell reveals no
    other one.

    - observation: visible `count`, the mines in the 3 x 3 block around the last cell, one-hot (c = min(`mines` + 1, 10)
      classes from 0; the cell counts too, so that a mine shows at least 1), `cell`, the last one revealed one-hot (n),
      both zeros at time 0; hidden `revealed` (n), and `counts`, those of the revealed cells / 8 (n).
    - action: a cell, row `side` + column.
    - reward: 1 / S for a new safe cell, -1/2 - 1 / S for a mine, -1 / (2 S - 4) for a cell revealed before. Returns are
      in [-1, 1].
    - end: terminal with a mine, and when all safe cells are revealed; truncated after S actions, so that one repeat
      costs the win.
    - twin: history: revealed cells and their counts are sufficient.
    - channel: open: the observation shows the last cell. Without memory a path over the board that depends on the
      counts earns 0.303 at the easy level, and a sweep row by row -0.390 and -0.427 at the others. A random policy has
      -0.230, -0.401 and -0.432. With memory the optimum is 0.7661 at the easy level, and at
      least 0.52 and 0.55 at the others.

    Published rules: at time 0 `count` is that of class 0, which looks like a count; the limit of S actions is terminal.

    Raises:
      ValueError: `side` is not in 2 to 180, or `mines` leaves fewer than 3 safe cells.
    """

    side: int = 4
    mines: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"side": 4, "mines": 2},
        "medium": {"side": 6, "mines": 6},
        "hard": {"side": 8, "mines": 10},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        if not 2 <= self.side <= 180:
            raise ValueError(f"side={self.side}; expected 2 to 180")
        if not 1 <= self.mines <= self.cells - 3:
            raise ValueError(f"mines={self.mines}; expected 1 to {self.cells - 3} with side={self.side}")

    @property
    def actions(self) -> ActionSpace:
        """The cells, 0 to n - 1."""
        return Discrete(self.cells)

    @property
    def cells(self) -> int:
        """Number of cells, n."""
        return self.side**2

    @property
    def max_steps(self) -> int:
        """S, the number of safe cells and the limit in actions."""
        return self.cells - self.mines

    def reset(self, key: jax.Array) -> VectorMineSweeperState:
        """Lay the mines."""
        places = boards.distinct(jax.random.bits(key, (self.mines,), jnp.uint32), self.cells)
        return VectorMineSweeperState(
            mines=boards.among(places, self.side).reshape(-1),
            revealed=jnp.zeros(self.cells, bool),
            last=jnp.int16(-1),
            count=jnp.int8(-1),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: VectorMineSweeperState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        here = np.arange(self.cells, dtype=np.int32) == action
        mine, safe = jnp.any(here & state.mines), jnp.any(here & ~state.mines & ~state.revealed)
        known = (action >= 0) & (action < self.cells)
        count = jnp.sum(jnp.where(here, self._counts(state), 0), dtype=jnp.int32)
        new = state.replace(
            revealed=state.revealed | here,
            last=jnp.where(known, action, -1).astype(jnp.int16),
            count=jnp.where(known, count, -1).astype(jnp.int8),
            time=state.time + 1,
            score=state.score + safe,
        )
        limit = self.max_steps
        reward = jnp.where(mine, -0.5 - 1 / limit, jnp.where(safe, 1 / limit, -0.5 / (limit - 2))).astype(jnp.float32)
        return new, reward, self.is_over(new, mine | (new.score == limit))

    def visible(self, state: VectorMineSweeperState) -> Fields:
        """Return the count of the last cell, and which one it was."""
        count = jnp.where(state.time == 0, 0, state.count) if self.rules == "published" else state.count
        return {
            "count": cards.one_hot(count, min(self.mines + 1, 10)),
            "cell": cards.one_hot(state.last, self.cells),
        }

    def hidden(self, state: VectorMineSweeperState) -> Fields:
        """Return the revealed cells and their counts."""
        counts = jnp.where(state.revealed, self._counts(state), 0).astype(jnp.float32)
        return {"revealed": state.revealed, "counts": counts * jnp.float32(1 / 8)}

    def _counts(self, state) -> jax.Array:
        """Return the number of mines in the block around each cell, int32[n]."""
        return boards.block_sums(state.mines.reshape(self.side, self.side)).reshape(-1)
