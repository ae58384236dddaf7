"""Every algorithm: solves probe games, each of which fails for one reason only, and is the same on any mesh."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import distance, greedy, make, pqn, run, updater
from probes import Probe

from podarcade import plugins
from podarcade.algorithms import Algorithm
from podarcade.algorithms.contract import check_algorithm
from podarcade.algorithms.pqn import PQN
from podarcade.anakin import rollout
from podarcade.types import Batch

NAMES = plugins.names("algorithms")
MAKE = {name: functools.partial(make, plugins.find("algorithms", name)) for name in NAMES}
SGD = {"optimiser": "sgd", "learning_rate": 0.1, "learning_rate_end": 0.1, "max_gradient_norm": 1e9}


def value_at_start(updater, state):
    """Mean of the value, or of the best action's, at the first step of fresh episodes."""
    algorithm, environment = updater.algorithm, updater.environment

    @jax.jit
    def value(params, keys):
        actors = rollout.init_actors(algorithm, environment, keys)
        observation = rollout.draw(environment, actors)
        slots = rollout.current_slot(algorithm, actors).replace(latent=None, observation=observation)
        _, found = algorithm.apply(params, Batch(slots=slots.map(lambda x: x[None]), carry=actors.carry))
        return (found[1] if isinstance(found, tuple) else found.max(axis=-1)).mean()

    keys = jax.random.key_data(jax.random.split(jax.random.key(3), 16))
    return float(value(jax.tree.map(lambda x: x[0], state.learner.params), keys))


@pytest.mark.parametrize(
    ("what", "game", "value", "name"),
    [
        ("advantage", Probe(length=1, pays="match"), 1.0, "pqn"),
        ("discount", Probe(length=3), 0.9**2, "pqn"),
        *(("memory", Probe(length=5, pays="match", blind=True), 0.9**4, name) for name in NAMES),
    ],
)
def test_probe_games_are_solved(what, game, value, name):
    options = {"discount": 0.9, "learning_rate": 3e-3}
    trainer = updater(game, MAKE[name]("lru" if what == "memory" else "none", **options), updates=150)
    state, _ = run(trainer, 150)
    assert value_at_start(trainer, state) == pytest.approx(value, abs=0.1)
    np.testing.assert_allclose(greedy(trainer, state)["return_full"], 1.0, atol=0.01)


@pytest.mark.parametrize(("name", "limit_is_terminal"), [*((name, False) for name in NAMES), ("pqn", True)])
def test_truncation_is_bootstrapped_and_termination_is_not(name, limit_is_terminal):
    """Two steps that pay 1 each, then the limit: 1 + γ where it ends, 1 / (1 - γ) where it only cuts."""
    algorithm = MAKE[name](memory="none", discount=0.5, learning_rate=3e-3)
    game = Probe(length=2, endless=True, always=True)
    trainer = updater(game, algorithm, updates=200, limit_is_terminal=limit_is_terminal)
    state, _ = run(trainer, 200)
    assert value_at_start(trainer, state) == pytest.approx(1.5 if limit_is_terminal else 2.0, abs=0.1)


def test_without_memory_the_game_of_memory_is_not_solved():
    """A cue, four blind steps, a choice: the control of the probe above; the slow checks' short sibling."""
    trainer = updater(Probe(length=5, pays="match", blind=True), pqn("none", learning_rate=3e-3), updates=150)
    state, _ = run(trainer, 150, seeds=(0, 1, 2))
    assert np.max(greedy(trainer, state, 128)["return_full"]) < 0.75


@functools.cache
def three_sgd_updates(name, data):
    """State and metrics after three updates by plain SGD, which hides no factor in the gradient."""
    options = {"priority_exponent": 0.9} if name.endswith("dqn") else {}
    algorithm = MAKE[name](**SGD, **options, num_minibatches=2)
    trainer = updater(Probe(length=4, pays="match", blind=True), algorithm, mesh=(1, data), num_envs=16, updates=3)
    return jax.device_get(run(trainer, 3))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pqn"])
@pytest.mark.parametrize("data", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_more_devices_change_nothing(name, data):
    """As PQN in the tests of the update."""
    (alone, metrics_alone), (state, metrics) = three_sgd_updates(name, 1), three_sgd_updates(name, data)
    assert distance(alone.learner.params, state.learner.params) < 1e-5
    assert metrics.means["gradient_norm"][0, -1] > 1e-3
    assert not name.endswith("ppo") or metrics.means["kl"][0, -1] > 1e-6, (
        "after the first gradient step the policy is another"
    )
    for key, value in metrics_alone.means.items():
        np.testing.assert_allclose(metrics.means[key], value, rtol=1e-3, atol=1e-5, err_msg=key)
    # Trajectories are not merely close: environments, exploration and replay do not know of the mesh.
    for one, other in zip(*(jax.tree.leaves(found.actors.env) for found in (alone, state)), strict=True):
        np.testing.assert_array_equal(one, other)
    if state.replay is not None:
        for one, other in zip(*(jax.tree.leaves(found.replay.slots) for found in (alone, state)), strict=True):
            np.testing.assert_array_equal(one, other)
        assert distance(alone.replay.priority, state.replay.priority) < 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimiser": "lion"}, "algorithm.optimiser='lion'; expected one of: radam, adam, sgd"),
        ({"burn_in": 17}, "algorithm.burn_in=17; expected 0 to algorithm.rollout_length=16"),
        ({"rollout_length": 0}, "algorithm.rollout_length=0; expected a number >= 1"),
        ({"carry_init": "old"}, "algorithm.carry_init='old'; expected one of: recomputed, stored, zero"),
    ],
)
def test_invalid_options_are_errors(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MAKE[name](**options)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range(name):
    """NaN, infinities and -1 are refused for every numeric field, zero for every count."""
    for field in dataclasses.fields(plugins.find("algorithms", name)):
        if type(field.default) not in (int, float):
            continue
        for value in (math.nan, math.inf, -math.inf, -1):
            with pytest.raises(ValueError, match=rf"algorithm\.{field.name}={value}; expected"):
                MAKE[name](**{field.name: value})


@pytest.mark.parametrize("memory", plugins.names("memory"))
def test_every_memory_fits_every_algorithm(memory):
    """Shapes of the state, an action and a gradient; PQN's network is DQN's."""
    for name in ("dqn", "ppo"):
        algorithm = MAKE[name](memory, rollout_length=4, burn_in=2, num_epochs=1, num_minibatches=1)
        trainer = updater(Probe(length=3), algorithm, num_envs=4)
        found = jax.eval_shape(functools.partial(acted_and_learnt, trainer), jnp.int32(0))
        before, after, action, params, gradient = jax.tree.map(lambda x: (x.shape, x.dtype), found)
        assert before == after and params == gradient and action == ((4,), jnp.int32)


def acted_and_learnt(trainer, seed):
    """The memory before and after a step, its action, the parameters, and a gradient."""
    algorithm, state = trainer.algorithm, trainer._init_one(seed)
    params, actors = state.learner.params, state.actors
    window = trainer._draw(trainer._abstract_window(params, actors)).replace(importance=jnp.ones(4))

    def loss(params):
        losses, weights, _ = algorithm.loss(params, state.learner.target, window)
        return jnp.sum(losses * weights)

    _, timestep = jax.vmap(trainer.environment.reset)(actors.key)
    carry, action, _ = algorithm.act(params, actors.carry, timestep, actors.previous_action, actors.key, jnp.float32(1))
    return actors.carry, carry, action, params, jax.grad(loss)(params)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"loss": Algorithm.loss}, "Half does not define loss; expected network, act, exploration, loss"),
        ({"GROUP": ""}, "Half.GROUP is empty; expected a name"),
    ],
)
def test_an_unfinished_algorithm_is_one_line(members, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_algorithm(type("Half", (PQN,), members))
