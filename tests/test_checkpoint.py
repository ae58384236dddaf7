"""Checkpoints: every leaf comes back, placed anew, and only complete ones count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from probes import Probe

from podarcade.anakin.checkpoint import Checkpoints

GAME = Probe(length=4, pays="match")


def same(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("burn_in", [0, 4])
def test_a_state_comes_back(tmp_path, burn_in):
    """With no burn-in the history has no elements, which orbax alone refuses to save."""
    trainer = updater(GAME, pqn(burn_in=burn_in))
    state = trainer.init(jnp.asarray([3, 4]))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state, {"frames": [1, 2]})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest == 7
    restored, progress = checkpoints.restore(trainer.init(jnp.asarray([0, 0])))
    assert progress == {"frames": [1, 2]}
    same(state, restored)


def test_a_state_goes_on_on_other_devices(tmp_path):
    state = updater(GAME, pqn(), mesh=(2, 4)).init(jnp.asarray([3, 4]))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {})
    like = updater(GAME, pqn(), mesh=(1, 2)).init(jnp.asarray([0, 0]))
    restored, _ = checkpoints.restore(like)
    same(state, restored)
    for leaf, expected in zip(*map(jax.tree.leaves, (restored, like)), strict=True):
        assert leaf.sharding == expected.sharding


def test_the_latest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, {"x": jnp.full(3, step)}, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    restored, progress = checkpoints.restore({"x": jnp.zeros(3, int)})
    assert progress["step"] == 3
    np.testing.assert_array_equal(restored["x"], 3)


def test_what_a_killed_writer_left_does_not_count(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": jnp.ones(3)}, {})
    checkpoints.close()
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(tmp_path).latest == 1


def test_nothing_to_restore_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Checkpoints(tmp_path).restore({"x": jnp.ones(3)})
