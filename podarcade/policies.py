"""Policies: from values to actions, one key per environment."""

import jax
import jax.numpy as jnp


def epsilon_greedy(values: jax.Array, epsilon: jax.Array, keys: jax.Array) -> jax.Array:
    """With probability ε an action drawn evenly from all, otherwise the best (the first of equals).

    Args:
      values: float32[B, A].
      epsilon: float32[], in [0, 1].
      keys: uint32[B, 2], one per environment.

    Returns:
      int32[B].
    """

    def choose(value, key):
        explore_key, action_key = jax.random.split(jax.random.wrap_key_data(key))
        explore = jax.random.uniform(explore_key) < epsilon
        return jnp.where(explore, jax.random.randint(action_key, (), 0, value.shape[0]), jnp.argmax(value))

    return jax.vmap(choose)(values, keys).astype(jnp.int32)
