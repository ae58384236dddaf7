"""Players of UmbrellaChain."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.umbrella_chain import UmbrellaChain


def memoryless(task: UmbrellaChain) -> Player:
    """Take the umbrella if it is needed: mean return 1, the optimum (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, observation[-2].astype(jnp.int32)))


def memory(task: UmbrellaChain) -> Player:
    """Take the umbrella if it is needed: memory helps the critic only (exact)."""
    return memoryless(task)
