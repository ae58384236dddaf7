"""PQN: its loss is what it says, and its schedules too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import drawn, pqn, rolled_out
from probes import Probe

from podarcade.envs.environment import Environment


@pytest.fixture(scope="module")
def seen():
    """A batch as the loss sees it, its algorithm, parameters, and the loss compiled."""
    algorithm = pqn(rollout_length=8, burn_in=3, carry_init="stored")
    environment = Environment(Probe(length=4, pays="match"))
    params, trajectories = rolled_out(algorithm, environment)
    return (
        algorithm,
        params,
        drawn(environment, trajectories[-1]),
        jax.jit(lambda p, b: algorithm.loss(p, None, b)),
    )


def test_slots_that_are_no_experience_have_no_weight(seen):
    _, params, batch, loss = seen
    losses, weights, _ = loss(params, batch)
    over = np.asarray(batch.slots.terminal | batch.slots.truncated)[3:-1]
    assert losses.shape == weights.shape == (8, 4)
    assert over.any()
    np.testing.assert_array_equal(weights, 1.0 - over)


def test_burn_in_is_no_gradient_and_no_loss(seen):
    """What the burn-in slots show changes the memory, but no gradient flows into how they were read."""
    _, params, batch, loss = seen

    def total(observation):
        losses, weights, _ = loss(params, batch.replace(slots=batch.slots.replace(observation=observation)))
        return jnp.sum(losses * weights)

    gradient = jax.jit(jax.grad(total))(batch.slots.observation)
    np.testing.assert_array_equal(gradient[:3], 0.0)
    assert jnp.abs(gradient[3:-1]).max() > 0
    assert total(batch.slots.observation.at[:3].add(1.0)) != total(batch.slots.observation)


def test_the_carry_that_a_sequence_starts_with_is_the_actors():
    """Greedy actors chose what the learner, starting from their stored memory, computes again."""
    algorithm = pqn(rollout_length=8, burn_in=3, carry_init="stored")
    environment = Environment(Probe(length=4, pays="match"))
    params, trajectories = rolled_out(algorithm, environment, exploration=0.0, rollouts=3)
    batch = drawn(environment, trajectories[-1])
    _, values = jax.jit(algorithm.apply)(params, batch)
    np.testing.assert_array_equal(np.asarray(values.argmax(-1))[:-1], batch.slots.action[:-1])


def test_epsilon_falls_over_its_fraction_of_the_run():
    algorithm = pqn(epsilon_start=1.0, epsilon_end=0.2, epsilon_fraction=0.5)
    epsilons = [float(algorithm.exploration(progress)) for progress in (0.0, 0.25, 0.5, 1.0)]
    np.testing.assert_allclose(epsilons, [1.0, 0.6, 0.2, 0.2], rtol=1e-6)


def test_the_learning_rate_falls_over_its_fraction_of_the_schedule():
    """Ten gradient steps on a constant gradient: each change is minus the rate of its step."""
    algorithm = pqn(optimiser="sgd", learning_rate=1.0, learning_rate_end=0.2, learning_rate_fraction=0.5)
    optimiser = algorithm.make_optimiser(10)
    params, gradient, rates = {"q": jnp.zeros(1)}, {"q": jnp.full(1, 0.5)}, []
    state = optimiser.init(params)
    for _ in range(10):
        change, state = optimiser.update(gradient, state, params)
        rates.append(float(-2 * change["q"][0]))
    np.testing.assert_allclose(rates, [1.0, 0.84, 0.68, 0.52, 0.36] + 5 * [0.2], rtol=1e-6)


def test_gradients_are_clipped_before_the_optimiser():
    optimiser = pqn(optimiser="sgd", learning_rate=1.0, learning_rate_end=1.0, max_gradient_norm=0.5).make_optimiser(10)
    params = {"q": jnp.zeros(2)}
    change, _ = optimiser.update({"q": jnp.asarray([30.0, 40.0])}, optimiser.init(params), params)
    np.testing.assert_allclose(change["q"], [-0.3, -0.4], rtol=1e-5)
