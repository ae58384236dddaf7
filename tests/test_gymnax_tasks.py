"""Environments of gymnax as tasks: with a stand-in that has its interface, and with gymnax where it is installed."""

import importlib.util
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import podarcade
from podarcade.actions import Continuous, Discrete
from podarcade.configuration import files
from podarcade.envs import contract, gymnax_tasks


@struct.dataclass
class WalkState:
    place: jax.Array
    time: int


class Walk:
    """Walk along a line by an action in [0, 4]; ends beyond 6, truncated after 5 steps."""

    default_params = types.SimpleNamespace(max_steps_in_episode=5)

    def observation_space(self, params):
        return types.SimpleNamespace(shape=(1, 3))

    def action_space(self, params):
        return types.SimpleNamespace(shape=(1,), low=0.0, high=4.0)

    def reset_env(self, key, params):
        state = WalkState(place=jax.random.uniform(key), time=0)
        return self.look(state), state

    def step_env(self, key, state, action, params):
        state = WalkState(place=state.place + action[0], time=state.time + 1)
        return self.look(state), state, state.place, state.place > 6, {"discount": 1.0}

    def look(self, state):
        return jnp.stack([state.place, state.time * 1.0, -state.place])[None]


class Choice(Walk):
    """The same with three discrete actions, and a discrete observation."""

    def observation_space(self, params):
        return types.SimpleNamespace(n=4, shape=())

    def action_space(self, params):
        return types.SimpleNamespace(n=3, shape=())

    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action[None], params)

    def look(self, state):
        return jnp.minimum(state.time, 3)


@pytest.fixture
def gymnax(monkeypatch):
    known = {"Walk-v0": Walk, "Choice-v0": Choice}
    module = types.ModuleType("gymnax")
    module.registered_envs, module.make = list(known), lambda name: (known[name](), known[name].default_params)
    monkeypatch.setitem(sys.modules, "gymnax", module)
    gymnax_tasks.task.cache_clear()
    yield module
    gymnax_tasks.task.cache_clear()


def test_actions_are_scaled_and_ends_kept_apart(gymnax):
    environment = podarcade.make("gymnax:Walk-v0")
    assert environment.game.actions == Continuous(1) and environment.game.time_limit == 5
    contract.check_game(environment.game)
    step = jax.jit(environment.step)
    # Action 1 is 4 units: beyond 6 with the second step, a true end.
    state, first = environment.reset(jax.random.key(0))
    state, timestep = step(state, jnp.ones(1))
    np.testing.assert_allclose(timestep.observation[0], first.observation[0] + 4, rtol=1e-6)
    state, timestep = step(state, jnp.full(1, 9.0))  # clipped
    assert timestep.terminal and not timestep.truncated
    np.testing.assert_allclose(
        timestep.observation, [first.observation[0] + 8, 2, -first.observation[0] - 8], rtol=1e-6
    )
    np.testing.assert_allclose(timestep.reward, timestep.observation[0])
    state, timestep = step(state, jnp.ones(1))
    assert timestep.start and timestep.observation[1] == 0
    # Action -1 is no move: truncated by the limit, with the true final observation.
    for _ in range(5):
        state, timestep = step(state, -jnp.ones(1))
    assert timestep.truncated and not timestep.terminal and timestep.observation[1] == 5


def test_the_mask_selects_what_the_partial_twin_shows(gymnax):
    environment = podarcade.make("gymnax:Walk-v0", partial_obs=True, mask=[2, 0])
    state, first = environment.reset(jax.random.key(0))
    place = float(first.observation[1])
    np.testing.assert_allclose(first.observation, [-place, place, 0], rtol=1e-6)
    state, timestep = environment.step(state, -jnp.ones(1))
    np.testing.assert_allclose(timestep.observation, [-place, place, 0], rtol=1e-6)
    np.testing.assert_allclose(environment.draw(state.latent.replace(partial=False)), [-place, place, 1], rtol=1e-6)
    for mask in ("0,0", "3", "x", [-1]):
        with pytest.raises(ValueError, match="expected indices of the 3 values of the observation"):
            podarcade.make("gymnax:Walk-v0", mask=mask)


def test_discrete_spaces(gymnax):
    environment = podarcade.make("gymnax:Choice-v0")
    assert environment.game.actions == Discrete(3)
    _, timestep = environment.step(environment.reset(jax.random.key(0))[0], jnp.int32(1))
    np.testing.assert_array_equal(timestep.observation, [0, 1, 0, 0])


def test_names(gymnax, monkeypatch):
    monkeypatch.setitem(sys.modules, "my_envs", types.SimpleNamespace(Mine=Walk))
    assert type(podarcade.make("gymnax:my_envs.Mine").game).__name__ == "Mine"
    with pytest.raises(ValueError, match="unknown gymnax environment 'Walc-v0'; did you mean 'Walk-v0'"):
        podarcade.make("gymnax:Walc-v0")
    config = files.read("configs/ppo.py:game=gymnax:Walk-v0,preset=smoke")
    assert config.environment.name == "gymnax:Walk-v0" and config.environment.mask == ""


def test_without_gymnax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    gymnax_tasks.task.cache_clear()
    with pytest.raises(
        ValueError, match=r"game=gymnax:CartPole-v1 needs gymnax 1.x .*pip install 'podarcade\[gymnax\]'"
    ):
        podarcade.make("gymnax:CartPole-v1")


@pytest.mark.skipif(importlib.util.find_spec("gymnax") is None, reason="gymnax is not installed")
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MemoryChain-bsuite"])
def test_a_gymnax_environment_is_what_gymnax_makes_of_it(name):
    import gymnax as library

    gymnax_tasks.task.cache_clear()
    game = podarcade.make(f"gymnax:{name}").game
    environment, params = library.make(name)
    key = jax.random.key(3)
    observation, inner = environment.reset_env(key, params)
    state = game.reset(key)
    for count in range(20):
        np.testing.assert_allclose(game.draw(state, False), np.ravel(observation), rtol=1e-6)
        step_key, action = jax.random.fold_in(key, count), game.actions.sample(jax.random.fold_in(key, 1000 + count))
        theirs = game._scaled(action)
        observation, inner, reward, terminated, _ = environment.step_env(step_key, inner, theirs, params)
        state, ours, terminal = game.step(state, action, step_key)
        np.testing.assert_allclose(ours, reward, rtol=1e-5)
        assert bool(terminal) == bool(terminated)
