"""TMaze: walk down a corridor and turn where the cue at its beginning pointed."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

RIGHT, UP, LEFT, DOWN = range(4)


@struct.dataclass
class TMazeState:
    """State of TMaze: 13 bytes."""

    x: jax.Array  # int16[] cells from the oracle
    y: jax.Array  # int8[] -1, 0 or 1
    goal: jax.Array  # int8[] -1 or 1
    cue: jax.Array  # int8[] 0 before the first visit of the oracle, 1 during it, 2 after it
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps on schedule, and the goal


@dataclasses.dataclass(frozen=True)
class TMaze(Task):
    """A corridor with a cue at its oracle and a junction at its end, without a step to spare (Ni et al. 2023).

    Cells x = 0 to o + L lie on the corridor, o = `oracle_length` and L = `corridor_length`; the junction is x = o + L,
    with the goals at y = 1 and y = -1. The goal is one of them, with equal chances. Episodes start at x = o.

    - observation: visible `junction`, whether the agent is at the junction or beyond, and `sign`: the goal at the first
      visit of x = 0, y at the junction and beyond, else 0. Hidden `goal` (0 until the cue was seen), `x` / (o + L) and
      `clock`, the time as a share of the episode.
    - action: 0 right, 1 up, 2 left, 3 down; up and down move at the junction only, blocked moves stay.
    - reward: each action but the last costs 1 / L if the agent is then behind schedule, x < t + 1 - o after the action
      at time t. With `penalty="action"` (AMAGO's form) it costs 1 / L for every action but 0 from time o on. The last
      action pays 1 if it leads to the goal. Returns are in [-1, 1], for o > 0 in [-1 - 1/L, 1].
    - end: terminal after L + 2 o + 1 actions.
    - twin: history.
    - channel: closed. No action is free without an oracle to visit; with one, two are, and nothing is worth storing.
      The best policy without memory walks right and guesses: 0.5, with or without its previous action; a random policy
      has about -0.97, the best one 1.

    Both rule sets are the same.

    Raises:
      ValueError: a corridor shorter than 1, a negative `oracle_length`, or an unknown penalty.
    """

    corridor_length: int = 10
    oracle_length: int = 0
    penalty: str = "behind"

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"corridor_length": 10},
        "medium": {"corridor_length": 50},
        "hard": {"corridor_length": 250},
    }
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    CHANNEL: ClassVar[str] = "closed"
    actions: ClassVar[ActionSpace] = Discrete(4)

    def __post_init__(self):
        super().__post_init__()
        if self.corridor_length < 1 or self.oracle_length < 0:
            raise ValueError(
                f"corridor_length={self.corridor_length}, oracle_length={self.oracle_length}; expected >= 1 and >= 0"
            )
        if self.penalty not in ("behind", "action"):
            raise ValueError(f"penalty={self.penalty!r}; expected one of: behind, action")

    @property
    def junction(self) -> int:
        """Cell of the junction, o + L."""
        return self.oracle_length + self.corridor_length

    @property
    def max_steps(self) -> int:
        """L + 2 o + 1, the length of every episode."""
        return self.corridor_length + 2 * self.oracle_length + 1

    def needed_time(self, time: jax.Array) -> jax.Array | int:
        """Return when the cue is seen: at the start; -1 with an oracle, which an agent visits when it likes."""
        return -1 if self.oracle_length else 0

    def needed(self, state: TMazeState) -> Fields:
        """Return the goal, -1 or 1, int8[]."""
        return {"goal": state.goal}

    def reset(self, key: jax.Array) -> TMazeState:
        """Choose the goal."""
        goal = jnp.where(jax.random.bernoulli(key), 1, -1).astype(jnp.int8)
        return TMazeState(
            x=jnp.int16(self.oracle_length),
            y=jnp.int8(0),
            goal=goal,
            cue=jnp.int8(self.oracle_length == 0),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: TMazeState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        turn = (action == UP).astype(jnp.int8) - (action == DOWN)
        y = jnp.where(state.x == self.junction, jnp.clip(state.y + turn, -1, 1), 0).astype(jnp.int8)
        stride = (action == RIGHT).astype(jnp.int16) - (action == LEFT)
        x = jnp.clip(state.x + jnp.where(state.y == 0, stride, 0), 0, self.junction).astype(jnp.int16)
        time = state.time + 1
        last = time >= self.max_steps
        if self.penalty == "behind":
            late = x.astype(jnp.int32) < time - self.oracle_length
        else:
            late = (state.time >= self.oracle_length) & (action != RIGHT)
        reached = last & (y == state.goal)
        cue = jnp.where(state.cue > 0, 2, x == 0).astype(jnp.int8)
        new = state.replace(x=x, y=y, cue=cue, time=time, score=state.score + jnp.where(last, reached, ~late))
        reward = jnp.where(last, reached.astype(jnp.float32), late * jnp.float32(-1 / self.corridor_length))
        return new, reward, self.is_over(new, last)

    def visible(self, state: TMazeState) -> Fields:
        """Return whether the agent is at the junction or beyond, and the sign there."""
        beyond = state.x == self.junction
        sign = jnp.where(beyond, state.y, jnp.where(state.cue == 1, state.goal, 0))
        return {"junction": beyond[None], "sign": sign[None]}

    def hidden(self, state: TMazeState) -> Fields:
        """Return the goal once it has been seen, the position, and the time."""
        return {
            "goal": jnp.where(state.cue > 0, state.goal, 0)[None],
            "x": state.x[None].astype(jnp.float32) / self.junction,
            "clock": state.time[None].astype(jnp.float32) / self.max_steps,
        }
