"""Policies: from values or outputs of a network to actions, with one PRNG key per environment."""

import math

import jax
import jax.numpy as jnp

from podarcade.actions import ActionSpace, Discrete


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


def distribution(actions: ActionSpace) -> "type[Categorical] | type[Gaussian]":
    """Return the family of stochastic policies over an action space."""
    return Categorical if isinstance(actions, Discrete) else Gaussian


class Categorical:
    """Policies over n discrete actions, p = softmax(logits); outputs are logits float32[..., n]."""

    @staticmethod
    def sample(logits: jax.Array, temperature: jax.Array, keys: jax.Array) -> jax.Array:
        """Sample actions from softmax(logits / temperature): greedy at 0, uniform at infinity.

        Args:
          logits: float32[B, n].
          temperature: float32[], >= 0, may be infinite.
          keys: PRNG key data, one per environment.

        Returns:
          int32[B].
        """
        # Gumbel-max trick: argmax of logits / temperature + Gumbel noise is such a sample.
        noise = _noise(jax.random.gumbel, keys, logits.shape[1:])
        drawn = jnp.argmax(logits / jnp.where(temperature > 0, temperature, 1.0) + noise, axis=-1)
        return jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)

    @staticmethod
    def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
        """Return log p(action): float32[..., n] and int32[...] to float32[...]."""
        return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]

    @staticmethod
    def entropy(logits: jax.Array) -> jax.Array:
        """Return the entropy of p in nats: float32[..., n] to float32[...]."""
        log_p = jax.nn.log_softmax(logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


class Gaussian:
    """Policies over A continuous actions, p = N(μ, diag σ²); outputs are [μ, log σ], float32[..., 2 A].

    Games clip actions to [-1, 1]; probabilities are those of the samples before clipping.
    """

    @staticmethod
    def sample(outputs: jax.Array, temperature: jax.Array, keys: jax.Array) -> jax.Array:
        """Sample actions from N(μ, (temperature σ)²): μ at 0; at infinity, uniform on [-1, 1].

        Args:
          outputs: float32[B, 2 A].
          temperature: float32[], >= 0, may be infinite.
          keys: PRNG key data, one per environment.

        Returns:
          float32[B, A].
        """
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        finite = jnp.isfinite(temperature)
        scale = jnp.where(finite, temperature, 0.0) * jnp.exp(log_std)
        noise = _noise(jax.random.normal, keys, mean.shape[1:])
        uniform = 2 * jax.scipy.stats.norm.cdf(noise) - 1  # Φ of normal noise is uniform
        return jnp.where(finite, mean + scale * noise, uniform)

    @staticmethod
    def log_probability(outputs: jax.Array, action: jax.Array) -> jax.Array:
        """Return log p(action): float32[..., 2 A] and float32[..., A] to float32[...]."""
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        squares = jnp.square((action - mean) * jnp.exp(-log_std))
        return -jnp.sum(0.5 * squares + log_std + 0.5 * math.log(2 * math.pi), axis=-1)

    @staticmethod
    def entropy(outputs: jax.Array) -> jax.Array:
        """Return the entropy of p in nats: float32[..., 2 A] to float32[...]."""
        _, log_std = jnp.split(outputs, 2, axis=-1)
        return jnp.sum(log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)


def _noise(sampler, keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return float32[B, *shape] of a sampler of jax.random, each environment with its own key."""
    return jax.vmap(lambda key: sampler(jax.random.wrap_key_data(key), shape, jnp.float32))(keys)
