"""Skittles: known returns and lengths, and what its frames show."""

import functools

import jax
import numpy as np
import pytest
from playing import both_rules, copies, differing, draw, every_level, fresh, make, starts, step

from podarcade import plugins

BATCH, STEPS = 512, 100
LANES = {"easy": (1, 8), "medium": (2, 8), "hard": (2, 7)}
rolled = pytest.mark.parametrize(
    ("level", "rules"), [*((level, "strict") for level in LANES), ("easy", "published"), ("hard", "published")]
)


@functools.cache
def roller(game):
    """Step a batch of states through actions[STEPS, BATCH], with a new key each step; (state, reward, terminal)."""

    def one(carry, action):
        state, key = carry
        key, step_key = jax.random.split(key)
        outcome = jax.vmap(game.step)(state, action, jax.random.split(step_key, BATCH))
        return (outcome[0], key), outcome

    return jax.jit(lambda state, key, actions: jax.lax.scan(one, (state, key), actions)[1])


def roll(game, actions, seed=0):
    """(start, (states, rewards, terminals)[STEPS, BATCH]); nothing but the pin and its fate depends on the actions."""
    start = fresh(game, BATCH)
    actions = np.broadcast_to(actions, (STEPS, BATCH)).astype(np.int32)
    return start, jax.tree.map(np.asarray, roller(game)(start, jax.random.key(seed), actions))


def lengths(terminals):
    """int[BATCH]: the step of the first terminal, at most the limit."""
    return np.where(terminals.any(0), terminals.argmax(0) + 1, STEPS)


def random_actions(seed=0):
    return np.random.default_rng(seed).integers(0, 5, (STEPS, BATCH))


def reference(start, spawned, actions, lane):
    """(field bool[T, B, 10, 10], columns[T, B], crashed[T, B]) of the rules on a whole field, in numpy."""
    field, column = np.zeros((BATCH, 10, 10), bool), start.astype(int)
    fields, columns, crashes, everyone = [], [], [], np.arange(BATCH)
    for new, action in zip(spawned, actions, strict=True):
        column = np.clip(column + np.select([action == 2, action == 3], [-1, 1], 0), *lane)
        beside = field[everyone, 9, column]
        field = np.concatenate([np.zeros((BATCH, 1, 10), bool), field[:, :-1]], 1)
        field[everyone, 0, new] = True
        fields.append(field)
        columns.append(column)
        crashes.append(beside | field[everyone, 9, column])
    return np.stack(fields), np.stack(columns), np.stack(crashes)


def clairvoyant(start, spawned, lane):
    """(int[STEPS] actions, int steps survived): the longest life of one episode whose blocks are all known."""
    low, high = lane
    below = lambda time: spawned[time - 10] if time >= 10 else -1  # noqa: E731
    ways = {int(start): []}
    for time in range(1, STEPS + 1):
        # The bottom row's blocks before this step and after it: neither may be in the pin's new column.
        deadly = {below(time - 1), below(time)}
        nexts = {}
        for column, actions in ways.items():
            for action, move in ((0, 0), (2, -1), (3, 1)):
                place = min(max(column + move, low), high)
                if place not in deadly:
                    nexts.setdefault(place, [*actions, action])
        if not nexts:
            return [*next(iter(ways.values())), *[0] * (STEPS + 1 - time)], time
        ways = nexts
    return next(iter(ways.values())), STEPS


def seen_bits(states):
    """float[..., 10, 10]: which cells the partial twin shows."""
    return ((states.visible[..., None] >> np.arange(10)) & 1).astype(float)


@rolled
def test_skittles_plays_like_the_reference(level, rules):
    game, actions = make("skittles", level, rules), random_actions()
    start, (states, rewards, terminals) = roll(game, actions)
    spawned = states.blocks[:, :, 0]
    fields, columns, crashes = reference(start.column, spawned, actions, LANES[level])
    np.testing.assert_array_equal(states.blocks[..., None] == np.arange(10), fields)
    np.testing.assert_array_equal(states.column, columns)
    np.testing.assert_array_equal(states.crashed, crashes)
    over = crashes | ((np.arange(STEPS) == STEPS - 1) & (rules == "published"))[:, None]
    np.testing.assert_array_equal(terminals, over)
    np.testing.assert_array_equal(rewards, np.float32(0.01))
    np.testing.assert_array_equal(states.score, states.time)
    assert lengths(terminals).min() == 10, "no death before step 10"
    alive = np.arange(STEPS)[:, None] < lengths(terminals)
    beside = crashes & (states.blocks[:, :, -1] != columns) & alive
    below = crashes & (states.blocks[:, :, -1] == columns) & alive
    assert beside.sum() > 20 and below.sum() > 20


@rolled
def test_skittles_chance(level, rules):
    """The pin starts, and blocks appear, uniformly over the lane and independently."""
    game = make("skittles", level, rules)
    (low, high), width = LANES[level], game.lane
    assert width == high - low + 1 and (starts(game).blocks == -1).all()
    _, (states, _, _) = roll(game, 0)
    spawned = states.blocks[:, :, 0]
    assert (states.blocks[:, :, 1:][1:] == states.blocks[:, :, :-1][:-1]).all()
    for draws in (starts(game).column, spawned):
        counts = np.bincount(draws.reshape(-1), minlength=10)
        assert counts[:low].sum() == 0 and counts[high + 1 :].sum() == 0
        expected = draws.size / width
        assert np.abs(counts[low : high + 1] - expected).max() < 4.5 * np.sqrt(expected)
    error = np.sqrt(1 / width * (1 - 1 / width) / spawned[1:].size)
    for one, two in ((spawned[1:], spawned[:-1]), (spawned[:, 1:], spawned[:, :-1])):
        assert abs((one == two).mean() - 1 / width) < 4.5 * error


@rolled
def test_skittles_standing_still(level, rules):
    """Only falling blocks hit: the first can in step 10, each with one chance in the lane's width."""
    game = make("skittles", level, rules)
    _, (_, _, terminals) = roll(game, 0)
    lives = lengths(terminals)
    assert abs(lives.mean() - (9 + game.lane)) < 4 * lives.std() / np.sqrt(BATCH)


@rolled
def test_skittles_clairvoyant_player_reaches_one(level, rules):
    game = make("skittles", level, rules)
    start, (states, _, _) = roll(game, 0, seed=1)
    plans = [clairvoyant(start.column[one], states.blocks[:, one, 0], LANES[level]) for one in range(64)]
    actions = np.zeros((STEPS, BATCH), int)
    actions[:, :64] = np.array([plan for plan, _ in plans]).T
    _, (_, rewards, terminals) = roll(game, actions, seed=1)
    lives = lengths(terminals)[:64]
    np.testing.assert_array_equal(lives, [life for _, life in plans])
    assert np.mean(lives == STEPS) > 0.9
    returns = np.cumsum(rewards, 0)[lives - 1, np.arange(64)]
    np.testing.assert_allclose(returns, lives / 100, rtol=1e-5)
    assert returns.max() <= 1 + 1e-5


def test_skittles_cells_are_seen_by_a_fresh_coin():
    """With chance one half each, independently of other cells, frames and episodes."""
    _, (states, _, _) = roll(make("skittles", "hard"), random_actions())
    seen = seen_bits(states)
    assert np.abs(seen.mean((0, 1)) - 0.5).max() < 4.5 * 0.5 / np.sqrt(STEPS * BATCH)
    pairs = [(seen[1:], seen[:-1]), (seen[:, 1:], seen[:, :-1])]
    pairs += [(seen[..., 1:, :], seen[..., :-1, :]), (seen[..., 1:], seen[..., :-1])]
    for one, two in pairs:
        assert abs((one == two).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(one.size)
    # The new block is independent of the cells too.
    here = np.take_along_axis(seen[:, :, 0], states.blocks[:, :, :1].astype(int), -1)
    assert abs(here.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(here.size)


def test_skittles_published_cells_are_seen_by_the_clock():
    tables = []
    for level in ("easy", "hard"):
        _, (states, _, _) = roll(make("skittles", level, "published"), random_actions(), seed=len(tables))
        assert (states.visible == states.visible[:, :1]).all()
        tables.append(seen_bits(states)[:, 0])
    np.testing.assert_array_equal(*tables)
    seen = tables[0]
    assert abs(seen.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(seen.size)
    for one, two in ((seen[1:], seen[:-1]), (seen[:, 1:], seen[:, :-1]), (seen[..., 1:], seen[..., :-1])):
        assert abs((one == two).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(one.size)


def late(level, rules, count=8):
    """States of random play at time 9, no pin hit, one block in each row but the last."""
    _, (states, _, _) = roll(make("skittles", level, rules), random_actions())
    return jax.tree.map(lambda leaf: leaf[8, :count], states)


def neighbours(state, lane):
    """All states that differ from one, a batch of one, in time, in the pin's column or in one row; itself the first."""
    low, high = lane
    states = [state]
    for time in range(1, STEPS + 1):
        if time != state.time[0]:
            states.append(state.replace(time=np.array([time], np.int32), score=np.array([time], np.int32)))
    for column in range(low, high + 1):
        if column != state.column[0]:
            states.append(state.replace(column=np.array([column], np.int8)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


def rows_changed(state, lane):
    """All states that differ from one in the block of one row; without it too."""
    low, high = lane
    states = []
    for row in range(9):
        for column in (-1, *range(low, high + 1)):
            if column != state.blocks[0, row]:
                states.append(state.replace(blocks=np.where(np.arange(10) == row, np.int8(column), state.blocks)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


@every_level
def test_skittles_full_frame_shows_all_that_matters(level):
    game, states = make("skittles", level), late(level, "strict", 3)
    for one in range(3):
        state = jax.tree.map(lambda leaf: leaf[one : one + 1], states)  # noqa: B023
        batches = neighbours(state, LANES[level]), rows_changed(state, LANES[level])
        frames = [frame for batch in batches for frame in draw(game, batch, False)]
        assert len({frame.tobytes() for frame in frames}) == len(frames) == 99 + game.lane + 9 * game.lane
        hidden = copies(state, 8)
        hidden = hidden.replace(visible=np.arange(8, dtype=np.uint16)[:, None] * np.ones(10, np.uint16)[None])
        assert len({frame.tobytes() for frame in draw(game, hidden, False)}) == 1


@both_rules
def test_skittles_blocks_keep_the_colour_of_their_step(rules):
    """Seven colours in turn, at two times; a block is in row r as many steps after its own."""
    rainbow = [(255, 0, 0), (255, 127, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255), (74, 214, 247), (125, 0, 237)]
    game, state = make("skittles", "easy", rules), late("easy", rules)
    for time in (9, 60):
        frames = draw(game, state.replace(time=np.full(8, time, np.int32)), False)
        for row in range(9):
            pixels = frames[np.arange(8), 21 + 10 * row, 19 + 10 * state.blocks[:, row].astype(int)]
            np.testing.assert_array_equal(pixels, [rainbow[(time - row) % 7]] * 8)


@both_rules
def test_skittles_partial_frame_shows_the_cells_it_should(rules):
    """The difference to the full frame is the hidden blocks, each in its cell; the pin is always there."""
    game, state = make("skittles", "easy", rules), late("easy", rules, 64)
    full, partial = draw(game, state, False), draw(game, state, True)
    panel = lambda frames: frames[:, 16:116, 14:114].reshape(64, 10, 10, 10, 10, 3)  # noqa: E731
    changed = (panel(full) != panel(partial)).any((2, 4, 5))
    block = state.blocks[..., None] == np.arange(10)
    np.testing.assert_array_equal(changed, block & (seen_bits(state) == 0))
    assert 0.4 < changed.sum() / block.sum() < 0.6
    outside = np.ones((128, 128), bool)
    outside[16:116, 14:114] = False
    np.testing.assert_array_equal(full[:, outside], partial[:, outside])
    other = state.replace(column=np.where(state.column > 1, state.column - 1, 2).astype(np.int8))
    assert differing(game, state, other, True).all()


@both_rules
def test_skittles_last_frame_shows_the_crash(rules):
    game = make("skittles", "easy", rules)
    _, (states, _, terminals) = roll(game, random_actions())
    where = np.argwhere(states.crashed & (np.arange(STEPS)[:, None] == lengths(terminals) - 1))[:64]
    last = jax.tree.map(lambda leaf: leaf[*where.T], states)
    for partial in (False, True):
        assert differing(game, last, last.replace(crashed=np.zeros(64, bool)), partial).all()


@both_rules
def test_skittles_limit(rules):
    """An episode of 100 steps is truncated, or ends, with return 1."""
    game = make("skittles", "easy", rules)
    free = fresh(game, 8).replace(time=np.full(8, 99, np.int32), score=np.full(8, 99, np.int32))
    state, reward, terminal = step(game, free, 0)
    np.testing.assert_array_equal(terminal, rules == "published")
    np.testing.assert_array_equal(reward, np.float32(0.01))
    np.testing.assert_array_equal(state.score, 100)
    assert game.time_limit == (100 if rules == "strict" else None)


def test_skittles_refuses_impossible_lanes():
    with pytest.raises(ValueError, match="expected 0 <= first <= last <= 9"):
        plugins.find("games", "skittles")(first=5, last=12)
