"""The update: the same on any mesh, the same for a seed in any company, frames drawn again bit-equal."""

import dataclasses
import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from builders import distance, drawn, pqn, rolled_out, run, updater
from probes import Probe

from podarcade.anakin import sharding
from podarcade.anakin.sharding import check_divisible
from podarcade.envs.environment import Environment

GAME = Probe(length=4, pays="match", blind=True)
SGD = {"optimiser": "sgd", "learning_rate": 0.1, "learning_rate_end": 0.1, "max_gradient_norm": 1e9}


@functools.cache
def three_sgd_updates(mesh, seeds=(0,), **options):
    """Parameters and metrics after three updates by plain SGD, which hides no factor in the gradient."""
    trainer = updater(GAME, pqn(**SGD, num_minibatches=2), mesh=mesh, num_envs=16, updates=3)
    state, metrics = run(trainer, 3, seeds)
    return jax.device_get((state, metrics))


@pytest.mark.parametrize("data", [2, 8])
def test_more_devices_change_nothing(data):
    (alone, alone_metrics), (state, metrics) = three_sgd_updates((1, 1)), three_sgd_updates((1, data))
    assert distance(alone.learner.params, state.learner.params) < 1e-5
    np.testing.assert_allclose(metrics.means["gradient_norm"], alone_metrics.means["gradient_norm"], rtol=1e-4)
    np.testing.assert_allclose(metrics.means["loss"], alone_metrics.means["loss"], rtol=1e-4)
    # Trajectories are not merely close: environments and exploration do not know of the mesh.
    for one, other in zip(*map(jax.tree.leaves, (alone.actors.env, state.actors.env)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert jax.tree.all(jax.tree.map(np.array_equal, alone_metrics.counts, metrics.counts))


def test_the_parameters_did_move():
    trainer = updater(GAME, pqn(**SGD, num_minibatches=2), num_envs=16, updates=3)
    start = trainer.init(jnp.asarray([0]))
    assert distance(start.learner.params, three_sgd_updates((1, 1))[0].learner.params) > 1e-3


def test_seeds_spread_over_devices_are_the_same_seeds():
    """Two by two side by side on a device, and each over four of them."""
    together, _ = three_sgd_updates((1, 1), (0, 1, 2, 3))
    spread, _ = three_sgd_updates((2, 4), (0, 1, 2, 3))
    assert distance(together.learner.params, spread.learner.params) < 1e-5


def test_a_seed_does_not_depend_on_its_company():
    """Equal to rounding: alone the seed runs plain programs, in company batched ones."""
    company, _ = three_sgd_updates((1, 1), (0, 1, 2, 3))
    alone, _ = three_sgd_updates((1, 1), (2,))
    third = jax.tree.map(lambda x: x[2:3], company)
    assert distance(alone.learner.params, third.learner.params) < 1e-5
    np.testing.assert_array_equal(alone.actors.env.key, third.actors.env.key)
    assert distance(alone.learner.params, jax.tree.map(lambda x: x[1:2], company).learner.params) > 1e-3


def test_one_call_of_four_updates_is_four_calls_of_one():
    trainer = updater(GAME, pqn("none"), updates=4)
    state, _ = run(trainer, 4)
    other = trainer.init(jnp.asarray([0]))
    once = trainer.compile(other, 1)
    for _ in range(4):
        other, _ = once(other)
    assert distance(state.learner.params, other.learner.params) < 1e-6
    assert int(other.learner.updates[0]) == 4


def test_a_new_state_has_the_types_of_a_restored_one():
    """A weak type, which a file does not keep, would make another program of the first update than of a resumed one."""
    begun = updater(GAME, pqn(), updates=2).init(jnp.asarray([0]))
    assert not [path for path, leaf in jax.tree_util.tree_leaves_with_path(begun) if leaf.weak_type]


def test_no_two_environments_share_a_key():
    trainer = updater(GAME, pqn(), num_envs=16, updates=1)
    state = jax.device_get(trainer.init(jnp.asarray([0, 1])))
    keys = np.concatenate([state.actors.env.key.reshape(-1, 2), state.actors.key.reshape(-1, 2), state.learner.key])
    assert len(np.unique(keys, axis=0)) == len(keys) == 2 * 16 * 2 + 2


def test_counts_are_of_real_steps():
    """Episodes of four steps and one restart: of 20 slots 16 are steps, and 4 episodes end."""
    trainer = updater(GAME, pqn(rollout_length=20), num_envs=16, updates=1)
    _, metrics = run(trainer, 1)
    assert int(metrics.counts.steps.sum()) == 16 * 16
    assert int(metrics.counts.episodes.sum()) == 16 * 4
    assert int(metrics.counts.lengths.sum()) == 16 * 16
    assert 0 < float(metrics.counts.returns.sum()) < 16 * 4


@pytest.mark.parametrize("burn_in", [0, 3])
def test_the_history_is_the_last_slots_before_now(burn_in):
    algorithm, environment = pqn(burn_in=burn_in, carry_init="stored"), Environment(GAME)
    # Of three, because the first history is made up.
    params, (_, first, second) = rolled_out(algorithm, environment, batch=2, exploration=0.5, rollouts=3)
    assert first.slots.reward.shape == second.slots.reward.shape == (16 + burn_in + 1, 2)
    for name in ("reward", "start", "terminal", "previous_action"):
        np.testing.assert_array_equal(getattr(first.slots, name)[16:-1], getattr(second.slots, name)[:burn_in])
        np.testing.assert_array_equal(getattr(first.slots, name)[-1], getattr(second.slots, name)[burn_in])
    np.testing.assert_array_equal(first.slots.latent.game.time[16:], second.slots.latent.game.time[: burn_in + 1])
    # The carry is the memory before the first of those slots, made by the actors.
    carry, _ = jax.jit(algorithm.apply)(params, drawn(environment, first).time_slice(0, 16))
    for one, other in zip(*map(jax.tree.leaves, (carry, second.carry)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_memory_is_recomputed_from_the_rollout_before_by_the_parameters_of_now():
    algorithm, environment = pqn(burn_in=3), Environment(GAME)
    _, (_, trajectory) = rolled_out(algorithm, environment, batch=8)
    assert len(trajectory.slots.reward) == 16 + 3 + 16 + 1
    trainer = updater(GAME, algorithm, num_envs=8)
    state = jax.tree.map(lambda x: x[0], trainer.init(jnp.asarray([5])))
    actors, ready = jax.jit(trainer._prepare_sequences)(state.learner.params, state.actors, trajectory)
    for now, before in zip(
        *map(jax.tree.leaves, (ready.slots, trajectory.time_slice(16, None).slots)),
        strict=True,
    ):
        np.testing.assert_array_equal(now, before)
    carry, _ = jax.jit(algorithm.apply)(state.learner.params, drawn(environment, trajectory.time_slice(0, 16)))
    assert distance(carry, ready.carry) < 1e-5 < distance(trajectory.carry, ready.carry)
    # The next update's history begins where this memory is.
    assert distance(ready.carry, actors.history.carry) == 0.0


def test_while_parameters_rest_a_recomputed_memory_is_the_stored_one():
    """Of the actors, one rollout earlier: that is how much longer its history is."""
    resting = {"optimiser": "sgd", "learning_rate": 0.0, "learning_rate_end": 0.0}
    carries = {}
    for carry, updates in (("recomputed", 3), ("stored", 2)):
        trainer = updater(GAME, pqn(**resting, carry_init=carry), updates=3)
        carries[carry] = run(trainer, updates)[0].actors.history.carry
    assert distance(carries["recomputed"], carries["stored"]) < 1e-5
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(carries["stored"])) > 0.1


def test_a_zero_carry_is_a_fresh_memory_and_trains():
    trainer = updater(GAME, pqn(carry_init="zero"), mesh=(1, 2), updates=2)
    _, metrics = run(trainer, 2)
    assert np.isfinite(metrics.means["loss"]).all()
    _, (_, trajectory) = rolled_out(trainer.algorithm, Environment(GAME), batch=16)
    mapped = sharding.map_over(
        trainer.mesh,
        lambda t: trainer._prepare_sequences(None, None, t)[1].carry,
        (sharding.P("seed"),),
        sharding.P("seed", "data"),
    )
    fresh = mapped(jax.tree.map(lambda x: x[None], trajectory))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(fresh))


def test_nothing_is_kept_for_an_agent_that_remembers_nothing():
    assert pqn("none").effective_carry_init == "zero" and pqn("none").history_length == pqn("none").burn_in == 4
    assert pqn("lru").effective_carry_init == "recomputed" and pqn("lru").history_length == 4 + 16


def test_the_previous_action_is_none_at_a_start():
    _, (trajectory,) = rolled_out(pqn(carry_init="stored"), Environment(GAME), rollouts=1)
    previous, start = np.asarray(trajectory.slots.previous_action[4:]), np.asarray(trajectory.slots.start[4:])
    assert start[1:].any()
    np.testing.assert_array_equal(previous[start], -1)
    expected = np.asarray(trajectory.slots.action[4:-1])
    np.testing.assert_array_equal(previous[1:][~start[1:]], expected[~start[1:]])


@pytest.mark.parametrize("data", [1, 4])
@pytest.mark.parametrize("seeds", [1, 2])
def test_sums_over_devices_are_those_of_numpy_in_one_collective_a_dtype(data, seeds):
    mesh, noise = sharding.make_mesh(1, data), np.random.default_rng(0)
    draw = {
        "f": lambda shape: noise.standard_normal(shape, np.float32),
        "i": lambda shape: noise.integers(-9, 9, shape),
    }
    shapes = {"scalar f": (), "matrix f": (2, 3), "scalar i": (), "column f": (5, 1), "vector i": (4,), "none f": (0,)}
    tree = {name: draw[name[-1]]((seeds, data, *shape)) for name, shape in shapes.items()}
    tree = {name: x.astype(np.int32) if name[-1] == "i" else x for name, x in tree.items()}

    def reduce(tree):
        tree = jax.tree.map(lambda x: x[0], tree)
        return sharding.total(tree), sharding.highest(tree)

    spec = sharding.P("seed")
    program = jax.jit(sharding.map_over(mesh, reduce, (sharding.P("seed", "data"),), (spec, spec)))
    for found, expected in zip(program(tree), (np.sum, np.max), strict=True):
        for name, x in tree.items():
            assert found[name].dtype == x.dtype and found[name].shape == (seeds, *shapes[name])
            np.testing.assert_allclose(found[name], expected(x, axis=1), rtol=1e-6, atol=1e-6)
    text = program.lower(tree).as_text()
    # On one device nothing is sent, nor copied into one vector: every array is left as it is.
    assert text.count("stablehlo.all_reduce") == (4 if data > 1 else 2 * len(tree))
    assert ("stablehlo.concatenate" in text) == (data > 1)


def test_the_mesh_takes_seeds_first():
    assert sharding.choose_shape(8, 4, 8) == (4, 2)
    assert sharding.choose_shape(8, 1, 4) == (1, 4)
    assert sharding.choose_shape(1, 5, 4) == (1, 1)
    assert sharding.choose_shape(8, 3, 2) == (3, 2)


def test_numbers_that_do_not_divide_are_errors_that_help():
    with pytest.raises(
        ValueError,
        match=r"num_envs=30 does not divide into algorithm\.num_minibatches=4 on 2 data devices; use 24 or 32",
    ):
        check_divisible(30, 4, 2)
    with pytest.raises(ValueError, match="use 8 or 16"):
        dataclasses.replace(updater(GAME, pqn(num_minibatches=8)), num_envs=12)
    for none in (0, -8):
        with pytest.raises(ValueError, match=f"num_envs={none} .*; use 8$"):
            check_divisible(none, 4, 2)


FACTORISATIONS = {"cholesky", "eig", "eigh", "geqrf", "householder_product", "lu", "qr", "schur", "svd"}


def equations(jaxpr):
    """All equations of a program, also of those inside others."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize("memory", ["gru", "lstm", "agalite"])
def test_the_parameters_of_several_seeds_are_factorised_one_after_the_other(memory):
    """Two batches at once deadlock a CPU of two cores (jaxlib 0.10): each holds a thread, and waits for another."""
    trainer = updater(GAME, pqn(memory), num_envs=16)
    program = jax.make_jaxpr(jax.vmap(trainer._init_one))(jnp.arange(3))
    found = [one.invars[0].aval for one in equations(program.jaxpr) if one.primitive.name in FACTORISATIONS]
    assert found and all(matrix.ndim == 2 for matrix in found), found
