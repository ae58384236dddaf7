"""The guard: what is not finite is skipped, counted and described, and training goes on as if it had not been."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import dqn, pqn, run, updater
from probes import Probe

from podarcade.anakin import finite

SICK = 5.0  # the cue of an environment that pays nonsense
UPDATES = 4


@dataclasses.dataclass(frozen=True)
class Sick(Probe):
    """One endless episode; where the cue is SICK, step 20 pays what is no number: in the second rollout of 16."""

    value: float = float("nan")

    def step(self, state, action, key):
        state, reward, terminal = super().step(state, action, key)
        return state, jnp.where((state.cue == SICK) & (state.time == 21), self.value, reward), terminal


GAME = Sick(length=1000, pays="match", always=True)


@functools.cache
def trained(sick=(), mesh=(1, 1), value=float("nan"), seeds=1, **options):
    """States before each update and after the last, and the metrics of all; seed 0's environments `sick` are."""
    trainer = updater(dataclasses.replace(GAME, value=value), pqn(**options), mesh=mesh, updates=UPDATES)
    state = jax.device_get(trainer.init(jnp.arange(seeds)))
    cue = state.actors.env.latent.game.cue.copy()
    cue[0, list(sick)] = SICK
    game = state.actors.env.latent.game.replace(cue=cue)
    latent = state.actors.env.latent.replace(game=game)
    state = state.replace(actors=state.actors.replace(env=state.actors.env.replace(latent=latent)))
    state = jax.device_put(state, jax.tree.map(lambda x: x.sharding, trainer.init(jnp.arange(seeds))))
    update = trainer.compile(state, 1)
    states, metrics = [], []
    for _ in range(UPDATES):
        states.append(jax.device_get(state))
        state, told = update(state)
        metrics.append(jax.device_get(told))
    return [*states, jax.device_get(state)], jax.tree.map(lambda *x: np.concatenate(x, axis=1), *metrics)


def parameters(state):
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves((state.learner.params, state.learner.opt_state))])


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_poisoned_update_changes_no_parameter_and_the_next_one_does(value):
    """All minibatches of the second update hold a sick environment."""
    states, metrics = trained(sick=tuple(range(16)), value=value)
    assert metrics.non_finite.skipped.tolist() == [[0, 4, 0, 0]]
    assert metrics.non_finite.step.tolist() == [[-1, 0, -1, -1]]
    before, after = (parameters(state) for state in states[1:3])
    np.testing.assert_array_equal(before, after)
    assert all(np.isfinite(parameters(state)).all() for state in states)
    for one, other in ((0, 1), (2, 3), (3, 4)):
        assert not np.array_equal(parameters(states[one]), parameters(states[other]))
    assert states[4].learner.updates.tolist() == [4], "what is skipped is a gradient step, not the update"


def test_an_update_that_makes_parameters_overflow_is_undone_too():
    """The loss and the gradient of its first step are finite."""
    huge = {"optimiser": "sgd", "learning_rate": 3e38, "learning_rate_end": 3e38, "max_gradient_norm": 1e9}
    states, metrics = trained(**huge)
    assert metrics.non_finite.skipped.tolist() == [[4, 4, 4, 4]]
    assert metrics.non_finite.step.tolist() == [[1, 1, 1, 1]] and np.isnan(metrics.non_finite.gradient_norm).all()
    for state in states[1:]:
        np.testing.assert_array_equal(parameters(state), parameters(states[0]))


def test_an_update_that_is_undone_leaves_no_priorities_behind():
    """They would be of parameters that are gone, and too high for anything else to be drawn."""
    huge = {"optimiser": "sgd", "learning_rate": 3e38, "learning_rate_end": 3e38, "max_gradient_norm": 1e9}
    trainer = updater(Probe(length=4, pays="match"), dqn(**huge, carry_init="stored", priority_exponent=0.6), updates=4)
    state, metrics = run(trainer, 4)
    # The first update has no window yet, and is no failure.
    assert metrics.non_finite.skipped.tolist() == [[0, 4, 4, 4]]
    np.testing.assert_array_equal(state.replay.priority, 1.0)


def test_only_the_minibatches_with_the_sick_environment_are_skipped():
    states, metrics = trained(sick=(3,))
    assert metrics.non_finite.skipped.tolist() == [[0, 2, 0, 0]], "one of two minibatches, in two epochs"
    assert not np.array_equal(parameters(states[1]), parameters(states[2]))
    for name, values in metrics.means.items():
        assert np.isfinite(values).all(), f"{name} is the mean of what was finite"


def test_where_nothing_is_sick_means_are_of_all_steps():
    _, metrics = trained()
    assert not metrics.non_finite.skipped.any() and np.isfinite(metrics.means["loss"]).all()
    assert finite.describe(metrics.non_finite, 0) is None
    values = jnp.asarray([1.0, jnp.nan, 4.0])
    assert float(finite.mean(values, jnp.asarray([True, False, True]))) == 2.5
    assert np.isnan(finite.mean(values, jnp.zeros(3, bool)))


def test_another_seed_does_not_notice():
    (*_, alone), _ = trained(seeds=2)
    (*_, beside), metrics = trained(sick=tuple(range(16)), seeds=2)
    assert metrics.non_finite.skipped.tolist() == [[0, 4, 0, 0], [0, 0, 0, 0]]
    for one, other in zip(*(jax.tree.leaves(state.learner) for state in (alone, beside)), strict=True):
        np.testing.assert_array_equal(one[1], other[1])


def test_the_batch_is_described():
    _, metrics = trained(sick=(3,))
    found = finite.describe(metrics.non_finite, updates_before=10)
    assert (found["updates"], found["seed"], found["skipped"]) == (12, 0, [2])
    assert found["gradient_step"] in (0, 1)
    assert found["loss"] == found["gradient_norm"] == "nan"
    assert found["batch"]["reward"] == {"nonfinite": 1, "lowest": 0.0, "highest": 1.0}
    assert found["batch"]["latent.game.cue"] == {"nonfinite": 0, "lowest": -1.0, "highest": SICK}
    assert all(value["nonfinite"] == 0 for name, value in found["batch"].items() if name != "reward")
    assert any(name.startswith("carry") for name in found["batch"])


@pytest.mark.parametrize("sick", [(3,), (3, 9, 15)])
def test_the_report_does_not_depend_on_the_mesh(sick):
    one, four = (finite.describe(trained(sick, mesh=(1, devices))[1].non_finite, 0) for devices in (1, 4))
    carries = [name for name in one["batch"] if name.startswith("carry")]
    for name in carries:
        for key, value in one["batch"].pop(name).items():
            assert four["batch"][name][key] == pytest.approx(value, rel=1e-4)
        del four["batch"][name]
    assert carries and one == four
