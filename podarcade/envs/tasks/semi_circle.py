"""SemiCircle: find a goal on a half-circle once, and return to it."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.tasks import Fields
from podarcade.envs.tasks.points import _PointTask, move, reached

ROLLOUT, RADIUS = 60, 0.2
CORNER, EXTENT = np.array([-1.5, -0.5], np.float32), np.array([3.0, 2.0], np.float32)  # of the starts


@struct.dataclass
class SemiCircleState:
    """State of SemiCircle: 20 bytes."""

    position: jax.Array  # float32[2]
    angle: jax.Array  # float32[] of the goal
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps at the goal


@dataclasses.dataclass(frozen=True)
class SemiCircle(_PointTask):
    """A point robot that searches a hidden goal on a half-circle, in two rollouts of 60 actions (Ni et al. 2022).

    - start: of each rollout, uniform on [-1.5, 1.5) x [-0.5, 1.5). The goal is the disc of radius 0.2 around
      (cos φ, sin φ), φ uniform on [0, π), and the same in both rollouts.
    - dynamics: p' = p + 0.1 a.
    - observation: visible `position`, p (2), and `boundary`, 1 when a rollout has just ended; hidden `goal` (2). After
      action 60 the observation shows the start of the second rollout, with `boundary` 1.
    - action: two numbers in [-1, 1]; values outside are clipped.
    - reward: 1 if the new position is within the goal, else 0. Returns are in [0, 120].
    - end: truncated after 120 actions.
    - twin: oracle. The hidden block shows the goal from time 1 on. Without it only rewards reveal the goal, so a policy
      with memory needs the previous reward as an input.
    - channel: open: the small digits of an action can hold a goal. The best known policy without memory and previous
      action has 14.9, and 68.5 with the previous reward: it walks around and stays where it is paid. A random policy
      has 2.4, the best known one with memory 94.4, one that knows the goal 103.7.

    Published rules: goals come from a list of 100 that was drawn once, 80 for training and 20 more with `held_out`;
    after action 60 the observation shows the old position once more, while the robot already stands at a start that
    nobody has seen; and the limit is terminal.

    Raises:
      ValueError: `held_out` under strict rules.
    """

    RETURNS: ClassVar[tuple[float, float]] = (0.0, 2.0 * ROLLOUT)
    TWIN: ClassVar[str] = "oracle"
    CHANNEL: ClassVar[str] = "open"
    TRAINING: ClassVar[int] = 80
    HELD_OUT: ClassVar[int] = 20
    max_steps: ClassVar[int] = 2 * ROLLOUT

    def reset(self, key: jax.Array) -> SemiCircleState:
        """Choose the goal and the first start."""
        uniform = jax.random.uniform(key, (3,), jnp.float32)
        return SemiCircleState(
            position=CORNER + EXTENT * uniform[:2],
            angle=np.pi * self.parameters(uniform[2:])[0],
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: SemiCircleState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        start = CORNER + EXTENT * jax.random.uniform(key, (2,), jnp.float32)
        position, time = state.position, state.time + 1
        if self.rules == "published":  # the second start is drawn when the robot leaves it
            position = jnp.where(state.time == ROLLOUT, start, position)
        position = move(position, action)
        paid = reached(position, _goal(state), RADIUS)
        if self.rules == "strict":
            position = jnp.where(time == ROLLOUT, start, position)
        new = state.replace(position=position, time=time, score=state.score + paid)
        return new, paid.astype(jnp.float32), self.is_over(new)

    def visible(self, state: SemiCircleState) -> Fields:
        """Return the position, and whether a rollout has just ended."""
        boundary = (state.time > 0) & (state.time % ROLLOUT == 0)
        return {"position": state.position, "boundary": boundary[None]}

    def hidden(self, state: SemiCircleState) -> Fields:
        """Return the goal."""
        return {"goal": _goal(state)}


def _goal(state):
    return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle)])
