"""MaskedAcrobot: swing up two links without seeing their velocities."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import ActionSpace, Discrete
from podarcade.envs.tasks import Fields, Task

GRAVITY, SECONDS = 9.8, 0.2
MAX_SPEEDS = np.array([4 * np.pi, 9 * np.pi], np.float32)


@struct.dataclass
class MaskedAcrobotState:
    """State of MaskedAcrobot: 24 bytes."""

    angles: jax.Array  # float32[2] of the first link from hanging down, and of the second from the first, in [-π, π]
    speeds: jax.Array  # float32[2] radians per second
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] 1 at the goal


@dataclasses.dataclass(frozen=True)
class MaskedAcrobot(Task):
    """Gymnasium's Acrobot-v1 without its velocities: bring the free end of two links above a line.

    - start: both angles and both speeds are uniform on [-0.1, 0.1).
    - dynamics: Sutton and Barto's, links of 1 m and 1 kg with moments of inertia 1, one Runge-Kutta step of 0.2 s for
      each action with its torque on the joint; speeds are clipped to 4π and 9π.
    - observation: visible `first` and `second`, cosine and sine of each angle; hidden `speeds` in rad/s, not scaled.
    - action: 0, 1 or 2 for a torque of -1, 0 or 1 N m.
    - reward: -1 for each action but the one that arrives. Returns are in [-500, 0].
    - end: terminal when -cos θ₁ - cos(θ₁ + θ₂) > 1; truncated after 500 actions.
    - twin: history. Speeds follow from two observations and the action. At time 0 both twins show them.
    - channel: small. The best known policy without memory has -121, with its previous action -88.6, the best known one
      -79.7; a random one has -499. Velocities alone are worth -82.9: this is a weak test of memory.

    Published rules: the limit is terminal.
    """

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}}
    RETURNS: ClassVar[tuple[float, float]] = (-500.0, 0.0)
    CHANNEL: ClassVar[str] = "small"
    actions: ClassVar[ActionSpace] = Discrete(3)
    max_steps: ClassVar[int] = 500

    def reset(self, key: jax.Array) -> MaskedAcrobotState:
        """Return links that hang down, almost at rest."""
        start = jax.random.uniform(key, (4,), jnp.float32, -0.1, 0.1)
        return MaskedAcrobotState(angles=start[:2], speeds=start[2:], time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: MaskedAcrobotState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        torque = (jnp.clip(action, 0, 2) - 1).astype(jnp.float32)
        angles, speeds = _runge_kutta(state.angles, state.speeds, torque)
        angles = angles - 2 * np.pi * jnp.floor((angles + np.pi) / (2 * np.pi))
        speeds = jnp.clip(speeds, -MAX_SPEEDS, MAX_SPEEDS)
        arrived = -jnp.cos(angles[0]) - jnp.cos(angles[0] + angles[1]) > 1
        new = state.replace(angles=angles, speeds=speeds, time=state.time + 1, score=state.score + arrived)
        return new, jnp.where(arrived, 0.0, -1.0).astype(jnp.float32), self.is_over(new, arrived)

    def visible(self, state: MaskedAcrobotState) -> Fields:
        """Return cosine and sine of both angles."""
        cosine, sine = jnp.cos(state.angles), jnp.sin(state.angles)
        return {"first": jnp.stack([cosine[0], sine[0]]), "second": jnp.stack([cosine[1], sine[1]])}

    def hidden(self, state: MaskedAcrobotState) -> Fields:
        """Return the speeds."""
        return {"speeds": state.speeds}


def _runge_kutta(angles, speeds, torque):
    """Return angles and speeds after one classical Runge-Kutta step of fourth order."""
    half = SECONDS / 2
    first = _accelerations(angles, speeds, torque)
    second_speeds = speeds + half * first
    second = _accelerations(angles + half * speeds, second_speeds, torque)
    third_speeds = speeds + half * second
    third = _accelerations(angles + half * second_speeds, third_speeds, torque)
    fourth_speeds = speeds + SECONDS * third
    fourth = _accelerations(angles + SECONDS * third_speeds, fourth_speeds, torque)
    return (
        angles + SECONDS / 6 * (speeds + 2 * second_speeds + 2 * third_speeds + fourth_speeds),
        speeds + SECONDS / 6 * (first + 2 * second + 2 * third + fourth),
    )


def _accelerations(angles, speeds, torque):
    """Return the angular accelerations of both links, float32[2]; all lengths and masses are 1, centres at 1/2."""
    cosine, sine = jnp.cos(angles[1]), jnp.sin(angles[1])
    inertia = 3.5 + cosine
    coupling = 1.25 + 0.5 * cosine
    weight = 0.5 * GRAVITY * jnp.sin(angles[0] + angles[1])
    load = -0.5 * speeds[1] ** 2 * sine - speeds[1] * speeds[0] * sine + 1.5 * GRAVITY * jnp.sin(angles[0]) + weight
    second = (torque + coupling / inertia * load - 0.5 * speeds[0] ** 2 * sine - weight) / (
        1.25 - coupling**2 / inertia
    )
    return jnp.stack([-(coupling * second + load) / inertia, second])
