"""Scripted players of the games with pixels, and what they see."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import GAMES, make

BATCH, STEPS = 32, 40


def mixtures(game, seen, key):
    """Compare states of random play with mixtures of two of them.

    Returns, each bool[fields, BATCH]: whether the mixture, which takes some elements of one field from another state,
    differs from the first state; whether it looks the same to `seen`; and whether its partial frame is the same.
    """
    reset_key, play_key, mix_key = jax.random.split(key, 3)
    states = jax.vmap(game.reset)(jax.random.split(reset_key, BATCH))
    last = np.maximum(np.arange(BATCH) * 52 // BATCH - 12, 0)  # a quarter of the states are at time 0

    def one(carry, inputs):
        states, over = carry
        time, key = inputs
        actions, keys = jax.random.randint(key, (BATCH,), 0, 5), jax.random.split(key, BATCH)
        new, _, terminal = jax.vmap(game.step)(states, actions, keys)
        over |= time >= last
        keep = lambda old, new: jnp.where(over.reshape(-1, *[1] * (new.ndim - 1)), old, new)  # noqa: E731
        return (jax.tree.map(keep, states, new), over | terminal), None

    times = jnp.arange(STEPS), jax.random.split(play_key, STEPS)
    (states, _), _ = jax.lax.scan(one, (states, jnp.zeros(BATCH, bool)), times)
    leaves, structure = jax.tree.flatten(states)
    names = [path[-1].name for path, _ in jax.tree_util.tree_flatten_with_path(states)[0]]
    mixed = []
    for index, leaf in enumerate(leaves):
        take = jax.random.bernoulli(jax.random.fold_in(mix_key, index), 0.2, leaf.shape) if leaf.ndim > 1 else True
        other = {index: jnp.where(take, jnp.roll(leaf, 1 + BATCH // 2, 0), leaf)}
        if names[index] in ("time", "score"):  # equal in some games, which draw only one of them
            other = {i: jnp.roll(leaves[i], 1, 0) for i, name in enumerate(names) if name in ("time", "score")}
        mixed.append(jax.tree.unflatten(structure, [other.get(i, old) for i, old in enumerate(leaves)]))
    # One program draws all: the first of the list are the states themselves.
    every = jax.tree.map(lambda *leaves: jnp.stack(leaves), states, *mixed)
    look, draw = jax.vmap(seen), jax.vmap(lambda state: game.draw(state, jnp.asarray(True)))
    looks, frames = jax.lax.map(lambda state: (look(state), draw(state)), every)

    def same(tree):
        parts = [jnp.all((leaf[1:] == leaf[:1]).reshape(len(mixed), BATCH, -1), 2) for leaf in jax.tree.leaves(tree)]
        return jnp.stack(parts).all(0)

    return ~same(every), same(looks), same(frames)


@pytest.mark.parametrize("name", GAMES)
def test_players_see_exactly_what_the_partial_frame_shows(name):
    game, players = make(name), importlib.import_module(f"benchmarks.bounds.{name}")
    program = jax.jit(lambda key: mixtures(game, players.seen, key))
    differs, same_seen, same_frame = map(np.asarray, program(jax.random.key(1)))
    np.testing.assert_array_equal(same_seen, same_frame)
    assert (differs & same_frame).sum() >= 10 and (~same_frame).sum() >= 10
