"""Breakout: known returns and lengths, and what its frames show."""

import collections
import copy
import functools

import jax
import numpy as np
import pytest
from playing import both_rules, differing, draw, every_level, fresh, make, starts, step

from podarcade import plugins

WORTH = (15, 13, 11, 9, 7, 5)  # 600ths, by row of bricks
LEFT, RIGHT, STAY = 2, 3, 0
BATCH, STEPS = 32, 2000
# How to return the ball, one letter a time, to clear the wall with every brick paid: s lets it go on to
# the same side, b sends it back. By paddle width, with the number of steps it takes.
PLANS = {
    6: ("ssssbsssssbsssssssssssssssssssssssssssssssssssssssss", 1527),
    5: ("ssssssbsssbssssbbbbsssssssssssssssbssbsssssbsbsb", 1413),
    4: ("ssssbsbsssbssbssssbsbsssbsbbbbsbbsssssssbss", 1338),
}


class Reference:
    """Reference implementation, one event after the other; `seen` counts the events."""

    def __init__(self, right, paddle, width):
        self.bricks = np.zeros((20, 10), bool)
        self.bricks[1:7] = True
        self.row, self.column, self.right, self.falling = 13, 9 * right, bool(right), False
        self.strike, self.paddle, self.width, self.score = False, paddle, width, 0
        self.last = self.row, self.column
        self.seen = collections.Counter()

    def step(self, action):
        """(reward in 600ths, terminal)."""
        self._push(action)
        self.last = self.row, self.column
        row, column = self.row + (1 if self.falling else -1), self.column + (1 if self.right else -1)
        if not 0 <= column <= 9:
            column = self.column
            self.right = not self.right
            self.seen["wall"] += 1
        if row < 0:
            row, self.falling = 0, True
            self.seen["ceiling"] += 1
        reward, terminal, turned, struck = 0, False, False, bool(self.bricks[row, column])
        if struck:
            self.bricks[row, column] = False
            turned = not self.strike
            reward = WORTH[row - 1] if turned else 0
            self.score += turned
            terminal = not self.bricks.any()
            self.seen["paid" if turned else "unpaid"] += 1
        elif row == 19:
            turned = self._bounce(column)
            if not turned:
                reward, terminal = -10 * int(self.bricks.sum()), True
        if turned:
            row, self.falling = self.row, not self.falling
            self.seen["in place"] += column == self.column
        self.seen["over a brick"] += bool(self.bricks[row, column])
        self.row, self.column, self.strike = row, column, struck
        return reward, terminal

    def _push(self, action):
        if action == LEFT:
            self.paddle = max(0, self.paddle - 1)
        elif action == RIGHT:
            self.paddle = min(10 - self.width, self.paddle + 1)

    def _bounce(self, column):
        cells = range(self.paddle, self.paddle + self.width)
        if self.column in cells:
            self.seen["off the edge" if column not in cells else "off the paddle"] += 1
            return True
        self.seen["back" if column in cells else "missed"] += 1
        self.right ^= column in cells
        return column in cells

    def contact(self):
        """The ball's columns before and after its next step to the bottom row, or its last, and the steps to there."""
        ball, steps, terminal = copy.deepcopy(self), 0, False
        while not terminal and not (ball.row == 18 and ball.falling):
            steps, (_, terminal) = steps + 1, ball.step(STAY)
        if not terminal:
            steps, _ = steps + 1, ball.step(STAY)
        return ball.last[1], ball.column, steps

    def toward(self, paddle):
        """The action that brings the paddle nearer to a column."""
        return LEFT if paddle < self.paddle else RIGHT if paddle > self.paddle else STAY

    def variables(self):
        """All of the state but the time."""
        ball = self.row, self.column, self.right, self.falling, self.strike
        return (self.bricks[1:7].copy(), *ball, *self.last, self.paddle, self.score)


VARIABLES = ("bricks", "row", "column", "right", "falling", "strike", "last_row", "last_column", "paddle", "score")


def steered(width, right, paddle, ways, noise=None, most=STEPS):
    """(reference, actions, rewards, variables) of a player who returns the ball in the given ways.

    They are s, on to the same side; b, back; m, not at all. With `noise`, a generator, s uses the whole paddle and
    the paddle trembles underway.
    """
    reference, actions, rewards, variables, terminal = Reference(right, paddle, width), [], [], [], False
    ways = iter(ways)
    while not terminal and len(actions) < most:
        place, steps = paddle_for(next(ways, "s"), *reference.contact(), width, noise)
        for left in range(steps, 0, -1):
            near = left <= abs(reference.paddle - place) + 1
            tremble = noise is not None and not near and noise.random() < 0.3
            action = int(noise.integers(0, 5)) if tremble else reference.toward(place)
            reward, terminal = reference.step(action)
            actions.append(action)
            rewards.append(reward)
            variables.append(reference.variables())
    return reference, actions, rewards, variables


def paddle_for(way, was, now, steps, width, noise):
    """(place of the paddle, steps to get there) to return a ball that goes from one column to another in some way."""
    back = now if now > was else now - width + 1
    if way == "m" and steps > 12:
        return (0 if min(was, now) >= width else 10 - width), steps
    if way == "b" and now != was and 0 <= back <= 10 - width:
        return back, steps
    offset = width // 2 if noise is None else noise.integers(0, width)
    return min(max(was - offset, 0), 10 - width), steps


def sloppy(width, right, paddle, seed):
    """Return `steered` for 800 steps of random ways."""
    noise = np.random.default_rng(seed)
    return steered(width, right, paddle, noise.choice(list("sbm"), 100, p=(0.55, 0.43, 0.02)), noise, 800)


def tracking(width, right, paddle, steps=400):
    """Actions of a paddle that always moves toward the place with its middle under the ball."""
    reference, actions = Reference(right, paddle, width), []
    for _ in range(steps):
        actions.append(reference.toward(reference.column - width // 2))
        reference.step(actions[-1])
    return actions


@functools.cache
def roller(game):
    """Steps a batch of states through actions[STEPS, BATCH]; returns each (state, reward, terminal)."""

    def one(state, action):
        outcome = jax.vmap(lambda state, action: game.step(state, action, jax.random.key(0)))(state, action)
        return outcome[0], outcome

    return jax.jit(lambda state, actions: jax.lax.scan(one, state, actions)[1])


def both_starts(game):
    """A batch of states at time 0, alternately to the left and to the right."""
    right = np.asarray(starts(game).right)
    order = np.stack([np.flatnonzero(~right)[: BATCH // 2], np.flatnonzero(right)[: BATCH // 2]], 1).reshape(-1)
    return jax.tree.map(lambda leaf: leaf[order], starts(game))


def roll(game, *actions):
    """(states, rewards, terminals)[STEPS, BATCH] of lists of actions, alternating between both starts."""
    table = np.zeros((STEPS, BATCH), np.int32)
    for column, line in enumerate(actions):
        table[: len(line), column] = line
    return jax.tree.map(np.asarray, roller(game)(both_starts(game), table))


@functools.cache
def sloppy_play(level, rules):
    game = make("breakout", level, rules)
    paddle = int(both_starts(game).paddle[0])
    plays = [sloppy(game.width, column % 2, paddle, column) for column in range(BATCH)]
    return game, plays, roll(game, *(play[1] for play in plays))


def picked(states, where, count=16):
    """Up to `count` states of a play [STEPS, BATCH], spread over those `where` is true."""
    found = np.argwhere(where)
    assert len(found) >= count
    rows, columns = found[np.linspace(0, len(found) - 1, count).astype(int)].T
    return jax.tree.map(lambda leaf: leaf[rows, columns], states)


def alive(plays):
    """bool[STEPS, BATCH]: the episode has not ended yet."""
    return np.arange(STEPS)[:, None] < np.array([len(play[1]) for play in plays]) - 1


@both_rules
@every_level
def test_breakout_plays_like_the_reference(level, rules):
    _, plays, (states, rewards, terminals) = sloppy_play(level, rules)
    seen = collections.Counter()
    for column, (reference, actions, worth, variables) in enumerate(plays):
        seen += reference.seen
        np.testing.assert_allclose(rewards[: len(actions), column], np.array(worth) / 600, atol=1e-6)
        over = bool(reference.seen["missed"]) or not reference.bricks.any()
        np.testing.assert_array_equal(terminals[: len(actions), column], [*[False] * (len(actions) - 1), over])
        for name, ours in zip(VARIABLES, zip(*variables, strict=True), strict=True):
            np.testing.assert_array_equal(getattr(states, name)[: len(actions), column], np.array(ours), name)
    everything = {"wall", "ceiling", "paid", "unpaid", "in place", "over a brick"}
    everything |= {"off the edge", "off the paddle", "back", "missed"}
    assert {name for name in everything if seen[name] >= 3} == everything, seen
    assert sum(len(play[1]) for play in plays) > 5000


@both_rules
@every_level
def test_breakout_returns_of_scripted_players(level, rules):
    """A tracking paddle's known returns; the worst return is lost at once, the best one clears the wall."""
    game = make("breakout", level, rules)
    start, width = int(both_starts(game).paddle[0]), game.width
    tracks = [tracking(width, right, start) for right in (0, 1)]
    clears = [steered(width, right, start, PLANS[width][0])[1] for right in (0, 1)]
    states, rewards, terminals = roll(game, *tracks, [RIGHT] * 30, [LEFT] * 30, *clears)
    total = rewards.cumsum(0, dtype=np.float64)
    for steps, left, expected in ((50, 58, 10), (100, 56, 20), (200, 52, 42), (400, 44, 92)):
        np.testing.assert_array_equal(states.bricks[steps - 1, :2].sum((1, 2)), left)
        np.testing.assert_allclose(total[steps - 1, :2], expected / 600, atol=1e-6)
    np.testing.assert_array_equal(terminals[:19, 2:4].argmax(0), 18)
    np.testing.assert_allclose(total[18, 2:4], -0.975, atol=1e-6)
    length = PLANS[width][1]
    np.testing.assert_array_equal(terminals[:, 4:6].argmax(0), length - 1)
    np.testing.assert_allclose(total[length - 1, 4:6], 1, atol=1e-5)
    assert (states.score[length - 1, 4:6] == 60).all() and not states.bricks[length - 1, 4:6].any()


@both_rules
def test_breakout_hard_idle_player_dies_on_the_left(rules):
    game = make("breakout", "hard", rules)
    _, rewards, terminals = roll(game)
    np.testing.assert_array_equal(terminals[:19, 0], [False] * 18 + [True])
    np.testing.assert_allclose(rewards[:19, 0].sum(), -0.975, atol=1e-6)
    assert not terminals[:19, 1].any()


@both_rules
@every_level
def test_breakout_start(level, rules):
    game = make("breakout", level, rules)
    state = starts(game)
    count = len(state.time)
    assert abs(state.right.sum() - count / 2) < 4.5 * np.sqrt(count) / 2
    np.testing.assert_array_equal(state.column, np.where(state.right, 9, 0))
    assert (state.row == 13).all() and not state.falling.any() and not state.strike.any() and state.bricks.all()
    assert (state.last_row == state.row).all() and (state.last_column == state.column).all()
    hanging = rules == "published" and game.width == 6
    assert (state.paddle == (5 if hanging else min(5, 10 - game.width))).all()
    # A paddle that hangs over the edge comes back to the last column, whichever way it is moved.
    after = step(game, fresh(game, 8), [0, 1, 2, 3, 4, 5, 2, 3])[0]
    most = 10 - game.width
    expected = np.array([5, 5, 4, 4, 5, 5, 4, 4] if hanging else (min(5, most) + np.array([0, 0, -1, 1, 0, 0, -1, 1])))
    np.testing.assert_array_equal(after.paddle, expected if hanging else np.minimum(expected, most))


@both_rules
def test_breakout_limit_costs_nothing(rules):
    game = make("breakout", "easy", rules)
    assert game.time_limit == (2000 if rules == "strict" else None)
    late = fresh(game, 8).replace(time=np.array([1997, 1998, 1999, 1999] * 2, np.int32))
    _, reward, terminal = step(game, late, 0)
    np.testing.assert_array_equal(terminal, (late.time == 1999) & (rules == "published"))
    np.testing.assert_array_equal(reward, 0)


def flipped(state, name):
    """The states with one variable changed."""
    value = np.asarray(getattr(state, name))
    if name in ("row", "last_row"):
        return state.replace(**{name: np.where(value < 9, value + 3, value - 3).astype(value.dtype)})
    if name in ("column", "last_column"):
        return state.replace(**{name: (value + 5) % 10})
    if name == "paddle":
        return state.replace(paddle=np.where(value > 0, value - 1, value + 1).astype(value.dtype))
    return state.replace(**{name: value + 1 if name == "time" else ~value})


def interesting(level, rules):
    """48 states of play: anywhere, with the ball over a brick, and with the trail over one."""
    _, plays, (states, _, _) = sloppy_play(level, rules)
    padded = np.pad(states.bricks, ((0, 0), (0, 0), (1, 13), (0, 0)))
    lines = np.indices(states.row.shape)  # a missed ball falls on below the board
    places = [(states.row, states.column), (states.last_row, states.last_column)]
    over = [padded[*lines, np.clip(row, 0, 19), column] & alive(plays) for row, column in places]
    kinds = [picked(states, where) for where in (alive(plays), *over)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *kinds)


def neighbours(state, width):
    """All states that differ from one, a batch of one, in one variable that matters; the state itself is the first."""
    changes = [("bricks", state.bricks ^ (np.arange(60).reshape(6, 10) == cell)) for cell in range(60)]
    changes += [(name, ~getattr(state, name)) for name in ("right", "falling", "strike")]
    for name, most in (("row", 18), ("column", 9), ("paddle", 10 - width)):
        values = [value for value in range(most + 1) if value != getattr(state, name)[0]]
        changes += [(name, np.array([value], np.int8)) for value in values]
    states = [state, state.replace(time=state.time + 1)]
    states += [state.replace(**{name: value}) for name, value in changes]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


@every_level
def test_breakout_full_frame_shows_all_that_matters(level):
    game, states = make("breakout", level), interesting(level, "strict")
    for one in range(0, 48, 5):
        state = neighbours(jax.tree.map(lambda leaf: leaf[one : one + 1], states), game.width)  # noqa: B023
        frames = {frame.tobytes() for frame in draw(game, state, False)}
        assert len(frames) == len(state.time) == 2 + 60 + 3 + 18 + 9 + 10 - game.width


def test_breakout_bar_shows_every_step():
    game = make("breakout")
    state = fresh(game, 125)
    frames = set()
    for first in range(0, 2000, 125):
        # A trail is drawn from the first step on: it lies in the ball's cell, below the ball.
        times = np.arange(first, first + 125, dtype=np.int32) + 1
        frames |= {frame.tobytes() for frame in draw(game, state.replace(time=times, right=state.right & False), False)}
    assert len(frames) >= 2000


@both_rules
def test_breakout_partial_frame_hides_the_falling_ball_and_the_past(rules):
    game, state = make("breakout", "easy", rules), interesting("easy", rules)
    always = ("right", "strike", "last_row", "last_column", "time")
    for falling in (False, True):
        some = state.replace(falling=np.full(48, falling))
        for name in (*always, *(("row", "column") if falling else ())):
            assert not differing(game, some, flipped(some, name), True).any(), name
        for name in ("falling", "paddle", *(() if falling else ("row", "column"))):
            assert differing(game, some, flipped(some, name), True).all(), name
        fewer = some.replace(bricks=np.zeros_like(some.bricks))
        assert differing(game, some, fewer, True).all() and differing(game, some, flipped(some, "falling"), True).all()


def test_breakout_published_frame_has_neither_marks_nor_bar():
    game, state = make("breakout", "easy", "published"), interesting("easy", "published")
    for name in ("right", "falling", "strike", "time"):
        assert not differing(game, state, flipped(state, name), False).any(), name
    for name in ("row", "column", "last_row", "last_column", "paddle"):
        assert differing(game, state, flipped(state, name), False).all(), name
    first = fresh(game, 8)
    assert not differing(game, first, flipped(first, "last_column"), False).any(), "a trail at time 0"


@both_rules
def test_breakout_missed_ball_is_seen(rules):
    game, plays, (states, _, terminals) = sloppy_play("easy", rules)
    missed = picked(states, terminals & (states.row == 19) & ~alive(plays), 8)
    assert differing(game, missed, missed.replace(column=(missed.column + 5) % 10), False).all()
    assert not differing(game, missed, missed.replace(column=(missed.column + 5) % 10), True).any()


def test_breakout_refuses_impossible_paddles():
    with pytest.raises(ValueError, match=r"width=.*; expected 1 to 10"):
        plugins.find("games", "breakout")(width=0)
