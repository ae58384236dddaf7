"""Policies against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from podarcade.actions import Continuous, Discrete
from podarcade.algorithms import policies
from podarcade.algorithms.policies import Categorical, Gaussian

LOGITS = jnp.log(jnp.asarray([0.5, 0.25, 0.25]))


def keys(number):
    return jax.random.key_data(jax.random.split(jax.random.key(0), number))


def shares(actions, number=3):
    return np.bincount(np.asarray(actions), minlength=number) / len(actions)


def test_samples_are_as_probable_as_they_say():
    many = jnp.broadcast_to(LOGITS, (8000, 3))
    np.testing.assert_allclose(
        shares(Categorical.sample(many, jnp.float32(1), keys(8000))), [0.5, 0.25, 0.25], atol=0.02
    )
    # At temperature ½ probabilities are squared: 4 : 1 : 1.
    cold = Categorical.sample(many, jnp.float32(0.5), keys(8000))
    np.testing.assert_allclose(shares(cold), [4 / 6, 1 / 6, 1 / 6], atol=0.02)
    assert (Categorical.sample(many, jnp.float32(0), keys(8000)) == 0).all()
    hot = Categorical.sample(100 * many, jnp.float32(jnp.inf), keys(8000))
    np.testing.assert_allclose(shares(hot), [1 / 3, 1 / 3, 1 / 3], atol=0.02)


def test_log_probabilities_and_entropy():
    logits = jnp.stack([LOGITS + 3.0, jnp.zeros(3)])  # an added constant changes nothing
    found = Categorical.log_probability(logits, jnp.asarray([1, 2]))
    np.testing.assert_allclose(found, np.log([0.25, 1 / 3]), rtol=1e-6)
    np.testing.assert_allclose(Categorical.entropy(logits), [1.5 * np.log(2), np.log(3)], rtol=1e-6)


def test_epsilon_greedy_is_as_random_as_it_says():
    values = jnp.broadcast_to(jnp.asarray([0.0, 2.0, 2.0]), (8000, 3))
    found = policies.epsilon_greedy(values, jnp.float32(0.3), keys(8000))
    np.testing.assert_allclose(shares(found), [0.1, 0.8, 0.1], atol=0.02)  # the first of equals
    found = policies.epsilon_greedy(values, jnp.float32(jnp.inf), keys(8000))
    np.testing.assert_allclose(shares(found), [1 / 3, 1 / 3, 1 / 3], atol=0.02)


def test_gaussian_samples_have_the_density_they_say():
    outputs = jnp.broadcast_to(jnp.asarray([0.3, -0.2, np.log(0.5), np.log(0.1)], jnp.float32), (20_000, 4))
    found = np.asarray(Gaussian.sample(outputs, jnp.float32(1), keys(20_000)))
    np.testing.assert_allclose(found.mean(0), [0.3, -0.2], atol=0.015)
    np.testing.assert_allclose(found.std(0), [0.5, 0.1], rtol=0.02)
    np.testing.assert_allclose(Gaussian.sample(outputs, jnp.float32(2), keys(20_000)).std(0), [1.0, 0.2], rtol=0.02)
    np.testing.assert_array_equal(Gaussian.sample(outputs, jnp.float32(0), keys(20_000)), outputs[:, :2])
    hot = np.asarray(Gaussian.sample(100 * outputs, jnp.float32(jnp.inf), keys(20_000)))
    assert np.abs(hot).max() <= 1
    np.testing.assert_allclose(
        np.quantile(hot, [0.25, 0.5, 0.75], axis=0), [[-0.5] * 2, [0.0] * 2, [0.5] * 2], atol=0.02
    )
    # Against scipy, and the mean of the negative log-probability.
    expected = stats.norm.logpdf(found, [0.3, -0.2], [0.5, 0.1]).sum(1)
    log_p = Gaussian.log_probability(outputs, found)
    np.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(-np.mean(log_p), Gaussian.entropy(outputs[0]), atol=0.02)


def test_each_action_space_has_its_distribution():
    assert policies.distribution(Discrete(3)) is Categorical and policies.distribution(Continuous(3)) is Gaussian
