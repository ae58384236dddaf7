"""Players of DiscountingChain."""

import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.discounting_chain import DELAYS, DiscountingChain


def memoryless(task: DiscountingChain) -> Player:
    """Choose the chain with the bonus: return 1.1, the optimum (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, jnp.int32(task.mapping_seed % len(DELAYS))))


def memory(task: DiscountingChain) -> Player:
    """Choose the chain with the bonus: memory helps the critic only (exact)."""
    return memoryless(task)
