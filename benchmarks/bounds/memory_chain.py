"""Players of MemoryChain, under both rule sets."""

import jax
import jax.numpy as jnp

from benchmarks.bounds import Player
from podarcade.envs.tasks.memory_chain import MemoryChain


def memoryless(task: MemoryChain) -> Player:
    """Guess: 0, like any policy that does not see the cue when it answers (exact)."""
    return Player(lambda memory, observation, previous, key: (memory, jax.random.bernoulli(key).astype(jnp.int32)))


def with_action(task: MemoryChain) -> Player:
    """Answer the majority of the bits, then repeat the previous action.

    Its return is 2 C(n - 1, ⌊(n - 1) / 2⌋) / 2^n, and 1 for one bit (exact: an action holds one bit).
    """

    def act(memory, observation, previous, key):
        majority = (jnp.sum(observation[2:]) > 0).astype(jnp.int32)
        return memory, jnp.where(previous < 0, majority, previous)

    return Player(act)


def memory(task: MemoryChain) -> Player:
    """Remember the cue: return 1 (exact)."""
    scale = task.num_bits if task.rules == "strict" else 1
    first = 1 if task.rules == "strict" else 0

    def act(cue, observation, previous, key):
        cue = jnp.where(previous < 0, observation[2:], cue)
        query = jnp.round(observation[1] * scale).astype(jnp.int32) - first
        return cue, (cue[query] > 0).astype(jnp.int32)

    return Player(act, initial=jnp.zeros(task.num_bits, jnp.float32))
