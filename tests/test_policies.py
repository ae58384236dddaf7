"""Policies against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.algorithms import policies

LOGITS = jnp.log(jnp.asarray([0.5, 0.25, 0.25]))


def keys(number):
    return jax.random.key_data(jax.random.split(jax.random.key(0), number))


def shares(actions, number=3):
    return np.bincount(np.asarray(actions), minlength=number) / len(actions)


def test_samples_are_as_probable_as_they_say():
    many = jnp.broadcast_to(LOGITS, (8000, 3))
    np.testing.assert_allclose(shares(policies.sample(many, jnp.float32(1), keys(8000))), [0.5, 0.25, 0.25], atol=0.02)
    # At temperature ½ probabilities are squared: 4 : 1 : 1.
    cold = policies.sample(many, jnp.float32(0.5), keys(8000))
    np.testing.assert_allclose(shares(cold), [4 / 6, 1 / 6, 1 / 6], atol=0.02)
    assert (policies.sample(many, jnp.float32(0), keys(8000)) == 0).all()
    hot = policies.sample(100 * many, jnp.float32(jnp.inf), keys(8000))
    np.testing.assert_allclose(shares(hot), [1 / 3, 1 / 3, 1 / 3], atol=0.02)


def test_log_probabilities_and_entropy():
    logits = jnp.stack([LOGITS + 3.0, jnp.zeros(3)])  # an added constant changes nothing
    found = policies.log_probability(logits, jnp.asarray([1, 2]))
    np.testing.assert_allclose(found, np.log([0.25, 1 / 3]), rtol=1e-6)
    np.testing.assert_allclose(policies.entropy(logits), [1.5 * np.log(2), np.log(3)], rtol=1e-6)


def test_epsilon_greedy_is_as_random_as_it_says():
    values = jnp.broadcast_to(jnp.asarray([0.0, 2.0, 2.0]), (8000, 3))
    found = policies.epsilon_greedy(values, jnp.float32(0.3), keys(8000))
    np.testing.assert_allclose(shares(found), [0.1, 0.8, 0.1], atol=0.02)  # the first of equals
    found = policies.epsilon_greedy(values, jnp.float32(jnp.inf), keys(8000))
    np.testing.assert_allclose(shares(found), [1 / 3, 1 / 3, 1 / 3], atol=0.02)
