"""AutoEncode: known returns and lengths, and what its frames show."""

import numpy as np
import pytest
from playing import both_rules, differing, draw, every_level, fresh, make, starts, step

from podarcade import plugins

HEART, SPADE, CLUB, DIAMOND = range(4)
DECKS = 64  # one batch size for all steps, so that each game is compiled once
COLUMNS = {26: 6, 52: 8, 78: 12}


def table(level="easy", rules="strict", count=DECKS, **fields):
    """A game and a batch of its first states, with some fields set."""
    game = make("autoencode", level, rules)
    state = fresh(game, count)
    values = {
        name: np.broadcast_to(np.asarray(value, getattr(state, name).dtype), getattr(state, name).shape)
        for name, value in fields.items()
    }
    return game, state.replace(**values)


def walk(game, state, policy, steps):
    """Return (returns[B], lengths[B], last state) of first episodes, cut after `steps`; the policy sees the state."""
    count = len(state.time)
    total, length, alive = np.zeros(count), np.zeros(count, int), np.ones(count, bool)
    for _ in range(steps):
        state, reward, terminal = step(game, state, policy(state))
        total, length, alive = total + reward * alive, length + alive, alive & ~terminal
        if not alive.any():
            break
    return total, length, state


def clairvoyant(state):
    """Turn the short way to the suit to name next, and confirm there."""
    wanted = np.take_along_axis(state.cards, np.maximum(state.cards.shape[1] - 1 - state.answers, 0)[:, None], 1)[:, 0]
    turns = (wanted - state.selector) % 4
    return np.where(turns == 0, 4, np.where(turns == 3, 3, 2))


def referee(cards, rules, actions):
    """Reference implementation: yields reward, end, selector, answers and score after each action."""
    selector = answers = score = 0
    count = len(cards)
    for time, action in enumerate(actions):
        if action == 2:
            selector = {HEART: SPADE, SPADE: CLUB, CLUB: DIAMOND, DIAMOND: HEART}[selector]
        elif action == 3:
            selector = {SPADE: HEART, CLUB: SPADE, DIAMOND: CLUB, HEART: DIAMOND}[selector]
        late_end = answers == count or time >= 10 * count
        reward = 0
        if time == count or (time > count and action == 4):
            pile = list(cards)[: count - answers] or [cards[0]]
            if pile[-1] == selector:
                reward, score = 1 / count, score + 1
            answers += 1
        over = answers == count if rules == "strict" else late_end
        yield reward, over, selector, answers, score
        if over:
            return


@both_rules
@every_level
def test_autoencode_agrees_with_the_reference(level, rules):
    game, state = table(level, rules)
    generator = np.random.default_rng(0)
    # Some players hardly ever confirm, some always: so that every way to an end is taken.
    confirms = np.linspace(0, 1, DECKS)
    actions = np.where(
        generator.random((12 * 26, DECKS)) < confirms, 4, generator.choice([-1, 0, 1, 2, 3, 5], (12 * 26, DECKS))
    )
    players = [list(referee(deck, rules, actions[:, column])) for column, deck in enumerate(state.cards)]
    played = []
    for action in actions:
        state, reward, terminal = step(game, state, action)
        played.append(np.stack([reward, terminal, state.selector, state.answers, state.score], 1))
    for column, expected in enumerate(players):
        np.testing.assert_allclose([step[column] for step in played[: len(expected)]], expected, rtol=1e-6)
    ended = np.array([expected[-1][1] for expected in players])
    assert ended.any() and (ended.all() if (level, rules) == ("easy", "published") else not ended[0])


@both_rules
@every_level
def test_autoencode_clairvoyant_player(level, rules):
    game, state = table(level, rules)
    n, late = game.count, rules == "published"
    returns, lengths, last = walk(game, state, clairvoyant, 4 * n)
    np.testing.assert_allclose(returns, (n + late) / n, rtol=1e-6)
    np.testing.assert_array_equal(last.score[lengths == lengths.max()], n + late)
    assert lengths.min() > 2 * n + late and lengths.max() <= 4 * n - 1 + late < game.max_steps


@both_rules
@every_level
def test_autoencode_shortest_and_worst_games(level, rules):
    """A deck of hearts alone: confirming all the time takes 2 n steps; with another suit chosen it pays nothing."""
    n, late = make("autoencode", level).count, rules == "published"
    for selector, expected in ((HEART, (n + late) / n), (SPADE, 0)):
        game, state = table(level, rules, cards=HEART, selector=selector)
        returns, lengths, _ = walk(game, state, lambda _: 4, 3 * n)
        np.testing.assert_allclose(returns, expected, rtol=1e-6)
        np.testing.assert_array_equal(lengths, 2 * n + late)


def test_autoencode_published_extra_step_pays_for_a_confirmation_alone():
    for action, paid in ((4, True), (0, False), (2, False)):
        game, state = table(rules="published", cards=HEART, answers=26, score=26, time=60)
        _, reward, terminal = step(game, state, action)
        np.testing.assert_allclose(reward, paid / 26, rtol=1e-6)
        assert terminal.all()


@both_rules
@every_level
def test_autoencode_idling(level, rules):
    """One answer, at time n; only the published game ends on its own, one step after the limit."""
    game, state = table(level, rules)
    n = game.count
    returns, lengths, last = walk(game, state, lambda _: 0, 10 * n + 1)
    np.testing.assert_array_equal(lengths, 10 * n + 1)
    np.testing.assert_array_equal(last.answers, 1)
    np.testing.assert_allclose(returns, (state.cards[:, -1] == HEART) / n, rtol=1e-6)
    assert game.time_limit == (10 * n if rules == "strict" else None)
    _, _, terminal = step(game, last.replace(time=last.time - 1), 0)
    assert (terminal == (rules == "published")).all()


@both_rules
def test_autoencode_last_card_is_two_turns_away(rules):
    """The selector turns before the forced answer, which no action prevents; before it, confirming does nothing."""
    game, state = table(rules=rules, time=25)
    for first, second, named in (
        (2, 2, CLUB),
        (3, 3, CLUB),
        (0, 3, DIAMOND),
        (2, 0, SPADE),
        (4, 4, HEART),
        (4, 9, HEART),
    ):
        after, reward, _ = step(game, state, first)
        assert (after.answers == 0).all() and (reward == 0).all()
        after, reward, _ = step(game, after, second)
        np.testing.assert_array_equal(after.answers, 1)
        np.testing.assert_allclose(reward, (state.cards[:, -1] == named) / 26, rtol=1e-6)


@every_level
def test_autoencode_decks_are_shuffled(level):
    game = make("autoencode", level)
    state, n = starts(game), game.count
    decks = state.cards
    assert decks.dtype == np.int8 and (state.selector == HEART).all()
    of_suit = np.array([len(range(suit, n, 4)) for suit in range(4)])
    for suit in range(4):
        assert ((decks == suit).sum(1) == of_suit[suit]).all()
        share = of_suit[suit] / n
        error = np.sqrt(share * (1 - share) / len(decks))
        assert np.abs((decks == suit).mean(0) - share).max() < 4.5 * error
    expected = (of_suit * (of_suit - 1)).sum() / (n * (n - 1))
    for apart in (1, 2, n // 2):
        pairs = decks[:, apart:] == decks[:, :-apart]
        assert abs(pairs.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / pairs.size)


def looks(game, state, partial=False):
    """Return the number of distinct frames of a batch of any size."""
    count = len(state.time)
    pick = lambda rows: type(state)(**{name: leaf[rows] for name, leaf in vars(state).items()})  # noqa: E731
    batches = np.array_split(np.arange(count), -(-count // 136))
    return len({frame.tobytes() for rows in batches for frame in draw(game, pick(rows), partial)})


def same_deck(level, rules="strict", count=128, **fields):
    """Return a batch that shares one deck."""
    deck = fresh(make("autoencode", level, rules)).cards[0]
    return table(level, rules, count, **{"cards": deck, **fields})


@every_level
def test_autoencode_full_frame_shows_what_matters_for_the_future(level):
    n = make("autoencode", level).count
    times = np.arange(10 * n + 1)
    watched = same_deck(level, count=n + 1, time=times[: n + 1])
    assert looks(*watched) == n + 1
    # Once all cards are dealt, time runs on with the same answers, and the same time with other answers.
    waited = same_deck(level, count=len(times) - n - 1, time=times[n + 1 :], answers=1)
    assert looks(*waited) == len(times) - n - 1
    answered = same_deck(level, count=n, time=3 * n, answers=np.arange(1, n + 1))
    assert looks(*answered) == n
    for time in (n // 2, 3 * n):
        chosen = same_deck(level, count=4, time=time, answers=time // n, selector=np.arange(4))
        assert looks(*chosen) == 4
    scored = same_deck(level, count=n + 1, time=3 * n, answers=n, score=np.arange(n + 1))
    assert looks(*scored) == n + 1


@both_rules
@every_level
def test_autoencode_full_frame_shows_the_cards_dealt_and_no_others(level, rules):
    """Exchange one card, in a watched part of the deck and in the rest: one cell changes, or nothing."""
    game, state = same_deck(level, rules, time=make("autoencode", level).count // 2)
    place = np.arange(128) % game.count
    other = state.cards.copy()
    other[np.arange(128), place] = (other[np.arange(128), place] + 1 + np.arange(128) % 3) % 4
    other = state.replace(cards=other)
    np.testing.assert_array_equal(differing(game, state, other, False), place <= game.count // 2)
    np.testing.assert_array_equal(differing(game, state, other, True), place == game.count // 2)
    late = state.replace(time=state.time * 0 + 3 * game.count), other.replace(time=other.time * 0 + 3 * game.count)
    assert differing(game, *late, False).all() and not differing(game, *late, True).any()


def cell(game, frames, place):
    """Return one cell of the history."""
    columns = COLUMNS[game.count]
    width, height = 96 // columns, 70 // -(-game.count // columns)
    row, column = 42 + place // columns * height, 16 + place % columns * width
    return frames[:, row : row + height, column : column + width]


@every_level
def test_autoencode_history_shows_each_suit_in_its_own_way(level):
    game, state = table(level, rules="published", count=16, time=900)
    frames = draw(game, state, False)
    pictures = {}
    for place in range(game.count):
        for suit, picture in zip(state.cards[:, place], cell(game, frames, place), strict=True):
            pictures.setdefault(int(suit), set()).add(picture.tobytes())
    assert [len(pictures[suit]) for suit in range(4)] == [1] * 4 and len(set.union(*pictures.values())) == 4
    assert len({frame[16:42].tobytes() for frame in frames}) == 1, "nothing is on the table any more"


@both_rules
@every_level
def test_autoencode_history_grows_by_the_card_that_left_the_table(level, rules):
    n = make("autoencode", level).count
    game, state = same_deck(level, rules, count=n, time=np.arange(n))
    frames = draw(game, state, False)
    for place in range(n):
        shown = (cell(game, frames, place) != cell(game, frames, place)[0]).any((1, 2, 3))
        np.testing.assert_array_equal(shown, np.arange(n) > place)


@every_level
def test_autoencode_marks_the_card_to_be_named_next(level):
    game, state = same_deck(level, count=make("autoencode", level).count, time=500)
    n = game.count
    state = state.replace(answers=np.arange(n, dtype=np.int32))
    marked, plain = draw(game, state, False), draw(game, state.replace(answers=state.answers * 0 + n), False)
    for answers in range(n):
        changed = (marked[answers] != plain[answers]).any(-1)
        asked = cell(game, changed[None], n - 1 - answers)
        assert asked.mean() > 0.25 and asked.sum() == changed.sum()


@every_level
def test_autoencode_partial_frame_hides_the_past(level):
    game, early = same_deck(level, time=make("autoencode", level).count + 1, answers=1)
    later = early.replace(
        time=early.time + np.arange(128),
        answers=1 + np.arange(128, dtype=np.int32) % game.count,
        cards=early.cards[:, ::-1],
    )
    assert not differing(game, early, later, True).any() and differing(game, early, later, False)[1:].all()
    for shown in (dict(selector=early.selector + np.int8(1)), dict(score=early.score + 1)):
        assert differing(game, early, early.replace(**shown), True).all()
    # In the watch phase too: only the card on the table differs from one time to the next.
    game, watching = same_deck(level, cards=CLUB, count=20, time=np.arange(1, 21))
    assert looks(game, watching, True) == 1 and looks(game, watching) == 20
    dealt = watching.replace(
        cards=np.where(np.arange(game.count) == watching.time[:, None], SPADE, CLUB).astype(np.int8)
    )
    assert differing(game, watching, dealt, True).all()


def test_autoencode_published_frame_has_no_marks():
    game, state = same_deck("easy", "published", time=30, answers=1)
    later = state.replace(time=state.time + np.arange(128), answers=1 + np.arange(128, dtype=np.int32) % 26)
    assert not differing(game, state, later, False).any()
    strict, start = table(count=8)
    one, two = (draw(game, start, False) for game in (strict, game))
    np.testing.assert_array_equal(np.unique(np.argwhere((one != two).any(-1))[:, 2]), np.arange(4, 12))


def test_autoencode_refuses_other_decks():
    with pytest.raises(ValueError, match=r"decks=.*; expected 1, 2 or 3"):
        plugins.find("games", "autoencode")(decks=4)
