"""What the pendulum tasks share: the dynamics and the reward of POPGym's pendulums."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Continuous
from podarcade.envs.tasks import Fields, Task

GRAVITY, TORQUE, MAX_SPEED, SECONDS = 10.0, 2.0, 8.0, 0.05
HALF_COST = 16.2736044 / 2  # half of the highest cost of a step, as POPGym rounds it


@struct.dataclass
class PendulumState:
    """State of a pendulum: 16 bytes."""

    angle: jax.Array  # float32[] radians from upright, in [-pi, pi]
    speed: jax.Array  # float32[] radians per second, in [-8, 8]
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps


@dataclasses.dataclass(frozen=True)
class _PendulumTask(Task):
    """Swing a pendulum up and hold it there for T = `max_steps` steps; subclasses say what is visible."""

    max_steps: int = 200

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}}
    RETURNS: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    CHANNEL: ClassVar[str] = "open"
    actions: ClassVar[ActionSpace] = Continuous(1)

    @property
    def hidden_at_start(self) -> bool:
        """Whether the hidden block is zero at time 0: an oracle's, and any under published rules, as in POPGym."""
        return self.TWIN == "oracle" or self.rules == "published"

    def reset(self, key: jax.Array) -> Any:
        """Return a pendulum at any angle, with a low speed."""
        return self.start(jax.random.uniform(key, (2,), jnp.float32, -1.0, 1.0))

    def start(self, uniform: jax.Array) -> PendulumState:
        """Return the state at time 0 for numbers in [-1, 1), float32[2]."""
        return PendulumState(angle=np.pi * uniform[0], speed=uniform[1], time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: Any, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        torque = TORQUE * jnp.clip(action[0], -1.0, 1.0)
        cost = state.angle**2 + 0.1 * state.speed**2 + 0.001 * torque**2
        speed = state.speed + SECONDS * (1.5 * GRAVITY * jnp.sin(state.angle) + 3.0 * torque)
        speed = jnp.clip(speed, -MAX_SPEED, MAX_SPEED)
        angle = state.angle + SECONDS * speed
        angle = angle - 2 * np.pi * ((angle > np.pi).astype(jnp.float32) - (angle < -np.pi))
        new = state.replace(angle=angle, speed=speed, time=state.time + 1, score=state.score + 1)
        reward = (HALF_COST - cost) * jnp.float32(1 / (HALF_COST * self.max_steps))
        return new, reward, self.is_over(new)


def direction(state: Any) -> Fields:
    """Return cosine and sine of the angle."""
    return {"cosine": jnp.cos(state.angle)[None], "sine": jnp.sin(state.angle)[None]}


def speed(state: Any) -> Fields:
    """Return the angular speed in radians per second."""
    return {"speed": state.speed[None]}
