"""Evaluation plays exactly one whole episode a lane, of both twins from the same starts, on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import pqn, updater
from probes import Probe

from podarcade.anakin import rollout, sharding
from podarcade.anakin.evaluate import Evaluator, by_twin, play
from podarcade.envs.environment import Environment
from podarcade.envs.games.cartpole import CartPole
from podarcade.envs.games.minesweeper import MineSweeper

KEY = jax.random.key_data(jax.random.key(11))


def evaluate(game, algorithm, params, episodes=4, mesh=(1, 1), exploration=0.0, players=0, first=(0,)):
    """Return {"return_full": [S, episodes], ...}."""
    seeds = len(jax.tree.leaves(params)[0])
    first = np.broadcast_to(np.asarray(first, np.uint32), seeds)
    evaluator = Evaluator(algorithm, Environment(game), sharding.make_mesh(*mesh), episodes, players)
    return by_twin(jax.device_get(evaluator.compile(params)(params, KEY, first, jnp.float32(exploration))))


@pytest.fixture(scope="module")
def mines():
    algorithm = pqn(memory="lru", num_actions=5)
    return algorithm, jax.device_get(updater(MineSweeper(), algorithm).init(jnp.asarray([0, 1])).learner.params)


def one_by_one(game, algorithm, params, partial, episodes):
    """The same greedy episodes in a plain loop over single environments."""
    environment = Environment(game)
    step = jax.jit(lambda actors, seen: rollout.advance(algorithm, environment, params, actors, seen, jnp.float32(0)))
    start = jax.jit(lambda key: rollout.init_actors(algorithm, environment, key, jnp.asarray([partial])))
    draw = jax.jit(lambda actors: rollout.draw(environment, actors))
    returns, lengths = [], []
    for lane in range(episodes):
        key = jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(KEY), lane))
        actors = start(key[None])
        observation, total, length, over = draw(actors), 0.0, 0, False
        while not over:
            actors, observation, _, counts = step(actors, observation)
            total, length, over = total + float(actors.timestep.reward[0]), length + 1, bool(counts.episodes[0])
        returns.append(total)
        lengths.append(length)
    return returns, lengths


def test_each_lane_is_one_whole_episode(mines):
    algorithm, params = mines
    results = evaluate(MineSweeper(), algorithm, params)
    for seed in range(2):
        alone = jax.tree.map(lambda x, seed=seed: x[seed], params)
        for name, partial in (("full", False), ("partial", True)):
            returns, lengths = one_by_one(MineSweeper(), algorithm, alone, partial, 4)
            assert results[f"return_{name}"][seed] == pytest.approx(returns, abs=1e-5)
            assert results[f"length_{name}"][seed].tolist() == lengths


def test_the_mesh_does_not_matter(mines):
    algorithm, params = mines
    alone, *others = (evaluate(MineSweeper(), algorithm, params, 8, mesh) for mesh in ((1, 1), (2, 1), (2, 4)))
    for spread in others:
        for name, value in alone.items():
            np.testing.assert_allclose(value, spread[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("players", [1, 3, 16])
def test_how_many_play_at_once_does_not_matter(mines, players):
    algorithm, params = mines
    some = evaluate(MineSweeper(), algorithm, params, 8)
    for name, value in evaluate(MineSweeper(), algorithm, params, 8, players=players).items():
        np.testing.assert_allclose(value, some[name], rtol=1e-5, atol=1e-6)


def test_random_play_does_not_see_which_twin_it_is_on(mines):
    algorithm, params = mines
    results = evaluate(MineSweeper(), algorithm, params, 16, exploration=1.0)
    np.testing.assert_array_equal(results["return_full"], results["return_partial"])
    assert results["length_full"].mean(axis=1).min() > 1


def test_the_twin_that_hides_the_cue_is_the_one_that_fails():
    """A memoryless agent that has learnt to follow the cue on the full twin."""
    algorithm = pqn(memory="none", learning_rate=3e-3)
    trainer = updater(Probe(length=3, pays="match"), algorithm, updates=100)
    state = trainer.init(jnp.asarray([0]))
    state, _ = trainer.compile(state, 100)(state)
    results = evaluate(Probe(length=3, pays="match"), algorithm, state.learner.params, 64)
    assert (results["return_full"] == 1.0).all()
    assert 0.25 < results["return_partial"].mean() < 0.75


def test_a_clip_is_one_episode_of_each_twin(mines):
    algorithm, params = mines
    alone = jax.tree.map(lambda x: x[0], params)
    clips = play(algorithm, Environment(MineSweeper()), alone, KEY, 32)
    for name, partial in (("full", False), ("partial", True)):
        frames, total, over = clips[name]
        assert over
        assert frames.dtype == np.uint8
        assert frames.shape[1:] == (128, 128, 3)
        assert 2 <= len(frames) <= 33
        assert -1 <= total <= 1
        assert np.array_equal(frames[0], clips["full"][0][0]), partial
    # What is cut off is said to be.
    for frames, _, over in play(algorithm, Environment(CartPole()), alone, KEY, 1).values():
        assert len(frames) == 2 and not over


def test_fresh_starts_are_other_episodes_for_each_seed(mines):
    """Seed s plays the starts from first[s] on, so a window moved by two shares half of its episodes."""
    algorithm, params = mines
    alone, twice = (jax.tree.map(lambda x, count=count: x[jnp.zeros(count, int)], params) for count in (1, 2))
    play_one = Evaluator(algorithm, Environment(CartPole()), sharding.make_mesh(1, 1), 1).compile(alone)
    played = [play_one(alone, KEY, np.array([start], np.uint32), jnp.float32(0)) for start in range(6)]
    lengths = [int(lanes["length"][0, 0]) for lanes in played]
    assert len(set(lengths)) > 1
    found = evaluate(CartPole(), algorithm, twice, 4, (2, 2), first=(0, 2))["length_full"]
    assert found.tolist() == [lengths[:4], lengths[2:]]


def test_episodes_that_do_not_divide_are_an_error():
    with pytest.raises(ValueError, match=r"evaluation.episodes=3 .* use 4"):
        Evaluator(pqn(), Environment(Probe()), sharding.make_mesh(1, 4), 3)


def test_the_clip_is_of_the_median_start(mines):
    """Shown is the start with the lower median of the sum over both twins."""
    algorithm, params = mines
    alone = jax.tree.map(lambda x: x[0], params)
    full, partial = (np.asarray(one_by_one(CartPole(), algorithm, alone, twin, 6)[0]) for twin in (False, True))
    clips = play(algorithm, Environment(CartPole()), alone, KEY, 200, starts=6)
    totals = np.sort(full + partial)
    assert totals[2] < totals[-1], "the best is another one"
    assert clips["full"][1] + clips["partial"][1] == pytest.approx(totals[2], abs=1e-5)
