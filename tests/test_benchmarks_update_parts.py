"""Where the time of an update goes: what the variants leave out, and that parts sum to the whole."""

import functools

import jax
import numpy as np
import pytest

from benchmarks import flops, roofline, training_report, training_settings, update_parts
from podarcade import plugins

PIXELS = ("--config=configs/pqn.py:preset=smoke,memory=gru", "--config.num_envs=8")
TASK = ("--config=configs/ppo.py:preset=smoke,game=tmaze,memory=gru", "--config.num_envs=8")


@functools.cache
def updater(words):
    return training_settings.load(list(words))[1].updater


def test_parts_sum_to_the_update():
    suffixes = "", update_parts.WITHOUT_ENCODER, update_parts.WITHOUT_MEMORY
    stages = ["environment", "draw to act", "draw to learn", "optimiser"]
    stages += [stage + suffix for stage in ("act", "prepare", "update") for suffix in suffixes]
    costs = np.random.default_rng(0).uniform(1, 100, (len(stages), 2))
    found = update_parts.parts(dict(zip(stages, costs, strict=True)), 8)
    whole = found.pop("update")
    np.testing.assert_allclose(sum(found.values()), whole)
    assert "rest" in list(found)[-1]


@pytest.mark.parametrize("words", [PIXELS, TASK])
def test_variants_leave_out_encoder_and_memory(words):
    whole = updater(words)
    free, bare = update_parts._free(whole), update_parts._bare(whole)
    state = free.environment.game.reset(jax.random.key(1))
    assert not np.asarray(free.environment.game.draw(state, True)).any()
    assert whole.environment.game.draw(state, False).shape == free.environment.game.draw(state, False).shape
    counts = [flops.of_update(one, 1)["act"] for one in (whole, free, bare)]
    assert counts[1] > counts[2]
    steps = whole.num_envs * whole.algorithm.rollout_length
    encoder = steps * roofline._encoder(whole).forward if words is PIXELS else 0
    assert counts[0] - counts[1] == encoder
    assert bare.algorithm.trunk.memory is plugins.find("memory", "none")


@pytest.mark.slow
@pytest.mark.parametrize("words", [PIXELS, TASK])
def test_the_operations_of_the_parts_are_those_of_the_update(words, capsys):
    found = update_parts.measure(updater(words), 0.001, 1)
    whole = found["update"]
    assert whole["seconds"] > 0 and whole["operations"] == flops.of_update(updater(words), 1)["update"]
    for key in whole:
        assert sum(part[key] for name, part in found.items() if name != "update") == pytest.approx(whole[key])
    assert (found["encode to learn"]["operations"] > 0) == (words is PIXELS) and found["memory"]["operations"] > 0
    lines = training_report.parts({"parts": found, "matmul_peak": {"float32": 1e11}, "dtype": "float32"})
    assert len(lines) == len(found) and "100.0%" in lines[-1]
