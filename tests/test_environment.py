"""Time limit, auto-reset and twins, on a game small enough to predict every number."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import AxisType, PartitionSpec

from podarcade.envs.environment import Environment, environment_names, make, reset_where, transition
from podarcade.envs.games import Game
from podarcade.envs.tasks import Task


@struct.dataclass
class CounterState:
    time: jax.Array
    score: jax.Array
    seed: jax.Array


@dataclasses.dataclass(frozen=True)
class Counter(Game):
    """Pays action + 1; action 4 ends the episode; the limit is three steps."""

    LEVELS: ClassVar[dict] = {"easy": {}}

    @property
    def time_limit(self):
        return 3 if self.rules == "strict" else None

    def reset(self, key):
        return CounterState(jnp.int32(0), jnp.int32(0), jax.random.uniform(key))

    def step(self, state, action, key):
        new = state.replace(time=state.time + 1, score=state.score + action)
        return new, action + 1.0, action == 4

    def draw(self, state, partial):
        return jnp.stack([state.time.astype(jnp.float32), jnp.where(partial, 0.0, state.seed)])


@functools.cache
def _roll(environment):
    def roll(key, actions, partial):
        def step(state, action):
            state, timestep = environment.step(state, action)
            return state, (state, timestep)

        state, timestep = environment.reset(key, partial)
        _, later = jax.lax.scan(step, state, actions)
        return jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), (state, timestep), later)

    return jax.jit(roll)


def play(environment, actions, partial=False, seed=0):
    """(EnvState[T + 1], TimeStep[T + 1]) in numpy."""
    rolled = _roll(environment)(jax.random.key(seed), jnp.asarray(actions, jnp.int32), jnp.asarray(partial))
    return jax.tree.map(np.asarray, rolled)


def test_truncation_then_reset_then_terminal():
    state, step = play(Environment(Counter()), [0, 1, 2, 3, 0, 4, 1, 1])
    np.testing.assert_array_equal(step.reward, [0, 1, 2, 3, 0, 1, 5, 0, 2])
    np.testing.assert_array_equal(step.truncated, [0, 0, 0, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(step.terminal, [0, 0, 0, 0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(step.start, [1, 0, 0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(step.observation[:, 0], [0, 1, 2, 3, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(state.episode_return, [0, 1, 3, 6, 0, 1, 6, 0, 2])
    np.testing.assert_array_equal(state.episode_length, [0, 1, 2, 3, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(state.over, step.terminal | step.truncated)


def test_reset_step_ignores_its_action():
    one, two = (play(Environment(Counter()), [0, 0, 0, action, 2]) for action in (0, 4))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_transition_and_reset_where_are_the_steps_of_every_interface():
    """Reset in the same step, as adapters do it: the state before the reset is the true last one."""
    game = Counter()
    state = game.reset(jax.random.key(0))
    flags = []
    for index, limit in enumerate((3, 3, jnp.int32(3), None)):
        last, reward, terminal, truncated = transition(game, state, jnp.int32(0), jax.random.key(index), limit)
        assert reward.dtype == jnp.float32 and terminal.dtype == truncated.dtype == bool
        flags.append((int(last.time), bool(terminal), bool(truncated)))
        state = reset_where(terminal | truncated, game, last, jax.random.key(10 + index))
    assert flags == [(1, False, False), (2, False, False), (3, False, True), (1, False, False)]
    last, _, terminal, truncated = transition(game, state.replace(time=2), jnp.int32(4), jax.random.key(0), 3)
    assert terminal and not truncated
    fresh = reset_where(jnp.asarray(True), game, last, jax.random.key(9))
    jax.tree.map(np.testing.assert_array_equal, fresh, game.reset(jax.random.key(9)))


def test_terminal_at_the_limit_is_not_truncated():
    _, step = play(Environment(Counter()), [0, 0, 4])
    assert step.terminal[-1] and not step.truncated[-1]


def test_limit_is_terminal():
    _, step = play(Environment(Counter(), limit_is_terminal=True), [0, 0, 0, 0])
    np.testing.assert_array_equal(step.terminal, [0, 0, 0, 1, 0])
    assert not step.truncated.any()
    assert step.start[4]


def test_no_limit_no_truncation():
    _, step = play(Environment(Counter(rules="published")), [0] * 8)
    assert not step.truncated.any() and not step.terminal.any()


def test_every_episode_has_a_new_start():
    state, step = play(Environment(Counter()), [4, 0] * 6)
    seeds = state.latent.game.seed[step.start]
    assert len(seeds) == 7 and len(set(seeds.tolist())) == 7


def test_twins_share_dynamics_and_a_program():
    environment = Environment(Counter())
    full, partial = play(environment, [0, 1, 2, 3, 4], False), play(environment, [0, 1, 2, 3, 4], True)
    jax.tree.map(np.testing.assert_array_equal, full[0].latent.game, partial[0].latent.game)
    np.testing.assert_array_equal(full[1].reward, partial[1].reward)
    assert (full[1].observation[:, 1] > 0).all() and (partial[1].observation[:, 1] == 0).all()
    default, _ = Environment(Counter(), partial=True).reset(jax.random.key(0))
    assert default.latent.partial


def test_typed_keys_and_key_data_are_the_same():
    key = jax.random.key(3)
    one, two = (Environment(Counter()).reset(k) for k in (key, jax.random.key_data(key)))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert one[0].key.dtype == jnp.uint32


@pytest.mark.parametrize("key", [jax.random.key(3, impl="rbg"), jax.random.key_data(jax.random.key(3, impl="rbg"))])
def test_keys_of_another_implementation_start_episodes_of_the_default_one(key):
    state, _ = Environment(Counter()).reset(key)
    other, _ = Environment(Counter()).reset(jax.random.key(4, impl="rbg"))
    assert state.key.shape == jax.random.key_data(jax.random.key(0)).shape and state.key.dtype == jnp.uint32
    assert state.latent.game.seed != other.latent.game.seed
    with pytest.raises(ValueError, match=r"key is uint32\[3\]; expected a typed key, or key data uint32\[2\]"):
        Environment(Counter()).reset(jnp.zeros(3, jnp.uint32))


def test_reset_and_scan_inside_shard_map():
    mesh = jax.make_mesh((1,), ("data",), (AxisType.Auto,))
    environment = Environment(Counter())

    def roll(keys):
        def step(carry, _):
            state, timestep = jax.vmap(environment.step)(carry[0], jnp.zeros(carry[0].over.shape, jnp.int32))
            return (state, timestep), timestep.reward

        return jax.lax.scan(step, jax.vmap(environment.reset)(keys), None, length=4)[1]

    specs = {"mesh": mesh, "in_specs": PartitionSpec("data"), "out_specs": PartitionSpec(None, "data")}
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), 2))
    rewards = jax.jit(jax.shard_map(roll, check_vma=True, **specs))(keys)
    np.testing.assert_array_equal(rewards, [[1, 1], [1, 1], [1, 1], [0, 0]])


def test_make_knows_every_game_and_level():
    names = environment_names()
    assert {"CartPoleEasy", "CartPoleHard", "MineSweeperMedium"} <= set(names)
    for name, (game, level) in names.items():
        size = 128 if issubclass(game, Task) else 256
        made = make(name, partial_obs=True, obs_size=size, rules="published")
        assert made == Environment(game(obs_size=size, rules="published", **game.LEVELS[level]), partial=True)
        hash(made)


def test_games_and_tasks_have_pictures_bare_vectors_have_none():
    assert make("CartPoleEasy").has_picture and make("TMazeEasy").has_picture
    assert not Environment(Counter()).has_picture


def test_make_lists_what_is_expected():
    with pytest.raises(ValueError, match=r"unknown environment 'MinesweeperEasy'; did you mean '?MineSweeperEasy'?\?"):
        make("MinesweeperEasy")
    with pytest.raises(ValueError, match=r"unknown environment 'Pong'; .*CartPoleEasy.*MineSweeperHard"):
        make("Pong")
    for size in (64, 128.0):
        with pytest.raises(ValueError, match=rf"obs_size={size}; expected "):
            make("CartPoleEasy", obs_size=size)
    with pytest.raises(ValueError, match="rules='legacy'; expected one of: strict, published"):
        make("CartPoleEasy", rules="legacy")
