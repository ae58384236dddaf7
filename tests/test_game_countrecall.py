"""CountRecall: known returns and lengths, and what its frames show."""

import numpy as np
import pytest
from playing import both_rules, differing, draw, every_level, fresh, make, starts, step

from podarcade import plugins
from podarcade.envs.rendering import font

DECKS = 64  # one batch size for all steps, so that each game is compiled once


def table(level="easy", rules="strict", count=DECKS, **fields):
    """A game and a batch of its first states, with some fields set."""
    game = make("countrecall", level, rules)
    state = fresh(game, count)
    return game, state.replace(**{name: like(value, getattr(state, name)) for name, value in fields.items()})


def like(value, leaf):
    return np.broadcast_to(np.asarray(value, leaf.dtype), leaf.shape)


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


def answers(state):
    """int[B, n]: the right number for every round of every deck, counted card by card."""
    values, queries = np.asarray(state.values), np.asarray(state.queries)
    before = np.tri(values.shape[1], k=-1, dtype=bool)
    return ((values[:, None, :] == queries[:, :, None]) & before).sum(2)


def clairvoyant(state):
    """Dial to the right number, however far, and confirm."""
    now = np.minimum(state.round, state.values.shape[1] - 1)
    way = np.take_along_axis(answers(state), now[:, None], 1)[:, 0] - state.dial
    return np.where(way == 0, 4, np.where(way > 0, 0, 1))


def referee(values, queries, rules, actions):
    """Reference implementation: yields reward, end, round, dial and score after each action."""
    dial = score = 0
    earlier, queue = [], list(zip(values, queries, strict=True))
    for move, action in enumerate(actions, 1):
        reward = 0
        dial += {0: 1, 1: -1}.get(int(action), 0)
        if action == 4:
            value, query = queue.pop(0)
            if earlier.count(query) == dial:
                reward, score = 1 / len(values), score + 1
            earlier.append(value)
        over = not queue or (rules == "published" and move == len(values) + 100)
        yield reward, over, len(earlier), dial, score
        if over:
            return


@both_rules
@every_level
def test_countrecall_agrees_with_the_reference(level, rules):
    game, state = table(level, rules)
    generator = np.random.default_rng(0)
    # Some players hardly ever confirm, some always; some turn the dial up, some down.
    confirms, ups = np.linspace(0, 1, DECKS), np.tile([0.2, 0.5, 0.8, 0.9], DECKS // 4)
    turns = np.where(generator.random((200, DECKS)) < ups, 0, generator.choice([-1, 1, 1, 1, 2, 3, 5], (200, DECKS)))
    actions = np.where(generator.random((200, DECKS)) < confirms, 4, turns)
    decks = zip(state.values, state.queries, actions.T, strict=True)
    players = [list(referee(*deck, rules, moves)) for *deck, moves in decks]
    played = []
    for action in actions:
        state, reward, terminal = step(game, state, action)
        played.append(np.stack([reward, terminal, state.round, state.dial, state.score], 1))
    for column, expected in enumerate(players):
        np.testing.assert_allclose([step[column] for step in played[: len(expected)]], expected, rtol=1e-6)
    lengths, ended = zip(*[(len(expected), expected[-1][1]) for expected in players], strict=True)
    assert min(lengths) == game.count and any(ended)
    assert max(lengths) == (200 if rules == "strict" else game.count + 100) and ended[0] == (rules == "published")


def test_countrecall_counts_by_hand():
    """A heart, a heart and a spade; the card of the round itself does not count."""
    values, queries = np.tile([0, 0, 1], 9)[:26], np.tile([0, 0, 0, 1, 1], 6)[:26]
    game, state = table(values=values, queries=queries)
    for actions, paid in (([4], 1), ([0, 4], 1), ([4], 0), ([4], 1), ([4], 1), ([0, 0, 0, 4], 1), ([1, 4], 0)):
        for action in actions:
            state, reward, terminal = step(game, state, action)
        np.testing.assert_allclose(reward, paid / 26, rtol=1e-6)
        assert not terminal.any()
    np.testing.assert_array_equal(state.round, 7)
    np.testing.assert_array_equal(state.dial, 3)


@both_rules
def test_countrecall_clairvoyant_player_earns_all_of_an_easy_deck(rules):
    game, state = table(rules=rules)
    returns, lengths, last = walk(game, state, clairvoyant, 126)
    np.testing.assert_allclose(returns, 1, rtol=1e-6)
    np.testing.assert_array_equal(last.score, np.where(lengths == lengths.max(), 26, last.score))
    assert lengths.max() <= 126


@both_rules
@every_level
def test_countrecall_lengths(level, rules):
    """Confirming alone takes n steps; without it a game ends after n + 100, on its own under published rules."""
    game, state = table(level, rules)
    n = game.count
    returns, lengths, _ = walk(game, state, lambda _: 4, n + 100)
    np.testing.assert_array_equal(lengths, n)
    np.testing.assert_allclose(returns, (answers(state) == 0).mean(1), rtol=1e-5)
    for action in (0, 1, 2, 3, 9):
        late = state.replace(time=like(n + 98, state.time))
        for expected in (False, rules == "published"):
            late, reward, terminal = step(game, late, action)
            assert (terminal == expected).all() and (reward == 0).all()
    assert game.time_limit == (n + 100 if rules == "strict" else None)
    last = state.replace(time=like(n + 99, state.time), round=like(n - 1, state.time))
    assert step(game, last, 4)[2].all()


def best(answers, spare):
    """float[B]: the largest share of right answers with `turns` of the dial, by dynamic programming."""
    decks, n = answers.shape
    # most[i][b, t]: right answers up to answer i, the last one right, with t turns; -1 where it cannot be.
    most, overall = [], np.zeros(decks)
    places = np.concatenate([np.zeros((decks, 1), int), answers], 1)
    turns = np.arange(spare + 1)
    for i in range(n + 1):
        now = np.full((decks, spare + 1), -1)
        now[:, 0] = 0 if i == 0 else -1
        for j in range(i):
            before = turns - np.abs(places[:, i] - places[:, j])[:, None]
            earlier = np.take_along_axis(most[j], np.maximum(before, 0), 1)
            now = np.maximum(now, np.where((before >= 0) & (earlier >= 0), earlier + 1, -1))
        most.append(now)
        overall = np.maximum(overall, now.max(1))
    return overall / n


@pytest.mark.parametrize(
    ("level", "affordable", "mean"), [("easy", 1, 1), ("medium", 0.875, 0.9952), ("hard", 0.373, 0.9659)]
)
def test_countrecall_what_foresight_can_earn(level, affordable, mean):
    """The share of decks on which all answers can be afforded, and the best return, both as measured elsewhere."""
    numbers = answers(fresh(make("countrecall", level), 1000))
    turns = np.abs(np.diff(numbers, axis=1, prepend=0)).sum(1)
    assert abs((turns <= 100).mean() - affordable) <= 4 * np.sqrt(affordable * (1 - affordable) * (1 / 150 + 1 / 1000))
    returns = best(numbers[:40], 100)
    np.testing.assert_array_equal(returns == 1, turns[:40] <= 100)
    assert abs(returns.mean() - mean) < 4 * returns.std() / np.sqrt(40) + 1e-3


@every_level
def test_countrecall_decks_are_shuffled(level):
    game = make("countrecall", level)
    state, n, k = starts(game), game.count, game.suits
    of_suit = np.array([len(range(suit, n, k)) for suit in range(k)])
    for deck in (state.values, state.queries):
        assert deck.dtype == np.int8
        for suit in range(k):
            assert ((deck == suit).sum(1) == of_suit[suit]).all()
            share = of_suit[suit] / n
            error = np.sqrt(share * (1 - share) / len(deck))
            assert np.abs((deck == suit).mean(0) - share).max() < 4.5 * error
        expected = (of_suit * (of_suit - 1)).sum() / (n * (n - 1))
        pairs = deck[:, 1:] == deck[:, :-1]
        assert abs(pairs.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / pairs.size)
    both, expected = state.values == state.queries, (of_suit**2).sum() / n**2
    assert abs(both.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / both.size), (
        "the decks are not independent"
    )
    assert all((leaf == 0).all() for leaf in (state.dial, state.round, state.time, state.score))


def same_decks(level, rules="strict", count=128, **fields):
    """Return a batch that shares its decks."""
    first = fresh(make("countrecall", level, rules))
    return table(level, rules, count, **{"values": first.values[0], "queries": first.queries[0], **fields})


def looks(game, state, partial=False):
    """Return the number of distinct frames of a batch of any size."""
    count = len(state.time)
    pick = lambda rows: type(state)(**{name: leaf[rows] for name, leaf in vars(state).items()})  # noqa: E731
    batches = np.array_split(np.arange(count), -(-count // 136))
    return len({frame.tobytes() for rows in batches for frame in draw(game, pick(rows), partial)})


@every_level
def test_countrecall_full_frame_shows_every_counter(level):
    n = make("countrecall", level).count
    furthest = n + 100
    dials = np.arange(-furthest, furthest + 1)
    for partial in (False, True):
        assert looks(*same_decks(level, count=len(dials), dial=dials, time=furthest), partial) == len(dials)
    assert looks(*same_decks(level, count=furthest + 1, time=np.arange(furthest + 1))) == furthest + 1
    # With equal cards in the round, the cards of earlier rounds show the round.
    equal = same_decks(level, count=n, values=0, queries=0, round=np.arange(n), time=n)
    assert looks(*equal) == n and looks(*equal, True) == 1
    assert looks(*same_decks(level, count=n + 1, round=n - 1, time=n, score=np.arange(n + 1))) == n + 1


def exchanged(deck, round):
    """In each copy of a deck, one card of an earlier round exchanged with a later one of another suit."""
    deck = deck.copy()
    generator = np.random.default_rng(0)
    for cards in deck:
        earlier = generator.integers(round)
        later = generator.choice(np.flatnonzero((cards != cards[earlier]) & (np.arange(len(cards)) > round)))
        cards[[earlier, later]] = cards[[later, earlier]]
    return deck


@both_rules
@every_level
def test_countrecall_full_frame_shows_what_is_left_in_both_decks(level, rules):
    """Earlier values and the number of earlier queries of each suit, which the published frame does not show."""
    game, state = same_decks(level, rules, round=7, time=30)
    values = state.replace(values=exchanged(state.values, 7))
    queries = state.replace(queries=exchanged(state.queries, 7))
    assert differing(game, state, values, False).all() and not differing(game, state, values, True).any()
    np.testing.assert_array_equal(differing(game, state, queries, False), rules == "strict")
    assert not differing(game, state, queries, True).any()


@both_rules
@every_level
def test_countrecall_no_frame_shows_the_cards_to_come(level, rules):
    game, state = same_decks(level, rules, round=7, time=30)
    turned = lambda deck: np.concatenate([deck[:, :8], deck[:, :7:-1]], 1)  # noqa: E731
    other = state.replace(values=turned(state.values), queries=turned(state.queries))
    assert (other.values != state.values).any() and (other.queries != state.queries).any()
    for partial in (False, True):
        assert not differing(game, state, other, partial).any()


@both_rules
@every_level
def test_countrecall_partial_frame_shows_the_round_and_hides_the_past(level, rules):
    game, state = same_decks(level, rules, round=7, time=30)
    suits = make("countrecall", level).suits
    for deck in ("values", "queries"):
        now = getattr(state, deck).copy()
        now[:, 7] = (now[:, 7] + 1 + np.arange(128) % (suits - 1)) % suits
        assert differing(game, state, state.replace(**{deck: now}), True).all()
    assert differing(game, state, state.replace(score=state.score + 1), True).all()
    later = state.replace(time=state.time + 1 + np.arange(128, dtype=np.int32) % 60)
    assert not differing(game, state, later, True).any()
    np.testing.assert_array_equal(differing(game, state, later, False), rules == "strict")


@every_level
def test_countrecall_numbers_of_earlier_queries(level):
    """Counts of one suit from none to all: the tally alone changes, and each number looks different."""
    game, state = same_decks(level, count=27, values=0, round=26, time=60)
    most = -(-game.count // game.suits)
    queries = np.where(np.arange(game.count) < np.arange(27)[:, None], 0, 1)
    state = state.replace(queries=queries.astype(np.int8))
    frames = draw(game, state, False)[: min(most, 26) + 1]
    assert len({frame[28:40, 114:126].tobytes() for frame in frames}) == len(frames)
    changed = (frames[1:] != frames[:-1]).any((0, 3))
    changed[28:40, 114:126] = changed[52:64, 114:126] = False
    assert not changed[:, 112:].any()


@both_rules
def test_countrecall_dial_is_written_in_digits(rules):
    """Right-aligned, without leading zeros, with a minus sign under strict rules."""
    values = [0, 7, 40, 99, 100, 126] + [-5, -10, -126] * (rules == "strict")
    game, state = same_decks("easy", rules, count=len(values), dial=values, time=126)
    for value, frame in zip(values, draw(game, state, False), strict=True):
        ink = (frame[20:34, 40:88] == (143, 237, 143)).all(-1)
        digits = font.text(str(abs(value))).repeat(2, 0).repeat(2, 1)
        left = 47 - digits.shape[1]
        np.testing.assert_array_equal(ink[:, left:47], digits, err_msg=str(value))
        assert ink[:, :left].any() == (value < 0)


def test_countrecall_published_dial_shows_one_digit_below_zero():
    dials = np.arange(-126, 127)
    game, state = same_decks("easy", "published", count=128, dial=np.arange(-126, 2))
    _, digits = same_decks("easy", "published", count=128, dial=np.arange(-126, 2) % 10)
    assert not differing(game, state, digits, False).any()
    assert looks(*same_decks("easy", "published", count=253, dial=dials)) == 127


@every_level
def test_countrecall_history_shows_each_suit_in_its_own_way(level):
    game, state = table(level, count=16, round=make("countrecall", level).count, time=100)
    frames = draw(game, state, False)
    columns = {26: 6, 52: 8, 78: 12}[game.count]
    width, height = 96 // columns, 70 // -(-game.count // columns)
    pictures = {}
    for place in range(game.count):
        row, column = 42 + place // columns * height, 16 + place % columns * width
        for suit, frame in zip(state.values[:, place], frames, strict=True):
            pictures.setdefault(int(suit), set()).add(frame[row : row + height, column : column + width].tobytes())
    assert [len(pictures[suit]) for suit in range(game.suits)] == [1] * game.suits
    assert len(set.union(*pictures.values())) == game.suits


def test_countrecall_published_frame_has_no_marks():
    (strict, start), (published, _) = table(count=8), table(rules="published")
    one, two = (draw(game, start, False) for game in (strict, published))
    columns = np.unique(np.argwhere((one != two).any(-1))[:, 2])
    np.testing.assert_array_equal(columns, [*range(4, 12), *range(114, 126)])


def test_countrecall_refuses_other_decks():
    game = plugins.find("games", "countrecall")
    with pytest.raises(ValueError, match=r"decks=.*; expected 1, 2 or 3"):
        game(decks=0)
    with pytest.raises(ValueError, match=r"suits=.*; expected 1 to 4"):
        game(suits=5)
