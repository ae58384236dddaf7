"""PPO: its terms by hand, its ratio before the first step, its networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import drawn, ppo, rolled_out, run, updater
from probes import Probe

from podarcade.algorithms.popgym_ppo import PopgymPPO
from podarcade.algorithms.ppo import clipped_objective, clipped_value_loss
from podarcade.envs.environment import Environment

GAME = Probe(length=4, pays="match")


def test_table_of_the_clipped_objective():
    """By hand, ε = 0.2: beyond the clip in the direction of the advantage there is nothing more to gain."""
    ratio = jnp.asarray([1.0, 1.1, 1.5, 1.5, 0.5, 0.5])
    advantage = jnp.asarray([2.0, 2.0, 2.0, -2.0, 2.0, -2.0])
    losses, clipped = clipped_objective(jnp.log(ratio), advantage, 0.2)
    np.testing.assert_allclose(losses, [-2.0, -2.2, -2.4, 3.0, -1.0, 1.6], rtol=1e-6)
    np.testing.assert_array_equal(clipped, [0, 0, 1, 1, 1, 1])
    slope = jax.grad(lambda log_ratio: clipped_objective(log_ratio, advantage, 0.2)[0].sum())(jnp.log(ratio))
    np.testing.assert_array_equal(slope == 0, [False, False, True, False, False, True])


def test_table_of_the_clipped_value_loss():
    """By hand, ε_v = 0.5, V° = 1: the worse of the value and of the value held near the old one."""
    value, target = jnp.asarray([1.2, 3.0, 3.0, -1.0]), jnp.asarray([2.0, 3.0, 0.0, 0.0])
    old = jnp.ones(4)
    expected = [0.5 * 0.8**2, 0.5 * 1.5**2, 0.5 * 3.0**2, 0.5 * 1.0]
    np.testing.assert_allclose(clipped_value_loss(value, old, target, 0.5), expected, rtol=1e-6)
    plain = 0.5 * np.square(np.asarray(value - target))
    np.testing.assert_allclose(clipped_value_loss(value, old, target, 0.0), plain, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"carry_init": "stored", "shared": False}], ids=["shared", "stored, separate"])
def test_the_ratio_is_one_before_the_first_gradient_step(options):
    """With one batch no step has changed anything, whatever memory sequences begin with."""
    trainer = updater(GAME, ppo(num_epochs=1, num_minibatches=1, learning_rate=0.1, **options), updates=3)
    _, metrics = run(trainer, 3)
    np.testing.assert_array_equal(metrics.means["clip_fraction"], 0.0)
    np.testing.assert_allclose(metrics.means["kl"], 0.0, atol=1e-9)


@pytest.fixture(scope="module")
def seen():
    """A batch as the loss sees it, its algorithm and parameters."""
    algorithm = ppo(rollout_length=8, burn_in=3, carry_init="stored")
    environment = Environment(GAME)
    params, trajectories = rolled_out(algorithm, environment)
    batch = drawn(environment, trajectories[-1])
    return algorithm, params, batch.replace(prepared=jax.jit(algorithm.prepare)(params, batch))


def mean(values, weights):
    return jnp.sum(values * weights) / jnp.sum(weights)


def test_advantages_are_standardised_over_experience_alone(seen):
    algorithm, _, batch = seen
    ignored = np.asarray(batch.slots.terminal | batch.slots.truncated)[3:-1]
    assert ignored.any()
    scaled = np.asarray(algorithm.standardise(batch, mean).prepared["advantage"])
    assert scaled.shape == (8, 4)
    assert scaled[~ignored].mean() == pytest.approx(0.0, abs=1e-6)
    assert scaled[~ignored].std() == pytest.approx(1.0, abs=1e-4)
    untouched = ppo(rollout_length=8, burn_in=3, carry_init="stored", standardised=False)
    np.testing.assert_array_equal(untouched.standardise(batch, mean).prepared["advantage"], batch.prepared["advantage"])


def test_the_loss_is_the_sum_of_its_terms_and_restarts_have_no_weight(seen):
    algorithm, params, batch = seen
    losses, weights, metrics = jax.jit(lambda p, b: algorithm.loss(p, None, b))(params, batch)
    np.testing.assert_array_equal(weights, 1.0 - np.asarray(batch.slots.terminal | batch.slots.truncated)[3:-1])
    # Before a gradient step: ρ = 1, and the values are the old ones.
    prepared = batch.prepared
    np.testing.assert_allclose(metrics["policy_loss"], -prepared["advantage"], rtol=1e-4, atol=1e-6)
    value_loss = 0.5 * np.square(prepared["value"] - prepared["target"])
    np.testing.assert_allclose(metrics["value_loss"], value_loss, rtol=1e-4, atol=1e-6)
    expected = metrics["policy_loss"] + 0.5 * metrics["value_loss"] - 0.01 * metrics["entropy"]
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)


def seen_by_network(slots):
    return slots.observation, slots.previous_action, slots.reward, slots.start


def test_separate_networks_share_nothing(seen):
    algorithm, _, batch = seen
    separate = ppo(rollout_length=8, burn_in=0, carry_init="zero", shared=False)
    batch = batch.replace(carry=separate.initial(4))
    params = separate.network.init(jax.random.key(0), batch.carry, *seen_by_network(batch.slots))
    assert set(params["params"]) == {"actor", "critic", "policy", "value"}
    assert len(batch.carry) == 2 and len(algorithm.initial(4)) == 1

    for output, untouched in ((0, "critic"), (1, "actor")):
        gradient = jax.jit(
            jax.grad(lambda p, o=output: jnp.sum(jnp.square(separate.apply({"actor_critic": p}, batch)[1][o])))
        )(params)
        sizes = {
            name: max(float(jnp.abs(x).max()) for x in jax.tree.leaves(g)) for name, g in gradient["params"].items()
        }
        assert sizes.pop(untouched) == 0.0
        assert sizes["actor" if untouched == "critic" else "critic"] > 0.0


def test_without_the_action_it_changes_nothing(seen):
    _, _, batch = seen
    for no_action in (False, True):
        algorithm = ppo(rollout_length=8, burn_in=3, carry_init="stored", kind=PopgymPPO, no_action=no_action)
        params = algorithm.network.init(jax.random.key(0), batch.carry, *seen_by_network(batch.slots))
        other = batch.replace(slots=batch.slots.replace(previous_action=1 - batch.slots.previous_action))
        (_, (_, value)), (_, (_, changed)) = (algorithm.apply({"actor_critic": params}, b) for b in (batch, other))
        assert np.array_equal(value, changed) == no_action


def test_single_transitions_are_learnt_from_as_whole_sequences_are():
    options = {"rollout_length": 8, "burn_in": 0, "num_epochs": 1, "num_minibatches": 1, "optimiser": "sgd"}
    states = [
        run(updater(GAME, ppo("none", **options, kind=PopgymPPO, feed_forward=on), updates=2), 2)[0]
        for on in (True, False)
    ]
    for one, other in zip(*(jax.tree.leaves(state.learner.params) for state in states), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("options", [{"clip": -0.1}, {"gae_lambda": 1.5}, {"value_clip": -0.2}, {"discount": 1.5}])
def test_invalid_options_are_errors(options):
    with pytest.raises(ValueError, match=r"expected a number (in \[0, 1\]|>= 0)"):
        ppo(**options)
