"""MaskedMountainCar: drive out of a valley without seeing the speed."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

LEFT_WALL, RIGHT_END, GOAL, MAX_SPEED = -1.2, 0.6, 0.5, 0.07


@struct.dataclass
class MaskedMountainCarState:
    """State of MaskedMountainCar: 16 bytes."""

    position: jax.Array  # float32[]
    velocity: jax.Array  # float32[]
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] 1 at the goal


@dataclasses.dataclass(frozen=True)
class MaskedMountainCar(Task):
    """Gymnasium's MountainCar-v0 without its velocity: swing back and forth to leave a valley.

    - start: position x uniform on [-0.6, -0.4), velocity 0.
    - dynamics: v' = clip(v + 0.001 (a - 1) - 0.0025 cos 3x, -0.07, 0.07), x' = clip(x + v', -1.2, 0.6), and v' = 0 at
      the left wall.
    - observation: visible `position`; hidden `velocity`. Neither is scaled.
    - action: 0 pushes to the left, 1 does not push, 2 pushes to the right.
    - reward: -1 for each action. Returns are in [-200, 0].
    - end: terminal at x >= 0.5 with v >= 0; truncated after 200 actions.
    - twin: history. The velocity follows from two observations. At time 0 both twins show it.
    - channel: open. No policy without memory is known to arrive, -200, like a random one; with its previous action one
      has -106: what it last did says which way it moves. The best has -97.8, pushing along the velocity -119.4.

    Published rules: the limit is terminal.
    """

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}}
    RETURNS: ClassVar[tuple[float, float]] = (-200.0, 0.0)
    actions: ClassVar[ActionSpace] = Discrete(3)
    max_steps: ClassVar[int] = 200

    def reset(self, key: jax.Array) -> MaskedMountainCarState:
        """Return a resting car near the bottom of the valley."""
        return MaskedMountainCarState(
            position=jax.random.uniform(key, (), jnp.float32, -0.6, -0.4),
            velocity=jnp.float32(0),
            time=jnp.int32(0),
            score=jnp.int32(0),
        )

    def step(self, state: MaskedMountainCarState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        push = (jnp.clip(action, 0, 2) - 1).astype(jnp.float32)
        velocity = state.velocity + 0.001 * push - 0.0025 * jnp.cos(3 * state.position)
        velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
        position = jnp.clip(state.position + velocity, LEFT_WALL, RIGHT_END)
        velocity = jnp.where((position <= LEFT_WALL) & (velocity < 0), 0.0, velocity)
        arrived = (position >= GOAL) & (velocity >= 0)
        new = state.replace(position=position, velocity=velocity, time=state.time + 1, score=state.score + arrived)
        return new, jnp.float32(-1), self.is_over(new, arrived)

    def visible(self, state: MaskedMountainCarState) -> Fields:
        """Return the position."""
        return {"position": state.position[None]}

    def hidden(self, state: MaskedMountainCarState) -> Fields:
        """Return the velocity."""
        return {"velocity": state.velocity[None]}
