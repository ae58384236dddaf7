"""Players of VelocityOnlyCartPole."""

import jax.numpy as jnp

from benchmarks.bounds import Player, controllers
from podarcade.envs.tasks.velocity_only_cartpole import VelocityOnlyCartPole


def memoryless(task: VelocityOnlyCartPole) -> Player:
    """Balance by velocities alone: a linear rule found by a cross-entropy search."""

    def act(memory, observation, previous, key):
        return memory, (0.13 * observation[0] + observation[1] > 0).astype(jnp.int32)

    return Player(act)


def memory(task: VelocityOnlyCartPole) -> Player:
    """Balance by all four variables: return 1 (exact)."""

    def act(memory, observation, previous, key):
        velocity, spin, position, angle = observation
        return memory, controllers.balance(position, angle, velocity, spin)

    return Player(act, twin="full")
