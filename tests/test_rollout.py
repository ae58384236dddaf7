"""Rollouts keep latent states only: what is drawn from them is what the actors saw, to the byte."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn
from playing import GAMES

from podarcade import plugins
from podarcade.anakin import rollout
from podarcade.envs.environment import Environment

LENGTH, BATCH = 40, 6


def watcher(game):
    """The environment of a game, and a program: what six actors, three on either twin, see in forty random steps."""
    environment = Environment(plugins.find("games", game)())
    algorithm = pqn(memory="none", num_actions=5, rollout_length=LENGTH, burn_in=2)

    def watch(keys):
        actors = rollout.init_actors(algorithm, environment, keys, jnp.arange(BATCH) % 2 == 1)
        _, timestep = environment.reset(jax.random.key(0))
        params = algorithm.init(jax.random.key(1), timestep)

        def step(state, _):
            actors, observation, slot, counts = rollout.advance(
                algorithm, environment, params, *state, jnp.float32(1.0)
            )
            return (actors, observation), (state[1], slot, counts)

        return jax.lax.scan(step, (actors, rollout.draw(environment, actors)), None, LENGTH)[1]

    return environment, watch


@functools.cache
def played(game):
    """What the actors saw, the slots kept of it, and their counts."""
    environment, watch = watcher(game)
    return environment, jax.jit(watch)(jax.random.key_data(jax.random.split(jax.random.key(4), BATCH)))


# One board game, and one whose partial twin is drawn with noise.
two_games = pytest.mark.parametrize("game", ["minesweeper", "skittles"])


@two_games
def test_frames_drawn_again_are_the_frames_seen(game):
    environment, (seen, slots, _) = played(game)
    # Another program, of another shape: the learner draws whole sequences of some environments.
    some = jnp.asarray([5, 0, 3])
    latent = jax.tree.map(lambda x: x[:, some], slots.latent)
    again = jax.jit(jax.vmap(jax.vmap(environment.draw)))(latent)
    assert again.dtype == jnp.uint8
    np.testing.assert_array_equal(again, seen[:, some])
    assert len(np.unique(np.asarray(seen).reshape(LENGTH * BATCH, -1), axis=0)) > LENGTH


@pytest.mark.parametrize("game", GAMES)
def test_a_transition_costs_less_than_a_kilobyte(game):
    _, watch = watcher(game)
    seen, slots, _ = jax.eval_shape(watch, jax.ShapeDtypeStruct((BATCH, 2), jnp.uint32))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(slots)) / (LENGTH * BATCH)
    assert size < 1024
    assert seen.size / (LENGTH * BATCH) == 49152


@two_games
def test_flags_of_neighbouring_slots_agree(game):
    _, (_, slots, counts) = played(game)
    over = np.asarray(slots.terminal | slots.truncated)
    start = np.asarray(slots.start)
    assert start[0].all()
    np.testing.assert_array_equal(start[1:], over[:-1])
    assert over.any()
    assert int(counts.steps.sum()) == LENGTH * BATCH - over.sum()
    assert np.all(np.asarray(slots.reward)[start] == 0)
