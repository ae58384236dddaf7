"""Scripted players of the games with pixels, and what they see."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import GAMES, make

from benchmarks import bounds
from benchmarks.bounds import __main__ as recording
from benchmarks.bounds import autoencode, battleship, breakout, mines, minesweeper, tabular, walks

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


@pytest.mark.parametrize("side", [8, 10, 12])
def test_cycles_visit_every_cell_and_close(side):
    moves = walks.cycle(side)
    order = walks.order(moves)
    np.testing.assert_array_equal(np.sort(order.ravel()), np.arange(side**2))
    last = np.argwhere(order == side**2 - 1)[0]
    assert tuple(last) == (1, 0) and moves[1, 0] == walks.UP


@pytest.mark.parametrize(
    ("players", "kind"), [(battleship, "memoryless"), (autoencode, "memory"), (breakout, "memoryless")]
)
@pytest.mark.parametrize("level", ["easy", "hard"])
def test_exact_players_return_one(players, kind, level):
    game = make(players.__name__.rpartition(".")[2], level)
    np.testing.assert_allclose(bounds.play(game, getattr(players, kind)(game), 16).returns, 1, atol=1e-5)


def test_exact_chances_of_mines_are_those_of_all_boards():
    numbers = np.full(16, -1, np.int32)
    places = mines.boards(4, 2)
    counts = (places @ mines.near(4)).astype(int)
    numbers[[0, 5]] = counts[17, [0, 5]] if not places[17, [0, 5]].any() else 0
    agree = np.array(
        [all(not b[c] and k[c] == numbers[c] for c in (0, 5)) for b, k in zip(places, counts, strict=True)]
    )
    np.testing.assert_allclose(mines.chances(4, 2)(jnp.asarray(numbers)), places[agree].mean(0), atol=1e-6)


def test_fitted_chances_find_certain_mines():
    """A corner that shows one mine with one hidden neighbour; and chances sum to the number of mines."""
    numbers = np.full(36, -1, np.int32)
    numbers[[0, 1, 6]] = 1
    chances = np.asarray(mines.chances(6, 6)(jnp.asarray(numbers)))
    assert chances[7] > 0.99 and chances[[2, 8, 12, 13]].max() < 0.05
    np.testing.assert_allclose(chances.sum(), 6, atol=0.1)


def test_the_search_climbs_the_return():
    """Uniform play of the easy board earns -0.02."""
    game = make("minesweeper")
    index = lambda seen: (4 * seen.row + seen.column) * 4 + jnp.clip(seen.face + 1, 0, 3)  # noqa: E731
    logits = tabular.search(game, minesweeper.seen, index, 64, iterations=15, episodes=256)
    play = jax.jit(lambda logits, key: tabular.play(game, minesweeper.seen, index, logits, 256, key))
    _, _, returns, _ = play(logits, jax.random.key(1))
    assert returns[0].mean() > 0.2


def test_known_policies_stay_where_they_are_better():
    played = {kind: {"mean": mean, "error": 0.01} for kind, mean in [("memoryless", 0.5), ("memory", 0.8)]}
    known = {"memoryless": {"mean": 0.6, "policy": "a"}, "memory": {"mean": 0.9, "policy": "b"}}
    better = recording.with_known(played, known)
    assert better == played | {"with_action": known["memoryless"], "memory": known["memory"]}
    worse = {kind: {"mean": 0.51, "policy": "c"} for kind in known}
    assert recording.with_known(played, worse) == played
    assert recording.with_known({"random": played["memory"]}, known) == {"random": played["memory"]} | known


@pytest.mark.parametrize("name", ["cartpole", "noisycartpole"])
def test_arrows_are_enough_for_a_filter_to_balance(name):
    game, players = make(name, "hard"), importlib.import_module(f"benchmarks.bounds.{name}")
    assert bounds.play(game, players.memory(game), 64).mean > 0.99
