"""DelayedCatch: catch falling fruit, paid for all of it at the end."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

SIDE, FRUIT_COLUMNS, BASKET_COLUMNS = 7, 6, 4  # of the board; fruit starts in 0 to 5, baskets in 1 to 4


@struct.dataclass
class DelayedCatchState:
    """State of DelayedCatch: 10 bytes."""

    fruit: jax.Array  # int8[] column; its row is time mod 7
    basket: jax.Array  # int8[] column
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] fruit caught


@dataclasses.dataclass(frozen=True)
class DelayedCatch(Task):
    """R = `runs` runs of Catch, with the number of catches paid by the last action (Ni et al. 2022, Delayed-Catch).

    In each run a fruit falls from the top row of a 7 x 7 board, from column 0 to 5, one row per action; the basket
    starts in column 1 to 4 of the bottom row, all uniform. Six actions bring the fruit down; a seventh, whatever it is,
    starts the next run. Every fruit can be caught.

    - observation: visible `board`, rows from the top: -1 at the fruit, 1 at the basket, which covers a fruit that it
      has caught (49); hidden `caught` / R and `clock`, the time as a share of the episode.
    - action: 0 left, 1 stay, 2 right; the basket stops at the walls.
    - reward: the last action pays the number of fruits caught, all others 0. Returns are in [0, R].
    - end: terminal after 7 R - 1 actions: the last run has no seventh.
    - twin: critic. The board is all that acting needs; the value needs the catches so far and the time.
    - channel: closed. The best policy has R, with or without memory; a random one has 0.152663 R, staying R / 6.

    Both rule sets are the same.

    Raises:
      ValueError: `runs` is less than 1.
    """

    runs: int = 2

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {"runs": 2}, "medium": {"runs": 5}, "hard": {"runs": 40}}
    TWIN: ClassVar[str] = "critic"
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(3)

    def __post_init__(self):
        super().__post_init__()
        if self.runs < 1:
            raise ValueError(f"runs={self.runs}; expected >= 1")

    @property
    def RETURNS(self) -> tuple[float, float]:
        """Range of returns: from nothing to every fruit."""
        return 0.0, float(self.runs)

    @property
    def max_steps(self) -> int:
        """7 R - 1, the length of every episode."""
        return SIDE * self.runs - 1

    def reset(self, key: jax.Array) -> DelayedCatchState:
        """Place the first fruit and the basket."""
        fruit, basket = self._place(key)
        return DelayedCatchState(fruit=fruit, basket=basket, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: DelayedCatchState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        time = state.time + 1
        row = time % SIDE
        stride = (action == 2).astype(jnp.int8) - (action == 0)
        moved = jnp.clip(state.basket + stride, 0, SIDE - 1)
        fruit, basket = self._place(key)
        fruit, basket = jnp.where(row == 0, fruit, state.fruit), jnp.where(row == 0, basket, moved)
        score = state.score + ((row == SIDE - 1) & (basket == fruit))
        last = time >= self.max_steps
        new = state.replace(fruit=fruit, basket=basket, time=time, score=score)
        return new, jnp.where(last, score, 0).astype(jnp.float32), self.is_over(new, last)

    def visible(self, state: DelayedCatchState) -> Fields:
        """Return the board, row by row."""
        cells = np.arange(SIDE * SIDE, dtype=np.int32)
        fruit = state.time % SIDE * SIDE + state.fruit
        basket = (SIDE - 1) * SIDE + state.basket
        return {"board": jnp.where(cells == basket, 1.0, jnp.where(cells == fruit, -1.0, 0.0))}

    def hidden(self, state: DelayedCatchState) -> Fields:
        """Return the catches so far, and the time."""
        return {
            "caught": state.score[None].astype(jnp.float32) / self.runs,
            "clock": state.time[None].astype(jnp.float32) / self.max_steps,
        }

    def _place(self, key):
        """Return uniform columns of a fruit and a basket, int8[] each."""
        # The remainder of 32 random bits favours low numbers by less than 24 / 2^32.
        place = jax.random.bits(key, (), jnp.uint32) % (FRUIT_COLUMNS * BASKET_COLUMNS)
        return (place % FRUIT_COLUMNS).astype(jnp.int8), (place // FRUIT_COLUMNS + 1).astype(jnp.int8)
