"""Players of MultiarmedBandit."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.multiarmed_bandit import MultiarmedBandit


def memoryless(task: MultiarmedBandit) -> Player:
    """Stay on an arm that paid, else move to the next one; the observation shows the last arm."""

    def act(memory, observation, previous, key):
        arm = jnp.argmax(observation[1 : 1 + task.arms])
        return memory, jnp.where(observation[0] > 0, arm, arm + 1) % task.arms

    return Player(act)


def memory(task: MultiarmedBandit) -> Player:
    """Pull the arm with the highest index: posterior mean + 0.5 sqrt(0.3 ln T / (1 + pulls))."""
    bonus = jnp.float32(0.3) * jnp.log(jnp.float32(task.steps))

    def act(memory, observation, previous, key):
        wins, pulls = task.steps * observation[1 + task.arms :].reshape(2, task.arms)
        return memory, jnp.argmax((1 + wins) / (2 + pulls) + 0.5 * jnp.sqrt(bonus / (1 + pulls)))

    return Player(act, twin="full")
