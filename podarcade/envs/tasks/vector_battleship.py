"""VectorBattleship: find hidden ships by shooting at cells."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.games.battleship import SHIPS, place
from podarcade.envs.tasks import Fields, Task, cards


@struct.dataclass
class VectorBattleshipState:
    """State of VectorBattleship: 2 n + 11 bytes."""

    ships: jax.Array  # bool[n], row by row
    shot: jax.Array  # bool[n]
    last: jax.Array  # int16[] last cell, -1 for none
    hit: jax.Array  # bool[] whether it was a new hit
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] hits


@dataclasses.dataclass(frozen=True)
class VectorBattleship(Task):
    """Shoot at cells until all cells of four hidden ships are hit (POPGym's Battleship).

    n = `board`² cells. Ships of 2, 3, 3 and 4 cells are placed in this order, each uniformly over the free straight
    places; they may touch. Any cell may be shot at.

    - observation: visible `hit`, whether the last shot was a new hit (1), `cell`, the last one shot at one-hot (n),
      zeros at time 0; hidden `hits` and `misses`, the cells shot at (n each).
    - action: a cell, row `board` + column.
    - reward: 1 / 12 for a new hit, -1 / (n - 12) for any other shot, at a cell that was hit before as well. Returns are
      in [-n / (n - 12), 1]; shooting at every cell once ends at 0 or above.
    - end: terminal when all 12 cells are hit; truncated after n actions.
    - twin: history: hits and misses are sufficient.
    - channel: open: the observation shows the last cell. A sweep over the board row by row needs no memory and earns
      0.167, 0.175 and 0.178 at the three levels. A random policy has -0.449, -0.416 and -0.399, random shots without
      repeats 0.077; with memory 0.528, 0.576 and 0.603 can be had.

    Published rules: the limit of n actions is terminal.

    Raises:
      ValueError: `board` is not in 5 to 30.
    """

    board: int = 8

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"board": 8}, "medium": {"board": 10}, "hard": {"board": 12}}

    def __post_init__(self):
        super().__post_init__()
        if not 5 <= self.board <= 30:
            raise ValueError(f"board={self.board}; expected 5 to 30")

    @property
    def actions(self) -> ActionSpace:
        """The cells, 0 to n - 1."""
        return Discrete(self.max_steps)

    @property
    def max_steps(self) -> int:
        """The number of cells n, which is the limit in actions."""
        return self.board**2

    @property
    def RETURNS(self) -> tuple[float, float]:
        """From n misses to no miss."""
        return (-self.max_steps / (self.max_steps - sum(SHIPS)), 1.0)

    def reset(self, key: jax.Array) -> VectorBattleshipState:
        """Place the ships."""
        taken = jnp.zeros(self.board, jnp.int32)
        for length, word in zip(SHIPS, jax.random.bits(key, (len(SHIPS),), jnp.uint32), strict=True):
            taken = place(taken, length, word)
        ships = (taken[:, None] >> np.arange(self.board, dtype=np.int32)[None]) & 1
        return VectorBattleshipState(
            ships=ships.reshape(-1) > 0,
            shot=jnp.zeros(self.max_steps, bool),
            last=jnp.int16(-1),
            hit=jnp.asarray(False),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: VectorBattleshipState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        here = np.arange(self.max_steps, dtype=np.int32) == action
        hit = jnp.any(here & state.ships & ~state.shot)
        known = (action >= 0) & (action < self.max_steps)
        new = state.replace(
            shot=state.shot | here,
            last=jnp.where(known, action, -1).astype(jnp.int16),
            hit=hit,
            time=state.time + 1,
            score=state.score + hit,
        )
        reward = jnp.where(hit, 1 / sum(SHIPS), -1 / (self.max_steps - sum(SHIPS))).astype(jnp.float32)
        return new, reward, self.is_over(new, new.score == sum(SHIPS))

    def visible(self, state: VectorBattleshipState) -> Fields:
        """Return whether the last shot was a hit, and where it went."""
        return {"hit": state.hit[None], "cell": cards.one_hot(state.last, self.max_steps)}

    def hidden(self, state: VectorBattleshipState) -> Fields:
        """Return the cells hit and missed."""
        return {"hits": state.shot & state.ships, "misses": state.shot & ~state.ships}
