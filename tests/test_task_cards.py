"""Card tasks: RepeatFirst, RepeatPrevious, VectorAutoencode, VectorCountRecall and HigherLower."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_playing import fields, make, random_play
from task_replay import assert_injective, assert_mean, deal_in_order, episodes, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import higher_lower, repeat_first, repeat_previous, vector_autoencode, vector_countrecall
from podarcade.envs.tasks import cards

BY_SUIT = np.arange(52) % 4


def one_hot(kind, kinds):
    return (np.asarray(kind)[..., None] == np.arange(kinds)).astype(np.float32)


def shares(kinds_seen, kinds, each):
    """Share of each kind dealt after every card, [T, kinds]."""
    return np.cumsum(one_hot(kinds_seen, kinds), axis=0) / each


# Dealing.


def test_dealing_on_the_fly_is_a_shuffle():
    """Every suit has its share of every place and of every pair of places; the deck is dealt to its end."""
    decks = 20_000

    @jax.jit
    def dealt(key):
        def one(left, key):
            suit, left = cards.deal(key, left)
            return left, suit

        left = jnp.tile(cards.full_deck(cards.SUITS, 1)[None], (decks, 1))
        return jax.lax.scan(one, left, jax.random.split(key, 53))

    left, suits = jax.tree.map(np.asarray, dealt(jax.random.key(0)))
    assert not left.any() and (suits[52] == cards.SUITS).all()
    counts = one_hot(suits[:52], 4).sum(axis=1)
    assert (one_hot(suits[:52], 4).sum(axis=0) == 13).all()
    # Chi-square of 52 places with 3 degrees of freedom each, correlated by the exact totals: mean 156, s.d. 18.
    statistic = ((counts - decks / 4) ** 2 / (decks / 4)).sum()
    assert 90 < statistic < 230
    for one, other in ((0, 1), (0, 51), (25, 26), (50, 51)):
        same = (suits[one] == suits[other]).mean()
        assert abs(same - 12 / 51) < 4 * np.sqrt(12 / 51 * 39 / 51 / decks)


# Vectors: a deck in a known order, and policies whose return is known.


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_repeat_first_vectors(monkeypatch, rules):
    task = make("repeat_first", rules=rules)
    deal_in_order(monkeypatch, BY_SUIT)
    seen = replay(task, [np.zeros(51), np.ones(51), BY_SUIT[:51]])
    np.testing.assert_allclose(seen.reward.sum(axis=0), [1, -1, -25 / 51], atol=1e-6)
    assert (seen.terminal == (np.arange(51) == 50)[:, None]).all()
    np.testing.assert_array_equal(fields(task, seen.partial)["card"][:, 0], one_hot(BY_SUIT, 4))


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_repeat_previous_vectors(monkeypatch, rules):
    """The card k - 1 steps ago is asked for; it is the first of the window."""
    task = make("repeat_previous", rules=rules)
    deal_in_order(monkeypatch, BY_SUIT)
    seen = replay(task, [(BY_SUIT[:51] + 1) % 4, BY_SUIT[:51], np.zeros(51)])
    np.testing.assert_allclose(seen.reward.sum(axis=0), [1, -1, -0.5], atol=1e-6)
    np.testing.assert_allclose(seen.reward[:, 0], [0] * 3 + [1 / 48] * 48, atol=1e-6)
    assert (seen.terminal == (np.arange(51) == 50)[:, None]).all()


def test_repeat_previous_with_a_window_of_one(monkeypatch):
    deal_in_order(monkeypatch, BY_SUIT)
    seen = replay(make("repeat_previous", k=1), [BY_SUIT[:51]])
    np.testing.assert_allclose(seen.reward, 1 / 51, atol=1e-6)


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_autoencode_vectors(monkeypatch, rules):
    task = make("vector_autoencode", rules=rules)
    deal_in_order(monkeypatch, BY_SUIT)
    # The watched cards, the last of them with the mode play, then the filler.
    echo = np.append(BY_SUIT, np.zeros(51))
    right = np.append(np.zeros(51), BY_SUIT[::-1])
    seen = replay(task, [np.zeros(103), echo, right])
    np.testing.assert_allclose(seen.reward.sum(axis=0), [-0.5, -0.461538, 1], atol=1e-6)
    assert not seen.reward[:51].any() and (np.abs(seen.reward[51:]) > 0).all()
    assert (seen.terminal == (np.arange(103) == 102)[:, None]).all()
    part = fields(task, seen.partial[:, 0])
    play, watch = [1, 0], [0, 1]
    np.testing.assert_array_equal(part["mode"], [watch] * 51 + [play] * 53)
    np.testing.assert_array_equal(part["card"][:52], one_hot(BY_SUIT, 4))
    np.testing.assert_array_equal(part["card"][52:], 0 if rules == "strict" else one_hot([0] * 52, 4))
    assert not fields(task, seen.full)["stack"][-1].any()


def test_countrecall_vectors(monkeypatch):
    """The value on show counts; the answer M is possible."""
    task = make("vector_countrecall")
    assert task.actions.n == 27 and make("vector_countrecall", "hard").actions.n == 17
    deal_in_order(monkeypatch, np.arange(52) % 2)
    seen = replay(task, [np.arange(51) // 2 + 1, np.ones(51), np.full(51, 26)])
    np.testing.assert_allclose(seen.reward.sum(axis=0), [1, -0.921569, -0.960784], atol=1e-6)
    assert seen.reward[50, 2] > 0 and (seen.terminal == (np.arange(51) == 50)[:, None]).all()


@pytest.mark.parametrize(("deck", "higher"), [(np.arange(52) // 4, 12 / 52), (np.arange(52) % 13, 45 / 52)])
def test_higher_lower_vectors(monkeypatch, deck, higher):
    task = make("higher_lower")
    deal_in_order(monkeypatch, deck)
    seen = replay(task, [np.zeros(51), np.ones(51)])
    np.testing.assert_allclose(seen.reward.sum(axis=0), [higher, -higher], atol=1e-6)
    assert (seen.terminal == (np.arange(51) == 50)[:, None]).all()


# Histories: what the partial twin has shown so far gives the hidden block, and the full observation gives the latent.


def test_repeat_first_history():
    task = make("repeat_first")
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        suits = part["card"][steps, env].argmax(axis=1)
        np.testing.assert_array_equal(hidden["first"][steps, env].argmax(axis=1), suits[0])
        np.testing.assert_allclose(hidden["dealt"][steps, env], shares(suits, 4, 13), atol=1e-6)
    assert_injective(play, "first", "card", "left")


def test_repeat_previous_history():
    task = make("repeat_previous")
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        suits = part["card"][steps, env].argmax(axis=1)
        padded = np.append([-1] * 3, suits)
        window = np.stack([one_hot(padded[time : time + 4], 4).reshape(-1) for time in range(len(suits))])
        np.testing.assert_array_equal(hidden["window"][steps, env], window)
        np.testing.assert_allclose(hidden["dealt"][steps, env], shares(suits, 4, 13), atol=1e-6)
    assert_injective(play, "recent", "left")


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_autoencode_history(rules):
    task = make("vector_autoencode", rules=rules)
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        stack = []
        for step in range(steps.start, steps.stop):
            if step - steps.start < 52:
                stack.insert(0, part["card"][step, env].argmax())
            else:
                stack.pop(0)
            expected = one_hot(np.array(stack + [-1] * (52 - len(stack))), 4).reshape(-1)
            np.testing.assert_array_equal(hidden["stack"][step, env], expected)
    assert_injective(play, "stack", "time")


@pytest.mark.parametrize(("level", "types", "each"), [("easy", 2, 26), ("hard", 13, 16)])
def test_countrecall_history(level, types, each):
    """At the hard level the counts of all kinds fit into the state."""
    task = make("vector_countrecall", level)
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        for shown, counted in (("value", "counts"), ("query", "queries")):
            kinds = part[shown][steps, env].argmax(axis=1)
            np.testing.assert_allclose(hidden[counted][steps, env], shares(kinds, types, each), atol=1e-6)
    assert_injective(play, "cards", "left")


def test_higher_lower_history():
    task = make("higher_lower")
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        ranks = part["rank"][steps, env].argmax(axis=1)
        np.testing.assert_allclose(hidden["dealt"][steps, env], shares(ranks, 13, 4), atol=1e-6)
    assert_injective(play, "rank", "left")


# Returns.


@pytest.mark.parametrize(
    ("name", "player", "expected"),
    [
        ("repeat_first", repeat_first.memoryless, -0.4994),
        ("repeat_previous", repeat_previous.memoryless, -0.4902),
        ("vector_autoencode", vector_autoencode.memoryless, -0.4712),
        ("vector_countrecall", vector_countrecall.memoryless, -0.9230),
        ("vector_countrecall", vector_countrecall.clock, -0.4054),
        ("higher_lower", higher_lower.memoryless, 84 / 169),
        ("higher_lower", higher_lower.memory, 0.528),
    ],
)
def test_players_earn_what_is_known(name, player, expected):
    task = make(name)
    played = bounds.play(task, player(task), 500)
    assert (played.lengths == task.max_steps).all()
    assert_mean(played.returns, expected, 5e-5 if expected != 0.528 else 5e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("repeat_first", -0.5),
        ("repeat_previous", -0.5),
        ("vector_autoencode", -0.5),
        ("vector_countrecall", -0.9259),
        ("higher_lower", 0.0),
    ],
)
def test_random_play_earns_what_is_known(name, expected):
    assert_mean(first_returns(random_play(make(name))), expected)


@pytest.mark.parametrize(
    ("name", "player", "level"),
    [
        ("repeat_first", repeat_first.with_action, "easy"),
        ("repeat_first", repeat_first.memory, "medium"),
        ("repeat_previous", repeat_previous.memory, "hard"),
        ("vector_autoencode", vector_autoencode.memory, "easy"),
        ("vector_countrecall", vector_countrecall.memory, "hard"),
    ],
)
def test_players_with_memory_earn_all(name, player, level):
    task = make(name, level)
    np.testing.assert_allclose(bounds.play(task, player(task), 32).returns, 1, atol=1e-5)


# Sizes.


@pytest.mark.parametrize(
    ("name", "sizes", "observations"),
    [
        ("repeat_first", (18, 18, 18), (12, 12, 12)),
        ("repeat_previous", (20, 48, 80), (24, 136, 264)),
        ("vector_autoencode", (60, 112, 164), (214, 422, 630)),
        ("vector_countrecall", (14, 18, 36), (8, 16, 52)),
        ("higher_lower", (22, 22, 22), (26, 26, 26)),
    ],
)
def test_bytes_of_states_and_sizes_of_observations(name, sizes, observations):
    for level, size, observation in zip(("easy", "medium", "hard"), sizes, observations, strict=True):
        task = make(name, level)
        state = jax.eval_shape(task.reset, jax.random.key(0))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) == size
        assert jax.eval_shape(task.draw, state, np.bool_(True)).shape == (observation,)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("repeat_previous", {"k": 52}, "k=52; expected 1 to 51 with decks=1"),
        ("vector_countrecall", {"types": 5}, "types=5; expected a divisor of 52 with decks=1"),
        ("higher_lower", {"decks": 64}, "decks=64; expected 1 to 63"),
    ],
)
def test_parameters(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(name, **wrong)
