"""Observability: what can be asked for, who shows what, and switching without compiling anew."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import Probe

from podarcade import configuration, launch
from podarcade.build import build
from podarcade.envs.observability import Observability, parse


@pytest.mark.parametrize(
    ("text", "since", "shares"),
    [
        ("full", (0,), (0.0,)),
        ("partial", (0,), (1.0,)),
        ("0.25", (0,), (0.25,)),
        ("full,partial@250000", (0, 250_000), (0.0, 1.0)),
        ("0, 0.5@1e6, partial@2e6", (0, 1_000_000, 2_000_000), (0.0, 0.5, 1.0)),
    ],
)
def test_what_can_be_asked_for(text, since, shares):
    assert parse(text) == Observability(since, shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is none of them; there are full, partial"),
        ("hidden", "'hidden' is none of them"),
        ("1.5", "between 0 and 1"),
        ("nan", "between 0 and 1"),
        ("full@100", "the first begins at 0"),
        ("full,partial", "each later"),
        ("full,partial@5,full@5", "each later"),
        ("full,partial@soon", "'partial@soon' is none of them"),
        ("full,partial@inf", "'partial@inf' is none of them"),
    ],
)
def test_anything_else_is_an_error_that_helps(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@settings(deadline=None)
@given(st.sampled_from([1, 7, 16, 300]), st.floats(0, 1))
def test_a_share_is_met_and_spread_evenly(num_envs, share):
    partial = np.asarray(Observability((0,), (share,)).at(np.int32(5), num_envs))
    assert partial.sum() == round(share * num_envs)
    # Any stretch of environments has its share, give or take one.
    expected = np.arange(1, num_envs + 1) * partial.sum() / num_envs
    assert np.abs(np.cumsum(partial) - expected).max() < 1


def test_switches_move_to_the_nearest_step():
    assert parse("full,partial@1499").every(1000) == Observability((0, 1), (0.0, 1.0))
    assert parse("full,partial@1501,0.5@5000").every(1000) == Observability((0, 2, 5), (0.0, 1.0, 0.5))
    assert parse("full,partial@400").every(1000) == Observability((0,), (1.0,))


@pytest.mark.parametrize("mesh", [(1, 1), (1, 4)])
def test_the_twin_switches_in_mid_training_without_a_new_program(mesh):
    """Full for two updates, then a quarter of the environments partial, then all: on any mesh the same ones."""
    schedule = Observability((0, 2, 3), (0.0, 0.25, 1.0))
    trainer = updater(Probe(length=4), pqn("none"), mesh=mesh, num_envs=16, updates=4, partial=True)
    trainer = dataclasses.replace(trainer, observability=schedule)
    state = trainer.init(jnp.asarray([0]))
    program = trainer.compile(state, 1)
    seen = []
    for _ in range(4):
        state, metrics = program(state)
        latent = jax.device_get(state.actors.env.latent.partial)
        seen.append(latent[0])
        assert float(metrics.means["partial"][0, 0]) == latent[0].mean()
        # What is kept to warm the memory up was drawn as it is remembered.
        np.testing.assert_array_equal(state.actors.history.latent.partial[0, :, -1], latent[0])
    assert not np.any(seen[:2])
    np.testing.assert_array_equal(np.flatnonzero(seen[2]), [3, 7, 11, 15])
    assert np.all(seen[3])


def test_a_run_evaluates_right_before_and_after_a_switch():
    """The command line's schedule is in frames; switches move to whole calls, of 2 x 64 frames here."""
    command = ["launch", "--config=configs/pqn_lru.py:preset=smoke", "--config.evaluation.every=100"]
    command += ["--config.environment.observability=full,partial@600"]
    run = build(configuration.load(launch.make_flags(), command))
    assert run.updater.observability == Observability((0, 10), (0.0, 1.0))
    assert run.switches == (10,)
    assert [updates for updates in range(2, 21, 2) if run.should_evaluate(updates)] == [10, 12, 20]
    assert not run.updater.environment.partial
    assert run.title.endswith("twins full,partial@600")
