"""DQN: double-Q targets by hand, the target network, and the replay buffer in a run."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import distance, dqn, drawn, rolled_out, run, updater
from probes import Probe

from podarcade.algorithms import returns
from podarcade.algorithms.buffers import ReplayBuffer, Windows
from podarcade.algorithms.popgym_dqn import PopgymDQN
from podarcade.anakin import sharding
from podarcade.envs.environment import Environment
from podarcade.types import Batch, Slots

GAME = Probe(length=4, pays="match")


class Table:
    """In place of a network: the values of each slot are the parameters."""

    def apply(self, params, carry, observation, previous, reward, start):
        return carry, params


@dataclasses.dataclass(frozen=True)
class Tabular(PopgymDQN):
    """A DQN of tables that trains on two transitions."""

    network = Table()


def tabular(**options):
    small = dqn(kind=PopgymDQN)
    fields = {field.name: getattr(small, field.name) for field in dataclasses.fields(small)}
    return Tabular(**(fields | {"rollout_length": 2, "burn_in": 0, "discount": 0.5, "n_steps": 1} | options))


def path(**fields):
    """Three slots of one environment; the first two pay 1 and 2."""
    no = jnp.zeros((3, 1), bool)
    defaults = {
        "latent": None, "observation": None, "action": jnp.asarray([[0], [1], [0]]),
        "previous_action": jnp.zeros((3, 1), int), "reward": jnp.asarray([[0.0], [1.0], [2.0]]),
        "terminal": no, "truncated": no, "start": no,
    }  # fmt: skip
    importance = fields.pop("importance", jnp.ones(1))
    return Batch(slots=Slots(**(defaults | fields)), carry=(), importance=importance)


ONLINE = {"q": jnp.asarray([[[10.0, 11.0]], [[3.0, 2.0]], [[5.0, 6.0]]])}  # argmax 1, 0, 1
SLOW = {"q": jnp.asarray([[[0.0, 0.0]], [[4.0, 8.0]], [[20.0, 12.0]]])}  # argmax 1 in slot 1, 0 in slot 2


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        # The online network chooses 0, then 1; the slow one values them.
        ({}, {}, [1 + 0.5 * 4, 2 + 0.5 * 12]),
        ({"double": False}, {}, [1 + 0.5 * 8, 2 + 0.5 * 20]),
        ({"n_steps": 2}, {}, [1 + 0.5 * 2 + 0.25 * 12, 2 + 0.5 * 12]),
        ({"returns": "lambda", "td_lambda": 0.5}, {}, [1 + 0.5 * (0.5 * 4 + 0.5 * 8), 8]),
        ({}, {"terminal": jnp.asarray([[False], [False], [True]])}, [3, 2]),
        ({"n_steps": 2}, {"terminal": jnp.asarray([[False], [False], [True]])}, [1 + 0.5 * 2, 2]),
        ({"n_steps": 2}, {"truncated": jnp.asarray([[False], [False], [True]])}, [1 + 0.5 * 2 + 0.25 * 12, 8]),
        ({"reward_scale": 10.0}, {}, [10 + 0.5 * 4, 20 + 0.5 * 12]),
        # The value after the first step is another's.
        ({"off_by_one": True}, {}, [1 + 0.5 * 12, 2 + 0.5 * 12]),
    ],
)  # fmt: skip
def test_table_of_targets(options, fields, expected):
    losses, weights, metrics = tabular(**options).loss(ONLINE, SLOW, path(**fields))
    np.testing.assert_allclose(metrics["target"][:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(metrics["value"][:, 0], [10.0, 2.0])
    np.testing.assert_allclose(losses[:, 0], 0.5 * np.square(np.asarray([10.0, 2.0]) - expected), rtol=1e-6)
    np.testing.assert_array_equal(weights, 1.0)


def test_rescaled_targets_are_those_of_the_values_behind_them():
    """h(1 + ½ h⁻¹(4)), and the like."""
    _, _, metrics = tabular(rescale_values=True).loss(ONLINE, SLOW, path())
    behind = returns.signed_parabolic(jnp.asarray([4.0, 12.0]))
    expected = returns.signed_hyperbolic(jnp.asarray([1.0, 2.0]) + 0.5 * behind)
    np.testing.assert_allclose(metrics["target"][:, 0], expected, rtol=1e-6)


def test_importance_weighs_and_restarts_do_not_count():
    batch = path(importance=jnp.asarray([0.25]), start=jnp.asarray([[False], [False], [True]]))
    _, weights, _ = tabular().loss(ONLINE, SLOW, batch)
    np.testing.assert_array_equal(weights[:, 0], [0.25, 0.0])


def test_no_gradient_flows_through_targets():
    gradient = jax.grad(lambda online, slow: jnp.sum(tabular().loss(online, slow, path())[0]), (0, 1))
    online, slow = (tree["q"] for tree in gradient(ONLINE, SLOW))
    np.testing.assert_array_equal(slow, 0.0)
    np.testing.assert_allclose(online[:, 0], [[10 - 3, 0], [0, 2 - 8], [0, 0]], rtol=1e-6)


def test_the_target_network_follows_every_gradient_step_and_none_is_made_before_there_is_a_window():
    """The first rollout has no slots before it. Then two steps: θ'₂ = (1 - τ)² θ₀ + τ (1 - τ) θ₁ + τ θ₂."""
    options = {"num_epochs": 1, "num_minibatches": 1, "optimiser": "sgd", "learning_rate": 0.5, "carry_init": "stored"}
    trainer = updater(GAME, dqn(**options, target_rate=0.25), updates=3)
    state = trainer.init(jnp.asarray([0]))
    program, states, losses = trainer.compile(state, 1), [jax.device_get(state.learner)], []
    for _ in range(3):
        state, metrics = program(state)
        states.append(jax.device_get(state.learner))
        losses.append(float(metrics.means["loss"][0, 0]))
        assert not metrics.non_finite.skipped.any()
    first, still, second, last = states
    for name in ("params", "target", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(first, name), getattr(still, name))
    assert np.isnan(losses[0]) and np.isfinite(losses[1:]).all()

    def check(target, zero, one, two):
        np.testing.assert_allclose(target, 0.5625 * zero + 0.1875 * one + 0.25 * two, atol=1e-6)

    jax.tree.map(check, last.target, first.params, second.params, last.params)
    assert distance(last.target, last.params) > 1e-4


def test_drawn_by_priority_the_gradient_is_in_the_mean_that_of_even_draws():
    """With β = 1: over all windows, one at a time, by their probabilities."""
    ring = ReplayBuffer(1, 1, capacity=2 * 3, length=2, burn_in=0, priority_exponent=1.0, importance_exponent=1.0)
    batch = path(importance=None)
    kept = ring.empty(jax.eval_shape(lambda: batch))
    for scale in (1.0, 10.0, 100.0):
        kept = ring.add(kept, batch.replace(slots=batch.slots.replace(reward=scale * batch.slots.reward)))
    kept = kept.replace(priority=jnp.asarray([[1.0, 2.0, 5.0]]))
    mesh = sharding.make_mesh(1, 1)

    def gradient(block, importance):
        batch = ring.gather(kept, Windows(jnp.zeros(1, int), block[None], importance[None]))
        found, _, _ = sharding.weighted_mean_gradient(tabular().loss, ONLINE, SLOW, batch)
        return found["q"]

    mapped = jax.jit(sharding.map_over(mesh, gradient, (sharding.P("seed"), sharding.P("seed")), sharding.P("seed")))
    chosen = jax.vmap(lambda key: ring.sample(key, kept, jnp.int32(0)))(jax.random.split(jax.random.key(0), 50))
    importance = {int(b): float(i) for b, i in zip(chosen.block.ravel(), chosen.importance.ravel(), strict=True)}
    chances = np.asarray([1, 2, 5]) / 8
    by_priority = sum(chances[b] * mapped(jnp.asarray([b]), jnp.asarray([importance[b]]))[0] for b in range(3))
    evenly = sum(mapped(jnp.asarray([b]), jnp.ones(1))[0] for b in range(3)) / 3
    np.testing.assert_allclose(by_priority, evenly, rtol=1e-5)


@pytest.mark.parametrize(
    ("carry", "before", "remembers"), [("stored", 3, True), ("recomputed", 11, True), ("zero", 3, False)]
)
def test_what_a_window_begins_with(carry, before, remembers):
    """The ring keeps the actors' memory, or nothing; a recomputed one is brought up through a rollout more."""
    algorithm = dqn(rollout_length=8, burn_in=3, carry_init=carry, priority_exponent=0.6, capacity=16 * 8 * 4)
    assert (algorithm.buffer.prefix_length, algorithm.buffer.stores_carry, algorithm.history_length) == (
        before,
        remembers,
        3,
    )
    state, metrics = run(updater(GAME, algorithm, updates=6), 6)
    for leaf in jax.tree.leaves(state.replay.carry):
        assert leaf.shape[2] == (4 if remembers else 1)
        assert np.any(leaf) == remembers
    assert np.isfinite(metrics.means["loss"][0, -1])
    # Priorities are errors by now, of most windows.
    priority = np.asarray(state.replay.priority)
    assert priority.shape == (1, 16, 4) and (priority > 0).all() and len(np.unique(priority)) > 16


def test_without_a_memory_nothing_is_kept_for_one():
    assert dqn("none").effective_carry_init == "zero" and not dqn("none").buffer.recompute_blocks


def test_frozen_targets_are_those_that_the_acting_network_gave():
    options = {"rollout_length": 8, "burn_in": 3, "carry_init": "stored", "returns": "lambda", "td_lambda": 0.0}
    options |= {"kind": PopgymDQN, "frozen_targets": True}
    algorithm, environment = dqn(**options), Environment(GAME)
    params, trajectories = rolled_out(algorithm, environment)
    batch = drawn(environment, trajectories[-1])
    prepared = jax.jit(algorithm.prepare)(params, batch)
    assert algorithm.init_target(params) is None and prepared["target"].shape == (8, 4)
    # By hand: r + γ max Q of the next slot, of the network that acts.
    values = np.asarray(algorithm.values(params, algorithm.apply_burn_in(params, batch)).max(axis=-1))
    reward, terminal = np.asarray(batch.slots.reward)[4:], np.asarray(batch.slots.terminal)[4:]
    expected = reward + 0.99 * (1 - terminal) * values[1:]
    np.testing.assert_allclose(prepared["target"], expected, rtol=1e-5, atol=1e-6)
    # Other parameters change the values, not the targets.
    moved = jax.tree.map(lambda x: x + 0.1, params)
    batch = batch.replace(prepared=prepared, importance=jnp.ones(4))
    _, _, metrics = jax.jit(lambda p, b: algorithm.loss(p, None, b))(moved, batch)
    np.testing.assert_array_equal(metrics["target"], prepared["target"])
    # And in a run they lie in the ring.
    trainer = updater(GAME, dqn(**options), updates=3)
    state, metrics = run(trainer, 3)
    assert state.replay.prepared["target"].shape == (1, 16, 2048 // (16 * 8), 8)
    assert state.learner.target is None and np.isfinite(metrics.means["loss"][0, -1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"returns": "retrace"}, "algorithm.returns='retrace'; expected one of: n_step, lambda"),
        ({"n_steps": 0}, "algorithm.n_steps=0; expected a number >= 1"),
        ({"target_rate": 1.5}, "algorithm.target_rate=1.5; expected a number in [0, 1]"),
        ({"frozen_targets": True, "kind": PopgymDQN}, "expected returns=lambda, rescale_values=false"),
        ({"td_lambda": 2.0}, "algorithm.td_lambda=2.0; expected a number in [0, 1]"),
    ],
)
def test_invalid_options_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dqn(**options)
