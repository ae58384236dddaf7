"""Wind: reach a known goal in an unknown wind."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.points import _PointTask, move, reached

GOAL, RADIUS, STRENGTH = np.array([0.0, 1.0], np.float32), 0.03, 0.08


@struct.dataclass
class WindState:
    """State of Wind: 24 bytes."""

    position: jax.Array  # float32[2]
    wind: jax.Array  # float32[2] added to every move
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps at the goal


@dataclasses.dataclass(frozen=True)
class Wind(_PointTask):
    """A point robot that has to reach and hold a goal in a wind that differs between episodes (Ni et al. 2022).

    - start: the origin. The goal is the disc of radius 0.03 around (0, 1). The wind w is uniform on [-0.08, 0.08)².
    - dynamics: p' = p + 0.1 a + w.
    - observation: visible `position`, p (2); hidden `wind`, w (2), from time 1 on, when p and the action reveal it.
    - action: two numbers in [-1, 1]; values outside are clipped.
    - reward: 1 if the new position is within the goal, else 0. Returns are in [0, 75].
    - end: truncated after 75 actions.
    - twin: history.
    - channel: open. A policy without memory that sees its previous action can write the position into the small digits
      of each action, and so learns the wind, 61.6. Without its previous action the best known policy has 26.2: in its
      equilibrium the distance from the goal balances the wind. A random policy has 0.01, the best 62.1.

    Published rules: winds come from the list of the released code, 40 for training and 20 more with `held_out`, and the
    limit is terminal.

    Raises:
      ValueError: `held_out` under strict rules.
    """

    RETURNS: ClassVar[tuple[float, float]] = (0.0, 75.0)
    CHANNEL: ClassVar[str] = "open"
    TRAINING: ClassVar[int] = 40
    HELD_OUT: ClassVar[int] = 20
    max_steps: ClassVar[int] = 75

    def reset(self, key: jax.Array) -> WindState:
        """Choose the wind."""
        wind = STRENGTH * (2 * self.parameters(jax.random.uniform(key, (2,), jnp.float32)) - 1)
        return WindState(position=jnp.zeros(2, jnp.float32), wind=wind, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: WindState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        position = move(state.position, action) + state.wind
        paid = reached(position, GOAL, RADIUS)
        new = state.replace(position=position, time=state.time + 1, score=state.score + paid)
        return new, paid.astype(jnp.float32), self.is_over(new)

    def visible(self, state: WindState) -> Fields:
        """Return the position."""
        return {"position": state.position}

    def hidden(self, state: WindState) -> Fields:
        """Return the wind."""
        return {"wind": state.wind}
