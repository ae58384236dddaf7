"""Continuous actions through rollouts, the update, evaluation, buffers and adapters."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import OPTIONS, distance, greedy, make, run, updater

import podarcade
from podarcade import plugins
from podarcade.actions import Continuous, Discrete
from podarcade.algorithms.dqn import DQN
from podarcade.algorithms.ppo import PPO
from podarcade.algorithms.pqn import PQN
from podarcade.models.trunks import Trunk


def task(name="position_only_pendulum", **fields):
    return plugins.find("games", name)(**fields)


def ppo(game, **options):
    return make(PPO, actions=game.actions, **options)


def test_action_spaces():
    two, three = Continuous(2), Discrete(3)
    assert two.shape == (2,) and two.size == 2 and three.shape == () and three.size == 3
    np.testing.assert_array_equal(two.none(4), np.zeros((4, 2)))
    np.testing.assert_array_equal(three.none(4), [-1] * 4)
    np.testing.assert_array_equal(two.encode(jnp.array([[-3.0, 0.5]])), [[-1, 0.5]])
    np.testing.assert_array_equal(three.encode(jnp.array([-1, 2])), [[0, 0, 0], [0, 0, 1]])
    drawn = np.asarray(two.sample(jax.random.key(0), 1000))
    assert drawn.shape == (1000, 2) and abs(drawn.mean()) < 0.05 and np.abs(drawn).max() <= 1
    for kind in (Continuous, Discrete):
        for wrong in (0, -1, 2.0, True):
            with pytest.raises(ValueError, match="expected an int >= 1"):
                kind(wrong)


def test_an_update_carries_actions_through_every_part():
    """Trajectory, previous action, the report of the guard, evaluation; the same on two devices."""
    game = task("semi_circle")
    algorithm = ppo(game, optimiser="sgd", learning_rate=1e-2)
    states = []
    for mesh in ((1, 1), (1, 2)):
        state, metrics = run(updater(game, algorithm, mesh=mesh), 2)
        slots = state.actors.history.slots
        assert slots.action.shape == (1, 16, algorithm.history_length, 2) and slots.action.dtype == jnp.float32
        previous, start = np.asarray(slots.previous_action), np.asarray(slots.start)
        np.testing.assert_array_equal(previous[:, :, 1:], np.where(start[:, :, 1:, None], 0, slots.action[:, :, :-1]))
        assert {"action", "previous_action"} <= metrics.non_finite.batch.keys()
        assert np.isfinite(metrics.means["loss"]).all() and (np.asarray(metrics.means["entropy"]) > 0).all()
        states.append(jax.device_get(state))
    assert distance(states[0].learner.params, states[1].learner.params) < 1e-5
    np.testing.assert_array_equal(states[0].actors.env.latent.game.time, states[1].actors.env.latent.game.time)
    found = greedy(updater(game, algorithm), states[0])
    assert 0 <= found["return_partial"][0] <= 120


def test_value_methods_refuse_continuous_actions():
    trunk = Trunk(plugins.find("encoders", "patch"), plugins.find("memory", "none"), actions=Continuous(2))
    for kind in (PQN, DQN):
        message = (
            f"{kind.__name__} needs discrete actions, but the environment has 2 continuous actions; use algorithm=ppo"
        )
        with pytest.raises(ValueError, match=message):
            kind(trunk=trunk, **OPTIONS)


def test_a_replay_of_a_task_is_small():
    """A million transitions of RepeatPreviousEasy, without a carry, in less than 40 MB."""
    game = task("repeat_previous")
    algorithm = make(DQN, "none", actions=game.actions, rollout_length=50, burn_in=0, capacity=10**6)
    state = updater(game, algorithm, num_envs=1000).abstract_state(1)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.replay))
    assert size < 40e6, f"{size / 1e6:.1f} MB"


@pytest.mark.parametrize(("name", "dim"), [("PositionOnlyPendulumEasy", 1), ("WindEasy", 2)])
def test_gymnasium(name, dim):
    envs = podarcade.make(name, api="gymnasium", num_envs=3, partial_obs=True)
    assert envs.single_action_space == gymnasium.spaces.Box(-1.0, 1.0, (dim,), np.float32)
    first, _ = envs.reset(seed=1)
    assert first in envs.observation_space
    wild, clipped = [], []
    for actions, found in ((np.full((3, dim), 7.0), wild), (np.ones((3, dim), np.float32), clipped)):
        envs.reset(seed=1)
        found.append(envs.step(actions)[0])
    np.testing.assert_array_equal(wild, clipped)
    with pytest.raises(ValueError, match=rf"actions are int64\[3, {dim}\]; expected float\[3, {dim}\]"):
        envs.step(np.ones((3, dim), int))
    with pytest.raises(ValueError, match="expected float"):
        envs.step(np.ones(3))
    single = gymnasium.make(f"podarcade/{name}-v0", render_mode="rgb_array")
    single.reset(seed=0)
    single.step(single.action_space.sample())
    assert single.render().dtype == np.uint8 and single.render().shape[-1] == 3


def test_gymnax():
    environment = podarcade.make("WindEasy", api="gymnax")
    space = environment.action_space()
    assert space.shape == (2,) and (space.low, space.high) == (-1, 1) and environment.num_actions == 2
    _, state = environment.reset(jax.random.key(0))
    key = jax.random.key(1)
    outcomes = [environment.step(key, state, action)[0] for action in (jnp.full(2, 9.0), jnp.ones(2))]
    np.testing.assert_array_equal(*outcomes)
    assert space.contains(space.sample(key))
