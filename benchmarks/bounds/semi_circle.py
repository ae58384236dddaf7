"""Players of SemiCircle."""

import jax.numpy as jnp
import numpy as np

from benchmarks.bounds import Player
from podarcade.envs.tasks.points import STRIDE
from podarcade.envs.tasks.semi_circle import SemiCircle


def memoryless(task: SemiCircle) -> Player:
    """Park in the middle of the half-circle."""

    def act(memory, observation, previous, key):
        return memory, (np.array([0, 1], np.float32) - observation[:2]) / STRIDE

    return Player(act)


def memory(task: SemiCircle) -> Player:
    """Walk along the half-circle until an action is paid, then return to that place at once."""

    def act(memory, observation, previous, reward, key):
        found, goal = memory
        position = observation[:2]
        new = (reward > 0) & ~found & (observation[2] == 0)
        goal, found = jnp.where(new, position, goal), found | new
        target = jnp.where(found, goal, _ahead(position))
        return (found, goal), (target - position) / STRIDE

    return Player(act, initial=(jnp.asarray(False), jnp.zeros(2, jnp.float32)), sees_reward=True)


def _ahead(position):
    """Return the next place on a round trip: clockwise outside the half-circle, back inside it, float32[2]."""
    radius, angle = jnp.sqrt(jnp.sum(position**2)), jnp.arctan2(position[1], position[0])
    angle = jnp.where(angle < -np.pi / 2, angle + 2 * np.pi, angle)
    outside = (radius > 1.0) & (angle > 0.1) | (angle > np.pi - 0.1)
    lane, turn = jnp.where(outside, 1.08, 0.92), jnp.where(outside, -0.12, 0.12)
    angle = jnp.clip(angle + turn, 0.0, np.pi)
    return lane * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
