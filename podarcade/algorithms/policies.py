"""Policies: from values or logits to actions, with one PRNG key per environment."""

import jax
import jax.numpy as jnp


def epsilon_greedy(values: jax.Array, epsilon: jax.Array, keys: jax.Array) -> jax.Array:
    """Return a uniformly random action with probability ε, otherwise the greedy one (the first among equals).

    Args:
      values: float32[B, A].
      epsilon: float32[], >= 0; values above 1 act like 1.
      keys: PRNG key data, one per environment.

    Returns:
      int32[B].
    """

    def select(value, key):
        explore_key, action_key = jax.random.split(jax.random.wrap_key_data(key))
        explore = jax.random.uniform(explore_key, dtype=jnp.float32) < epsilon
        return jnp.where(explore, jax.random.randint(action_key, (), 0, value.shape[0], jnp.int32), jnp.argmax(value))

    return jax.vmap(select)(values, keys).astype(jnp.int32)


def sample(logits: jax.Array, temperature: jax.Array, keys: jax.Array) -> jax.Array:
    """Sample actions from softmax(logits / temperature): greedy at 0, uniform at infinity.

    Args:
      logits: float32[B, A].
      temperature: float32[], >= 0, may be infinite.
      keys: PRNG key data, one per environment.

    Returns:
      int32[B].
    """
    # Gumbel-max trick: argmax of logits / temperature + Gumbel noise is such a sample.
    noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.wrap_key_data(key), logits.shape[1:], jnp.float32))(keys)
    drawn = jnp.argmax(logits / jnp.where(temperature > 0, temperature, 1.0) + noise, axis=-1)
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Return log softmax(logits)[action]: float32[..., A] and int32[...] to float32[...]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def entropy(logits: jax.Array) -> jax.Array:
    """Return the entropy of softmax(logits) in nats: float32[..., A] to float32[...]."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
