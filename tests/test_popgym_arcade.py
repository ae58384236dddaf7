"""The published experiments: schedules, sizes, and every quirk of the released trainers against its definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import drawn, pqn, rolled_out, run, updater
from probes import Probe

from podarcade import launch, plugins, popgym_arcade
from podarcade.algorithms import returns
from podarcade.algorithms.popgym_pqn import PopgymPQN
from podarcade.algorithms.popgym_quirks import misplaced_values
from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.envs.environment import Environment

ALGORITHMS = ("popgym_pqn", "popgym_ppo", "popgym_dqn")
SWITCHES = [
    (algorithm, memory, switch)
    for algorithm in ALGORITHMS
    for memory, kind in (("lru", "recurrent"), ("none", "feed-forward"))
    for switch in (*plugins.find("algorithms", algorithm).QUIRKS[kind], "limit_is_terminal")
]
GAME = Probe(length=4, pays="match")


def paper(arguments="", *overrides, algorithm="pqn"):
    command = ["launch", f"--config=configs/popgym_arcade/{algorithm}.py:{arguments}", *overrides]
    return command_line.load(launch.make_flags(), command)


def rate(updater, updates):
    """The learning rate of the first gradient step after so many updates, as plain SGD takes it."""
    algorithm = dataclasses.replace(updater.algorithm, optimiser="sgd", max_gradient_norm=1e9)
    updater = dataclasses.replace(updater, algorithm=algorithm)
    params = {algorithm.GROUP: jnp.zeros(2)}
    state = updater.optimiser.init(params)
    steps = updates * algorithm.num_epochs * algorithm.num_minibatches
    state = jax.tree.map(lambda x: jnp.full_like(x, steps) if jnp.issubdtype(x.dtype, jnp.integer) else x, state)
    change, _ = updater.optimiser.update({algorithm.GROUP: jnp.ones(2)}, state, params)
    return -float(change[algorithm.GROUP][0])


@pytest.mark.parametrize(
    ("arguments", "decay", "updates", "side", "layers"),
    [
        ("game=minesweeper", 976, 9765, 128, 2),
        ("game=cartpole", 488, 4882, 128, 2),
        ("game=autoencode", 976, 4882, 128, 2),
        ("version=v1,game=navigator", 976, 4882, 256, 1),
        ("version=v1,budget=long", 9765, 48828, 256, 1),
    ],
)
def test_schedules_are_the_published_ones(arguments, decay, updates, side, layers):
    """At k = 0, U_dec and K_eps = 0.25 U_dec M, for every budget; with the switch off K_eps = 0.25 U_dec."""
    config = paper(arguments)
    trainer = build(config).updater
    assert trainer.schedule_length == decay
    assert updates <= trainer.total_updates <= updates + config.updates_per_call
    assert (config.environment.obs_size, config.network.layers) == (side, layers)
    algorithm = trainer.algorithm

    def epsilon(algorithm, update):
        return float(algorithm.exploration(update / trainer.schedule_length))

    assert [epsilon(algorithm, k) for k in (0, decay, 4 * decay, updates)] == pytest.approx([1.0, 0.7625, 0.05, 0.05])
    meant = dataclasses.replace(algorithm, epsilon_horizon=False)
    assert [epsilon(meant, k) for k in (0, decay / 8, decay / 4)] == pytest.approx([1.0, 0.525, 0.05])
    assert [rate(trainer, k) for k in (0, decay / 2, decay, updates)] == pytest.approx([5e-5, 2.525e-5, 5e-7, 5e-7])


def test_published_experiments_have_their_quirks_and_the_default_has_none():
    default = command_line.load(launch.make_flags(), ["launch", "--config=configs/pqn_lru.py:preset=smoke"])
    assert popgym_arcade.switches(default) == ()
    recurrent, feed_forward = paper(), paper("memory=none")
    common = {"algorithm.epsilon_horizon", "algorithm.held_return", "environment.limit_is_terminal"}
    memory = {"algorithm.window_loss", "algorithm.stale_carry", "algorithm.action_leak"}
    # The recurrent trainer's returns are right; the other has no memory, window or action.
    assert set(popgym_arcade.switches(recurrent)) == common | memory
    assert set(popgym_arcade.switches(feed_forward)) == common | {"algorithm.off_by_one", "algorithm.feed_forward"}
    trainer = build(recurrent).updater
    assert trainer.environment.limit_is_terminal and trainer.environment.game.rules == "published"


def test_memories_and_encoder_have_the_released_sizes():
    lru, fast = paper().memory, paper("memory=linear_transformer").memory
    assert (lru.minimum_radius, lru.maximum_radius) == (0.0, 1.0)
    # The root of the width that there is in the end.
    assert (fast.heads, fast.head_dim) == (1, 23)
    assert paper("memory=ttt_linear,preset=cpu").memory.head_dim == 11
    assert paper().encoder.initialiser == "uniform"


@pytest.mark.parametrize(("algorithm", "memory", "switch"), SWITCHES)
def test_each_switch_can_be_turned_off_alone(algorithm, memory, switch):
    section = "environment" if switch == "limit_is_terminal" else "algorithm"
    off = f"--config.{section}.{switch}=false"
    name = algorithm.removeprefix("popgym_")
    before, config = (paper(f"memory={memory}", *more, algorithm=name) for more in ([], [off]))
    turned_off = set(popgym_arcade.switches(before)) - set(popgym_arcade.switches(config))
    assert turned_off == {f"{section}.{switch}"}
    trainer = build(config).updater
    assert not getattr(trainer.environment if section == "environment" else trainer.algorithm, switch)
    if switch == "stale_carry":
        found = build(before).updater.algorithm.effective_carry_init, trainer.algorithm.effective_carry_init
        assert found == ("stored", "recomputed")
    assert trainer.environment.limit_is_terminal == (switch != "limit_is_terminal")


def test_the_other_papers_are_what_was_released():
    ppo, alone = (build(paper(arguments, algorithm="ppo")).updater for arguments in ("", "memory=none"))
    assert not ppo.algorithm.shared and ppo.schedule_length == ppo.total_updates
    assert [rate(ppo, k) for k in (0, ppo.total_updates)] == pytest.approx([1e-4, 1e-10], rel=1e-5, abs=1e-11)
    assert (ppo.algorithm.effective_carry_init, ppo.algorithm.history_length) == ("stored", 0)
    assert alone.algorithm.feed_forward and not alone.algorithm.has_memory
    dqn, alone = (build(paper(arguments, algorithm="dqn")).updater for arguments in ("", "memory=none"))
    assert (dqn.algorithm.td_lambda, dqn.algorithm.buffer.capacity, dqn.algorithm.buffer.burn_in) == (0.0, 100_000, 4)
    assert dqn.schedule_length == 976 and float(dqn.algorithm.exploration(1.0)) == pytest.approx(0.7625)
    assert alone.algorithm.off_by_one and not dqn.algorithm.off_by_one
    fresh = [
        build(paper("", f"--config.algorithm.stale_carry={on}", algorithm="dqn")).updater for on in ("true", "false")
    ]
    assert [trainer.algorithm.buffer.recompute_blocks for trainer in fresh] == [0, 1]
    assert [
        build(paper("", "--config.algorithm.stale_carry=false", algorithm="ppo")).updater.algorithm.history_length
    ] == [128]


@pytest.mark.parametrize(
    ("algorithm", "quirk"), [("ppo", "epsilon_horizon"), ("dqn", "window_loss"), ("pqn", "no_action")]
)
def test_a_quirk_that_an_algorithm_does_not_have_is_an_error(algorithm, quirk):
    with pytest.raises(ValueError, match=f"config.algorithm.{quirk}"):
        paper("", f"--config.algorithm.{quirk}=true", algorithm=algorithm)


def seen_by(**quirks):
    """A batch of the second rollout, as an algorithm with these quirks sees it."""
    algorithm = pqn(rollout_length=8, burn_in=3, carry_init="stored", kind=PopgymPQN, **quirks)
    environment = Environment(GAME)
    params, trajectories = rolled_out(algorithm, environment)
    return algorithm, params, trajectories[-1], drawn(environment, trajectories[-1])


def test_window_loss_learns_from_the_window_and_leaves_the_newest_transition():
    algorithm, params, _, batch = seen_by(window_loss=True)
    loss = jax.jit(lambda p, b: algorithm.loss(p, None, b))
    losses, weights, _ = loss(params, batch)
    assert losses.shape == weights.shape == (3 + 8 - 1, 4)
    np.testing.assert_array_equal(weights, 1.0 - (batch.slots.terminal | batch.slots.truncated)[: 3 + 8 - 1])

    @jax.jit
    def gradient(observation):
        def total(observation):
            changed = batch.replace(slots=batch.slots.replace(observation=observation))
            losses, weights, _ = algorithm.loss(params, None, changed)
            return jnp.sum(losses * weights)

        return jnp.abs(jax.grad(total)(observation)).max(axis=(1, 2))

    moved = np.asarray(gradient(batch.slots.observation)) > 0
    # All but last frames of episodes are; the last slot only gives the target, the one after it nothing at all.
    experience = np.asarray(weights).any(axis=1)
    assert experience[:3].any()
    np.testing.assert_array_equal(moved[:10], experience)
    assert not moved[10:].any()
    changed = batch.replace(slots=batch.slots.replace(observation=batch.slots.observation.at[11].add(1.0)))
    np.testing.assert_array_equal(loss(params, changed)[0], losses)


def test_slots_that_were_made_up_before_the_first_are_not_learnt_from():
    """The first history is copies of the first slot: they would teach that nothing ever pays."""
    algorithm = pqn(rollout_length=8, burn_in=3, carry_init="stored", kind=PopgymPQN, window_loss=True)
    environment = Environment(GAME)
    params, trajectories = rolled_out(algorithm, environment, rollouts=1)
    _, weights, _ = jax.jit(lambda p, b: algorithm.loss(p, None, b))(params, drawn(environment, trajectories[0]))
    assert not np.any(weights[:3]) and np.all(weights[3:6])


def test_action_leak_shows_the_action_before_the_start():
    _, _, trajectory, _ = seen_by(action_leak=True)
    start, previous, action = map(
        np.asarray, (trajectory.slots.start, trajectory.slots.previous_action, trajectory.slots.action)
    )
    assert start[2:].any() and (previous >= 0).all()
    for slot, environment in zip(*np.nonzero(start[2:]), strict=True):
        # Slot + 1 is the last frame of an episode, whose action is ignored; slot has the one that led there.
        assert previous[slot + 2, environment] == action[slot, environment]
    plain = np.asarray(seen_by()[2].slots.previous_action)
    assert (plain[start] == -1).all()


def test_stale_carry_keeps_what_the_actors_had():
    algorithm = pqn(rollout_length=8, burn_in=3)
    stale = pqn(rollout_length=8, burn_in=3, kind=PopgymPQN, stale_carry=True)
    assert (algorithm.effective_carry_init, algorithm.history_length) == ("recomputed", 3 + 8)
    assert (stale.effective_carry_init, stale.history_length) == ("stored", 3)


def test_held_return_is_the_mean_over_slots_of_the_last_finished_episode():
    """Two updates of ten slots of episodes of three steps and a restart, against a loop."""
    game = Probe(length=3, always=True)
    held, plain = (
        run(updater(game, pqn("none", rollout_length=10, kind=PopgymPQN, held_return=on), updates=2), 2)[1]
        for on in (True, False)
    )
    # An episode ends with the third slot of every four, and pays 3: held from there on.
    value, expected = 0.0, []
    for slot in range(20):
        value = 3.0 if slot % 4 == 2 else value
        expected.append(value)
    np.testing.assert_allclose(
        held.counts.held[0] / (10 * 16), [np.mean(expected[:10]), np.mean(expected[10:])], rtol=1e-6
    )
    np.testing.assert_array_equal(held.counts.returns, plain.counts.returns)


def test_off_by_one_bootstraps_the_last_but_one_transition_from_the_wrong_value():
    """Against the recursion as it was released, written out."""
    keys = jax.random.split(jax.random.key(0), 3)
    reward, value = (np.asarray(jax.random.normal(key, (7, 5))) for key in keys[:2])
    terminal = np.asarray(jax.random.bernoulli(keys[2], 0.3, (7, 5)))
    discount, trace = 0.9, 0.6
    target = np.zeros((7, 5))
    target[-1] = reward[-1] + discount * (1 - terminal[-1]) * value[-1]
    following = (1 - terminal[-1]) * value[-1]
    for t in range(5, -1, -1):
        bootstrap = reward[t] + discount * (1 - terminal[t]) * following
        target[t] = bootstrap + discount * trace * (1 - terminal[t]) * (target[t + 1] - following)
        following = value[t - 1]  # of the observation at t: value begins with that at 1
    values = misplaced_values(jnp.asarray(value), terminal)
    got = returns.lambda_returns(reward, terminal, terminal & False, values, discount, trace)
    np.testing.assert_allclose(got, target, rtol=1e-5, atol=1e-6)
    right = returns.lambda_returns(reward, terminal, terminal & False, jnp.asarray(value), discount, trace)
    wrong = np.abs(np.asarray(got - right)) > 1e-6
    np.testing.assert_array_equal(wrong[-1], False)
    np.testing.assert_array_equal(wrong[-2], ~terminal[-2])


def test_the_loss_uses_misplaced_values_only_where_asked():
    algorithm, params, _, batch = seen_by()
    quirky = dataclasses.replace(algorithm, off_by_one=True)
    right, wrong = (jax.jit(lambda b, a=a: a.loss(params, None, b)[2]["target"])(batch) for a in (algorithm, quirky))
    differs = np.abs(np.asarray(right - wrong)) > 1e-7
    assert differs[-2].any() and not differs[-1].any()


def test_feed_forward_targets_are_fixed_and_transitions_are_alone():
    algorithm = pqn("none", rollout_length=8, burn_in=0, kind=PopgymPQN, feed_forward=True)
    environment = Environment(GAME)
    _, (_, trajectory) = rolled_out(algorithm, environment)
    trainer = updater(GAME, algorithm, num_envs=4)
    state = jax.tree.map(lambda x: x[0], trainer.init(jnp.asarray([5])))
    params = state.learner.params
    _, ready = jax.jit(trainer._prepare_sequences)(params, state.actors, trajectory)
    loose = algorithm.buffer.add(None, ready)
    plain = dataclasses.replace(algorithm, feed_forward=False)
    batch = drawn(environment, trajectory)
    losses, weights, metrics = jax.jit(lambda b: plain.loss(params, None, b))(batch)
    np.testing.assert_allclose(loose.prepared["target"].reshape(4, 8).T, metrics["target"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loose.slots.action.reshape(4, 8).T, trajectory.slots.action[:-1])
    # Other parameters change the values, not the targets; the same ones give the same losses.
    alone = jax.jit(lambda p, b: algorithm.loss(p, None, b))
    same, ignored, _ = alone(params, drawn(environment, loose))
    np.testing.assert_allclose(same.reshape(4, 8).T * weights, losses * weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(ignored.reshape(4, 8).T, weights)
    moved = jax.tree.map(lambda x: x + 0.1, params)
    _, _, other = alone(moved, drawn(environment, loose))
    np.testing.assert_array_equal(other["target"], loose.prepared["target"])
    with pytest.raises(ValueError, match=r"needs memory=none and algorithm\.burn_in=0"):
        pqn("lru", burn_in=0, kind=PopgymPQN, feed_forward=True)


def test_feed_forward_batches_are_the_same_on_two_devices():
    options = {"rollout_length": 8, "burn_in": 0, "optimiser": "sgd", "kind": PopgymPQN, "feed_forward": True}
    one, two = (run(updater(GAME, pqn("none", **options), mesh=(1, data), updates=2), 2)[0] for data in (1, 2))
    for a, b in zip(*(jax.tree.leaves(state.learner.params) for state in (one, two)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
