"""Observability: parsing, which environments are partial, and switching without recompilation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import Probe

from podarcade import launch
from podarcade.build import build
from podarcade.configuration import command_line
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
def test_parse(text, since, shares):
    assert parse(text) == Observability(since, shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read ''; expected full, partial"),
        ("hidden", "cannot read 'hidden'"),
        ("1.5", "a share is outside"),
        ("nan", "a share is outside"),
        ("full@100", "frames do not increase from 0"),
        ("full,partial", "frames do not increase from 0"),
        ("full,partial@5,full@5", "frames do not increase from 0"),
        ("full,partial@soon", "cannot read 'partial@soon'"),
        ("full,partial@inf", "cannot read 'partial@inf'"),
    ],
)
def test_anything_else_is_an_error_that_lists_what_is_expected(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@settings(deadline=None)
@given(st.sampled_from([1, 7, 16, 300]), st.floats(0, 1))
def test_a_share_is_met_and_spread_evenly(num_envs, share):
    partial = np.asarray(Observability((0,), (share,)).at(np.int32(5), num_envs))
    assert partial.sum() == round(share * num_envs)
    # Any range of environments has its share, give or take one.
    expected = np.arange(1, num_envs + 1) * partial.sum() / num_envs
    assert np.abs(np.cumsum(partial) - expected).max() < 1


def test_switches_move_to_the_nearest_step():
    assert parse("full,partial@1499").in_units_of(1000) == Observability((0, 1), (0.0, 1.0))
    assert parse("full,partial@1501,0.5@5000").in_units_of(1000) == Observability((0, 2, 5), (0.0, 1.0, 0.5))
    assert parse("full,partial@400").in_units_of(1000) == Observability((0,), (1.0,))


@pytest.mark.parametrize("mesh", [(1, 1), (1, 4)])
def test_the_twin_switches_during_training_without_a_new_program(mesh):
    """Full for two updates, then a quarter of the environments partial, then all: the same ones on any mesh."""
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
        # The history that warms up the memory keeps the twin that was drawn.
        np.testing.assert_array_equal(state.actors.history.slots.latent.partial[0, :, -1], latent[0])
    assert not np.any(seen[:2])
    np.testing.assert_array_equal(np.flatnonzero(seen[2]), [3, 7, 11, 15])
    assert np.all(seen[3])


def test_a_run_evaluates_right_before_and_after_a_switch():
    """The command line's schedule is in frames; switches move to whole calls, of 2 x 64 frames here."""
    command = ["launch", "--config=configs/pqn_lru.py:preset=smoke", "--config.evaluation.every=100"]
    command += ["--config.environment.observability=full,partial@600"]
    run = build(command_line.load(launch.make_flags(), command))
    assert run.updater.observability == Observability((0, 10), (0.0, 1.0))
    assert run.switches == (10,)
    assert [updates for updates in range(2, 21, 2) if run.should_evaluate(updates)] == [10, 12, 20]
    assert not run.updater.environment.partial
    assert run.title.endswith("twins full,partial@600")
