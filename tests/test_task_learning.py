"""What agents learn on tasks: the full twin is learnable, memory solves the partial one, controls do not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade import build, plugins
from podarcade.anakin.evaluate import by_twin
from podarcade.configuration import files
from podarcade.envs import bounds

pytestmark = pytest.mark.slow
TASKS = ("tmaze", "memory_chain", "repeat_previous", "repeat_first")


@functools.cache
def returns(game, memory, twin, seeds=3):
    """Greedy return of each seed on the twin that it was trained on, PPO's preset `cpu`, on fresh starts."""
    config = files.read(f"configs/ppo.py:game={game},memory={memory},partial={twin == 'partial'},preset=cpu")
    config.seeds = seeds
    made = build.build(config)
    state = made.updater.init(jnp.asarray(made.seeds, jnp.int32))
    program = made.updater.compile(state, made.updates_per_call)
    for _ in range(made.updater.total_updates // made.updates_per_call):
        state, _ = program(state)
    evaluate = made.evaluator.compile(state.learner.params)
    first, key = np.full(seeds, 10**6, np.uint32), jnp.zeros(2, jnp.uint32)
    found = by_twin(jax.device_get(evaluate(state.learner.params, key, first, jnp.float32(0))))
    return found[f"return_{twin}"].mean(axis=1)


@pytest.mark.parametrize("game", TASKS)
def test_without_memory_the_full_twin_is_solved(game):
    assert (returns(game, "none", "full") >= 0.95).all()


@pytest.mark.parametrize("game", ["tmaze", "memory_chain", "repeat_previous"])
def test_without_memory_no_agent_passes_the_bound_of_the_partial_twin(game):
    known = bounds.find(plugins.find("games", game).__name__ + "Easy")
    assert (returns(game, "none", "partial") <= known.memoryless + 0.1).all()


@pytest.mark.parametrize("game", ["tmaze", "memory_chain", "repeat_previous"])
def test_with_memory_the_partial_twin_is_solved(game):
    assert returns(game, "lru", "partial").mean() >= 0.8
