"""Batches of random play of the tasks without pixels, for tests; each program is compiled once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade import plugins
from podarcade.envs.environment import Environment
from podarcade.envs.tasks import Task

TASKS = [name for name in plugins.names("games") if issubclass(plugins.find("games", name), Task)]
BATCH = 64

every_task = pytest.mark.parametrize("name", TASKS)


class Play(NamedTuple):
    """Consecutive time steps of `BATCH` environments, in NumPy; `action[t]` leads from step t to t + 1."""

    state: object  # of the task, [T + 1, B]
    full: np.ndarray  # float32[T + 1, B, D]
    partial: np.ndarray  # float32[T + 1, B, D]
    action: np.ndarray  # [T, B, ...]
    reward: np.ndarray  # float32[T + 1, B], of the step that led here
    terminal: np.ndarray  # bool[T + 1, B]
    truncated: np.ndarray  # bool[T + 1, B]
    start: np.ndarray  # bool[T + 1, B]


@functools.cache
def make(name, level=None, rules="strict", **fields):
    """The task of a file, at its first level or another one."""
    found = plugins.find("games", name)
    return found(rules=rules, **(found.LEVELS[level or next(iter(found.LEVELS))] | fields))


@functools.cache
def program(task, method):
    """The compiled method of a task for a batch of its arguments."""
    return jax.jit(jax.vmap(getattr(task, method)))


def starts(task, count=BATCH, seed=0):
    """States at time 0 of a batch, in NumPy."""
    return jax.tree.map(np.asarray, program(task, "reset")(jax.random.split(jax.random.key(seed), count)))


def step(task, state, action, seed=0):
    """(state, reward[B], terminal[B]) in NumPy of one step of a batch; one action for all, or one for each."""
    count, space = len(state.time), task.actions
    action = np.broadcast_to(np.asarray(action, space.dtype), (count, *space.shape))
    return jax.tree.map(np.asarray, program(task, "step")(state, action, jax.random.split(jax.random.key(seed), count)))


def see(task, state, partial=False):
    """Observations of a batch of states in NumPy, float32[B, D]."""
    return np.asarray(program(task, "draw")(state, np.full(len(state.time), partial)))


@functools.cache
def random_play(task, steps=None):
    """Uniformly random play from fresh starts, for 1.5 episodes of the longest kind or a number of steps."""
    environment = Environment(task)

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        env, first = jax.vmap(environment.reset)(jax.random.split(reset_key, BATCH))

        def one(env, key):
            action = jax.vmap(task.actions.sample)(jax.random.split(key, BATCH))
            env, timestep = jax.vmap(environment.step)(env, action)
            return env, (env.latent.game, timestep.replace(observation=None), action)

        keys = jax.random.split(key, steps or task.max_steps * 3 // 2 + 2)
        _, (states, timesteps, action) = jax.lax.scan(one, env, keys)
        first = first.replace(observation=None)
        states, timesteps = jax.tree.map(
            lambda a, b: jnp.concatenate([a[None], b]), (env.latent.game, first), (states, timesteps)
        )
        draw = jax.vmap(jax.vmap(task.draw, (0, None)), (0, None))
        return states, draw(states, False), draw(states, True), action, timesteps

    state, full, partial, action, timestep = jax.tree.map(np.asarray, play(jax.random.key(0)))
    return Play(state, full, partial, action, timestep.reward, timestep.terminal, timestep.truncated, timestep.start)


def fields(task, observation):
    """Split observations [..., D] of a task by name: {"card": [..., 4], ...}."""
    sizes = {}

    def record(key):
        # Inside, as transformations sort the names of dictionaries that they return.
        state = task.reset(key)
        sizes.update({name: value.shape[0] for name, value in (task.visible(state) | task.hidden(state)).items()})

    jax.eval_shape(record, jax.random.key(0))
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(observation, ends[:-1], axis=-1), strict=True))
