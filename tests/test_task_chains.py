"""MemoryChain, MemorySize, DiscountingChain, UmbrellaChain and DelayedCatch: known sequences, laws and players."""

import math

import jax
import numpy as np
import pytest
from task_playing import fields, make, random_play, starts
from task_replay import assert_mean, episodes, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import delayed_catch, discounting_chain, memory_chain, memory_size, umbrella_chain
from podarcade.envs.tasks.delayed_catch import BASKET_COLUMNS, FRUIT_COLUMNS, SIDE
from podarcade.envs.tasks.discounting_chain import DELAYS

EPISODES = 2000
both_rules = pytest.mark.parametrize("rules", ["strict", "published"])


# MemoryChain and MemorySize.


def asked(task, cue, query):
    """The state at time 0 with these bits, and with this question where it is drawn at once."""
    return task.reset(jax.random.key(0)).replace(cue=np.int8(cue), query=np.int8(query))


def test_published_memory_chain_lags():
    """bsuite's sequence for L = 3: the cue is seen twice, and the decision follows the question."""
    task = make("memory_chain", rules="published", memory_length=3, num_bits=4)
    cue = np.array([0, 1, 1, 0])
    seen = replay(task, [[0, 0, 0, 1], [1, 1, 1, 0]], asked(task, cue, 2))
    signs, nothing = 2 * cue - 1, np.zeros(4)
    expected = [[1, 0, *signs], [1, 0, *signs], [2 / 3, 0, *nothing], [1 / 3, 2, *nothing], [0] * 6]
    np.testing.assert_allclose(seen.partial[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(seen.reward.T, [[0, 0, 0, 1], [0, 0, 0, -1]])
    np.testing.assert_array_equal(seen.terminal[:, 0], [False, False, False, True])


def test_published_memory_chain_of_length_one_needs_no_memory():
    task = make("memory_chain", rules="published", memory_length=1, num_bits=2)
    seen = replay(task, [[0, 1]], asked(task, [0, 1], 1))
    np.testing.assert_allclose(seen.partial[:, 0], [[1, 1, -1, 1], [1, 1, -1, 1], [0, 0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(seen.reward[:, 0], [0, 1])


def test_strict_memory_chain_does_not_lag():
    """The cue is seen once, L steps before the answer, and every question is told apart from none."""
    task = make("memory_chain", memory_length=3, num_bits=4)
    seen = replay(task, np.ones((200, 4)))
    clock, query = seen.partial[..., 0], seen.partial[..., 1]
    np.testing.assert_allclose(clock[:4], np.array([1, 2 / 3, 1 / 3, 0])[:, None] * np.ones((1, 200)), atol=1e-6)
    assert (np.abs(seen.partial[0, :, 2:]) == 1).all() and not seen.partial[1:, :, 2:].any()
    assert not query[:3].any() and set(query[3]) == {0.25, 0.5, 0.75, 1.0}
    asked_bit = seen.state.cue[0][np.arange(200), np.round(query[3] * 4).astype(int) - 1]
    np.testing.assert_array_equal(seen.reward[3], 2 * asked_bit - 1)
    assert not seen.reward[:3].any()
    # The hidden block is the cue, and the full observation is the whole state.
    np.testing.assert_array_equal(seen.full[1:, :, 2:], np.broadcast_to(seen.partial[0, :, 2:], (4, 200, 4)))


@pytest.mark.parametrize(("name", "rules"), [("memory_size", "strict"), ("memory_size", "published")])
def test_bits_and_questions_are_uniform(name, rules):
    task = make(name, "medium", rules)
    seen = replay(task, np.zeros((EPISODES, 3)))
    bits, query = seen.state.cue[0], seen.state.query[2]
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(EPISODES)
    counts = np.bincount(query, minlength=10)
    # Chi-square with 9 degrees of freedom: 33.7 has a probability of 1e-4.
    assert len(counts) == 10 and ((counts - EPISODES / 10) ** 2).sum() / (EPISODES / 10) < 33.7


@both_rules
def test_memory_chain_players(rules):
    """Remembering earns 1, and so does repeating one's own action; guessing earns 0."""
    task = make("memory_chain", rules=rules)
    for player in (memory_chain.memory(task), memory_chain.with_action(task)):
        assert (bounds.play(task, player, 100).returns == 1).all()
    assert_mean(bounds.play(task, memory_chain.memoryless(task), EPISODES).returns, 0)


@pytest.mark.parametrize(("level", "bits"), [("easy", 3), ("hard", 40)])
def test_memory_size_players(level, bits):
    """An action holds the majority of the bits."""
    task = make("memory_size", level)
    channel = 2 * math.comb(bits - 1, (bits - 1) // 2) / 2**bits
    assert_mean(bounds.play(task, memory_size.with_action(task), EPISODES).returns, channel)
    assert (bounds.play(task, memory_size.memory(task), 200).returns == 1).all()


# DiscountingChain.


@pytest.mark.parametrize("seed", [2, 7])
def test_discounting_chain_pays_once_after_the_delay(seed):
    """bsuite takes the seed mod 5; the end is terminal, not a limit."""
    for rules in ("strict", "published"):
        task = make("discounting_chain", rules=rules, mapping_seed=seed)
        seen = replay(task, np.repeat(np.arange(5)[:, None], 100, axis=1))
        expected = np.zeros((100, 5))
        expected[np.array(DELAYS) - 1, np.arange(5)] = [1, 1, 1.1, 1, 1]
        np.testing.assert_allclose(seen.reward, expected, atol=1e-6)
        np.testing.assert_array_equal(seen.terminal, np.repeat(np.arange(100)[:, None] == 99, 5, axis=1))
        np.testing.assert_allclose(seen.partial[:, 0, 0], np.arange(101) / 100, atol=1e-6)
        first, chosen = (-1, np.arange(5)) if rules == "published" else (0, np.arange(1, 6) / 5)
        np.testing.assert_allclose(seen.full[0, :, 1], first, atol=1e-6)
        np.testing.assert_allclose(seen.full[1:, :, 1], np.broadcast_to(chosen, (100, 5)), atol=1e-6)
        assert not seen.partial[1:, :, 1].any()


def test_only_the_first_action_chooses():
    task = make("discounting_chain")
    actions = np.random.default_rng(0).integers(0, 5, (EPISODES, 100))
    seen = replay(task, actions)
    returns = seen.reward.sum(axis=0)
    np.testing.assert_allclose(returns, np.where(actions[:, 0] == task.mapping_seed, 1.1, 1.0), atol=1e-6)
    assert_mean(returns, 1.02)
    best = bounds.play(task, discounting_chain.memory(task), 4)
    np.testing.assert_allclose(best.returns, 1.1, atol=1e-6)


# UmbrellaChain.


def test_umbrella_chain_pays_the_decision_at_the_end():
    task = make("umbrella_chain")
    actions = np.random.default_rng(0).integers(0, 2, (EPISODES, 10))
    seen = replay(task, actions)
    part = fields(task, seen.full)
    need = part["need"][0, :, 0]
    np.testing.assert_array_equal(seen.reward[-1], np.where(actions[:, 0] == need, 1, -1))
    np.testing.assert_array_equal(part["have"][1:, :, 0], np.broadcast_to(actions[:, 0], (10, EPISODES)))
    np.testing.assert_array_equal(seen.terminal, np.repeat(np.arange(10)[:, None] == 9, EPISODES, axis=1))
    np.testing.assert_allclose(part["clock"][:, 0, 0], 1 - np.arange(11) / 10, atol=1e-6)
    # Coins are fair, and drawn again for each step.
    error = 4.5 * 0.5 / np.sqrt(EPISODES)
    assert set(np.unique(seen.reward)) == {-1, 1} and np.abs(seen.reward.mean(axis=1)).max() < 2 * error
    distractors = part["distractors"]
    assert np.abs(distractors.mean(axis=1) - 0.5).max() < error and abs(need.mean() - 0.5) < error
    assert np.abs((distractors[1:] == distractors[:-1]).mean(axis=1) - 0.5).max() < error
    assert np.abs((distractors[1:, :, :1] == distractors[1:, :, 1:]).mean(axis=1) - 0.5).max() < error


def test_umbrella_chain_players():
    for length in (1, 10):
        task = make("umbrella_chain", chain_length=length)
        assert_mean(bounds.play(task, umbrella_chain.memoryless(task), EPISODES).returns, 1, 1e-6)
    assert_mean(first_returns(random_play(task)), 0)


# DelayedCatch.


@both_rules
def test_delayed_catch_pays_at_the_end(monkeypatch, rules):
    """Two runs with the fruit in column 0 and the basket in 4: six actions to the left catch it."""
    task = make("delayed_catch", rules=rules, runs=3)  # a task of its own: the patch is compiled into its program
    monkeypatch.setattr(type(task), "_place", lambda self, key: (np.int8(0), np.int8(4)))
    runs = [[0] * 6 + [2] + [0] * 6 + [0] + [0] * 6, [0] * 6 + [2] + [2] * 6 + [0] + [0] * 6, [1] * 20]
    seen = replay(task, runs)
    assert not seen.reward[:-1].any() and seen.terminal[-1].all() and not seen.terminal[:-1].any()
    np.testing.assert_array_equal(seen.reward[-1], [3, 2, 0])
    board = fields(task, seen.partial)["board"].reshape(21, 3, SIDE, SIDE)
    # The fruit falls by a row per action; the basket stops at the wall, and covers what it has caught.
    for time in range(6):
        assert board[time, 0, time, 0] == -1 and board[time, 0, 6, max(4 - time, 0)] == 1
    assert board[6, 0, 6, 0] == 1 and (board[6, 0] != 0).sum() == 1
    assert board[6, 2, 6, 0] == -1 and board[6, 2, 6, 4] == 1
    assert board[7, 0, 0, 0] == -1 and board[7, 0, 6, 4] == 1
    np.testing.assert_allclose(fields(task, seen.full)["caught"][[5, 6, 13, 20], 0, 0], [0, 1 / 3, 2 / 3, 1], atol=1e-6)
    np.testing.assert_allclose(fields(task, seen.full)["clock"][:, 0, 0], np.arange(21) / 20, atol=1e-6)


def test_delayed_catch_starts():
    """Fruit in columns 0 to 5, baskets in 1 to 4, all 24 pairs equally often, also in later runs."""
    task = make("delayed_catch")
    first = starts(task, 2400)
    later = replay(task, np.ones((2400, 7))).state
    for fruit, basket in ((first.fruit, first.basket), (later.fruit[7], later.basket[7])):
        counts = np.bincount(fruit * BASKET_COLUMNS + basket - 1, minlength=24)
        # Chi-square with 23 degrees of freedom: 56.6 has a probability of 1e-4.
        assert len(counts) == FRUIT_COLUMNS * BASKET_COLUMNS and ((counts - 100) ** 2 / 100).sum() < 56.6


def test_delayed_catch_hidden_block():
    """A spectator of the boards counts the catches."""
    task = make("delayed_catch")
    play = random_play(task)
    board = fields(task, play.partial)["board"].reshape(*play.start.shape, SIDE, SIDE)
    caught = fields(task, play.full)["caught"][..., 0] * task.runs
    for env, steps in episodes(play):
        count = 0
        for time, seen in enumerate(board[steps, env]):
            count += time % 7 == 6 and not (seen < 0).any()
            assert round(float(caught[steps, env][time])) == count


def test_delayed_catch_players():
    """Following the fruit catches all, staying one in six, random play 0.152663."""
    task = make("delayed_catch", "medium")
    assert (bounds.play(task, delayed_catch.memory(task), 200).returns == 5).all()
    assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, 5 * 0.152663)
    assert_mean(replay(task, np.ones((EPISODES, 34))).reward[-1], 5 / 6)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("memory_chain", {"memory_length": 0}),
        ("memory_chain", {"num_bits": 128}),
        ("discounting_chain", {"mapping_seed": -1}),
        ("umbrella_chain", {"chain_length": 0}),
        ("umbrella_chain", {"n_distractor": -1}),
        ("delayed_catch", {"runs": 0}),
    ],
)
def test_values_are_checked(name, values):
    with pytest.raises(ValueError, match=f"{next(iter(values))}="):
        make(name, **values)
