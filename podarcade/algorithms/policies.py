"""Policies: from values to actions, one key per environment."""

import jax
import jax.numpy as jnp


def epsilon_greedy(values: jax.Array, epsilon: jax.Array, keys: jax.Array) -> jax.Array:
    """With probability ε an action drawn evenly from all, otherwise the best (the first of equals).

    Args:
      values: float32[B, A].
      epsilon: float32[], not negative; above 1 it counts as 1.
      keys: uint32[B, 2], one per environment.

    Returns:
      int32[B].
    """

    def choose(value, key):
        explore_key, action_key = jax.random.split(jax.random.wrap_key_data(key))
        explore = jax.random.uniform(explore_key) < epsilon
        return jnp.where(explore, jax.random.randint(action_key, (), 0, value.shape[0]), jnp.argmax(value))

    return jax.vmap(choose)(values, keys).astype(jnp.int32)


def sample(logits: jax.Array, temperature: jax.Array, keys: jax.Array) -> jax.Array:
    """Actions drawn from softmax(logits / temperature): the most likely one at 0, and any alike at infinity.

    Args:
      logits: float32[B, A].
      temperature: float32[], not negative, may be infinite.
      keys: uint32[B, 2], one per environment.

    Returns:
      int32[B].
    """
    # The largest of logits / temperature + Gumbel noise is such a draw (Gumbel-max).
    noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.wrap_key_data(key), logits.shape[1:]))(keys)
    drawn = jnp.argmax(logits / jnp.where(temperature > 0, temperature, 1.0) + noise, axis=-1)
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    """log softmax(logits) of the actions: float32[..., A] and int32[...] to float32[...]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def entropy(logits: jax.Array) -> jax.Array:
    """- Σ p log p of p = softmax(logits), in nats: float32[..., A] to float32[...]."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
