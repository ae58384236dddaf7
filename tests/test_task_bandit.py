"""MultiarmedBandit: rewards, history, its two forms, and players."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_playing import fields, make, random_play, see, starts
from task_replay import assert_mean, episodes, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import multiarmed_bandit


def paying(task, payout):
    return task.reset(jax.random.key(0)).replace(payout=jnp.asarray(payout, jnp.float32))


def test_vectors():
    """Arms that always pay, never pay, and one that pays among others."""
    task = make("multiarmed_bandit")
    plans = np.stack([np.arange(200) % 10, np.ones(200, int), np.zeros(200, int)])
    one = np.eye(10)[0]
    for payout, returns in ((np.ones(10), [1, 1, 1]), (np.zeros(10), [-1, -1, -1]), (one, [-0.8, -1, 1])):
        seen = replay(task, plans, paying(task, payout))
        np.testing.assert_allclose(seen.reward.sum(axis=0), returns, atol=1e-5)
        assert not seen.terminal.any() and task.time_limit == 200


def test_history():
    """Wins and pulls are those of the arms and payments on show, in whatever order they came."""
    task = make("multiarmed_bandit")
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    np.testing.assert_array_equal(part["paid"][1:, :, 0] * ~play.start[1:], play.reward[1:] > 0)
    for env, steps in episodes(play):
        arms, paid = part["arm"][steps, env], part["paid"][steps, env]
        assert not arms[0].any() and not paid[0].any() and (arms[1:].sum(axis=1) == 1).all()
        np.testing.assert_array_equal(arms[1:].argmax(axis=1), play.action[steps.start : steps.stop - 1, env])
        np.testing.assert_allclose(hidden["pulls"][steps, env], np.cumsum(arms, axis=0) / 200, atol=1e-6)
        np.testing.assert_allclose(hidden["wins"][steps, env], np.cumsum(arms * paid, axis=0) / 200, atol=1e-6)
    assert_mean(first_returns(play), 0.0)


def test_payouts_are_uniform():
    payout = np.sort(starts(make("multiarmed_bandit"), 2000).payout.reshape(-1))
    # Kolmogorov-Smirnov: the largest distance of 20,000 uniform numbers exceeds 0.0138 with probability 0.001.
    assert np.abs(payout - (np.arange(20_000) + 0.5) / 20_000).max() < 0.0138
    assert payout[0] >= 0 and payout[-1] < 1


def test_oracle():
    """The probabilities instead of the counts, from time 1 on."""
    task = make("multiarmed_bandit", oracle=True)
    state = starts(task)
    assert not see(task, state)[:, 11:].any()
    later = state.replace(time=state.time + 1)
    np.testing.assert_array_equal(see(task, later)[:, 11:], state.payout)
    assert not see(task, later, partial=True)[:, 11:].any()


def test_players():
    task = make("multiarmed_bandit")
    assert_mean(bounds.play(task, multiarmed_bandit.memoryless(task), 500).returns, 0.476)
    played = bounds.play(task, multiarmed_bandit.memory(task), 500)
    assert_mean(played.returns, 0.709)
    assert played.returns.mean() > 0.69 and (played.lengths == 200).all()


def test_sizes_and_parameters():
    for level, size, observation in (("easy", 90, 31), ("medium", 170, 61), ("hard", 250, 91)):
        task = make("multiarmed_bandit", level)
        state = jax.eval_shape(task.reset, jax.random.key(0))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) == size
        assert jax.eval_shape(task.draw, state, np.bool_(True)).shape == (observation,)
    with pytest.raises(ValueError, match="arms=0, steps=200; expected 1 to 127 and 1 to 32767"):
        make("multiarmed_bandit", arms=0)
