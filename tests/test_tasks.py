"""Contract tests of every task without pixels in the folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_playing import BATCH, TASKS, every_task, make, program, random_play

from podarcade import plugins
from podarcade.actions import Continuous
from podarcade.envs import contract
from podarcade.envs.environment import environment_names
from podarcade.envs.tasks import TWINS

# Random play at the first level under strict rules is shared by all tests; other levels and rules are checked once.
LATENT_BYTES = 1024


def sizes(task):
    """The numbers of visible and of hidden values."""
    state = jax.eval_shape(task.reset, jax.random.key(0))
    visible, hidden = jax.eval_shape(task.visible, state), jax.eval_shape(task.hidden, state)
    return sum(x.shape[0] for x in visible.values()), sum(x.shape[0] for x in hidden.values())


def test_there_are_tasks_and_their_names_are_their_own():
    names = environment_names()
    assert len(TASKS) >= 2 and len({name.lower() for name in names}) == len(names)


@every_task
def test_every_level_and_rule_set_keeps_the_contract(name):
    found = plugins.find("games", name)
    assert found.TWIN in TWINS and found.CHANNEL in ("closed", "small", "open")
    assert set(found.LEVELS) <= {"easy", "medium", "hard"}
    for rules in ("strict", "published"):
        for level in found.LEVELS:
            task = make(name, level, rules)
            contract.check_game(task)
            assert task.time_limit == (task.max_steps if rules == "strict" else None)
            assert found.__doc__.count("- twin: ") == 1 and found.TWIN in found.__doc__


@every_task
def test_states_are_small(name):
    for level in plugins.find("games", name).LEVELS:
        state = jax.eval_shape(make(name, level).reset, jax.random.key(0))
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        assert size < LATENT_BYTES, f"{level}: {size} bytes"


@every_task
def test_twins(name):
    """Equal at time 0; afterwards the partial twin has the visible fields and an empty hidden block."""
    task = make(name)
    play, (visible, hidden) = random_play(task), sizes(task)
    at_start = play.state.time == 0
    assert play.full.shape[-1] == visible + hidden and play.full.dtype == np.float32
    assert np.isfinite(play.full).all()
    np.testing.assert_array_equal(play.full[at_start], play.partial[at_start])
    np.testing.assert_array_equal(play.full[..., :visible], play.partial[..., :visible])
    assert not play.partial[~at_start][:, visible:].any()
    assert play.full[~at_start][:, visible:].any()
    if task.TWIN == "oracle":
        assert not play.full[at_start][:, visible:].any()


@every_task
def test_episodes(name):
    """Returns within their range, lengths within the limit, restarts from other starts; every step is counted."""
    task = make(name)
    play = random_play(task)
    over = play.terminal | play.truncated
    assert over.any(axis=0).all(), "every environment ends an episode"
    assert not (play.terminal & play.truncated).any()
    np.testing.assert_array_equal(play.start[1:], over[:-1])
    np.testing.assert_array_equal(play.start, play.state.time == 0)
    assert (play.state.time <= task.max_steps).all()
    # The return of the first episode of each environment.
    first = np.cumsum(play.start, axis=0) == 1
    returns = np.where(first, play.reward, 0).sum(axis=0)
    low, high = task.RETURNS
    assert (returns >= low - 1e-5).all() and (returns <= high + 1e-5).all()
    assert np.unique(play.full[: task.max_steps, :, :], axis=1).shape[1] > 1, "episodes differ"


@every_task
def test_published_ends_are_terminal(name):
    task = make(name, rules="published")
    play = random_play(task)
    assert not play.truncated.any() and play.terminal.any(axis=0).all()


@every_task
def test_another_program_draws_the_same_values(name):
    """Whatever is seen, noise included, is part of the state; also for single states."""
    task = make(name)
    play = random_play(task)
    row = 3
    state = jax.tree.map(lambda leaf: leaf[row], play.state)
    for partial, seen in ((False, play.full), (True, play.partial)):
        again = program(task, "draw")(state, np.full(BATCH, partial))
        np.testing.assert_array_equal(again, seen[row])


@every_task
def test_any_action_is_allowed(name):
    """Unknown and extreme actions neither raise nor spoil the state; continuous ones are clipped."""
    task = make(name)
    state = program(task, "reset")(jax.random.split(jax.random.key(0), 6))
    keys = jax.random.split(jax.random.key(1), 6)
    if isinstance(task.actions, Continuous):
        wild = jnp.array([-1e9, -1.5, -1.0, 1.0, 1.5, 1e9])[:, None] * jnp.ones((1, task.actions.dim))
        clipped = program(task, "step")(state, jnp.clip(wild, -1, 1), keys)
        jax.tree.map(np.testing.assert_array_equal, program(task, "step")(state, wild, keys), clipped)
        return
    wild = jnp.array([-1, -7, task.actions.n, task.actions.n + 3, 99, 2**31 - 1])
    after, reward, _ = program(task, "step")(state, wild, keys)
    np.testing.assert_array_equal(after.time, 1)
    assert np.isfinite(reward).all()
    for leaf in jax.tree.leaves(after):
        assert np.isfinite(leaf).all()


@every_task
def test_pictures(name):
    task = make(name)
    state = jax.tree.map(lambda leaf: leaf[2, 0], random_play(task).state)
    for partial in (False, True):
        picture = jax.eval_shape(task.render, state, np.bool_(partial))
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3


def test_a_task_has_no_size_of_frames():
    with pytest.raises(ValueError, match="obs_size=256; RepeatFirst has no pixels, leave obs_size at 128"):
        plugins.find("games", "repeat_first")(obs_size=256)
