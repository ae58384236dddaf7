"""Navigator: known returns and lengths, and what its frames show."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import both_rules, copies, differing, draw, every_level, fresh, make, step

from podarcade import plugins
from podarcade.envs.games import boards

COUNT = 64  # states in a batch, everywhere: one program for each environment
TNT, TREASURE = 1, 2
NOTHING = -1  # an action that only passes the time


def voyage(level="easy", rules="strict", count=COUNT):
    game = make("navigator", level, rules)
    return game, fresh(game, count)


def at(state, row, column):
    """Return the states with the cursor in these cells, one for all or one for each."""
    place = lambda value: np.broadcast_to(value, len(state.time)).astype(np.int8)  # noqa: E731
    return state.replace(row=place(row), column=place(column))


def under(state):
    """int8[B]: what lies in the cursor's cell."""
    return state.cells[np.arange(len(state.time)), state.row, state.column]


def corner(state):
    """The cursor in the upper left corner, TNT to its right, the treasure below; nothing else."""
    cells = np.zeros_like(state.cells)
    cells[:, 0, 1], cells[:, 1, 0] = TNT, TREASURE
    return at(state.replace(cells=cells), 0, 0)


def looks(game, states, partial=False):
    """Return the number of distinct frames of the states."""
    count = len(states.time)
    parts = [jax.tree.map(lambda leaf: leaf[first : first + 136], states) for first in range(0, count, 136)]  # noqa: B023
    return len({frame.tobytes() for part in parts for frame in draw(game, part, partial)})


def way(cells, row, column):
    """The actions of a shortest way to the treasure past all TNT, or None."""
    side, ways, fringe = len(cells), {(row, column): []}, [(row, column)]
    for here in fringe:
        if cells[here] == TREASURE:
            return ways[here]
        for action, (down, right) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            there = here[0] + down, here[1] + right
            if min(there) >= 0 and max(there) < side and there not in ways and cells[there] != TNT:
                ways[there] = [*ways[here], action]
                fringe.append(there)
    return None


@pytest.mark.parametrize(("cells", "count"), [(5, 3), (4, 4), (7, 1)])
def test_distinct_cells_are_all_sequences_each_once(cells, count):
    """Every choice of words below n, n - 1, ... gives another sequence, so that they are equally likely."""
    words = jnp.array(list(itertools.product(*[range(cells - index) for index in range(count)])), jnp.uint32)
    for multiple in (0, 1):  # larger words count from zero again
        multiples = multiple * (cells - jnp.arange(count, dtype=jnp.uint32))
        places = jax.jit(jax.vmap(lambda words: jnp.stack(boards.distinct(words, cells))))(words + multiples[None])
        assert sorted(map(tuple, places.tolist())) == sorted(itertools.permutations(range(cells), count))


@every_level
def test_navigator_start(level):
    """Seven cells of TNT, the treasure and the cursor: nine different cells, each spread evenly."""
    game, state = voyage(level, count=4096)
    cells, side = state.cells, game.board
    assert ((cells == TNT).sum((1, 2)) == 7).all() and ((cells == TREASURE).sum((1, 2)) == 1).all()
    assert (under(state) == 0).all()
    cursor = np.zeros(cells.shape, bool)
    cursor[np.arange(len(cells)), state.row, state.column] = True
    for mask, count in ((cells == TNT, 7), (cells == TREASURE, 1), (cursor, 1)):
        expected = 4096 * count / side**2
        assert np.abs(mask.sum(0) - expected).max() < 5 * np.sqrt(expected)
    # Pairs of neighbours are as many as of any other two cells.
    for one, two, pairs in (
        (cells == TNT, cells == TNT, 7 * 6),
        (cells == TNT, cells == TREASURE, 7),
        (cells == TREASURE, cursor, 1),
        (cursor, cells == TNT, 7),
    ):
        for first, second in ((one[:, 1:] & two[:, :-1], 1), (one[:, :, :-2] & two[:, :, 2:], 2)):
            expected = 4096 * pairs * side * (side - second) / (side**2 * (side**2 - 1))
            assert abs(first.sum() - expected) < 5 * np.sqrt(expected)


def published_lists(tnt):
    """The columns and the rows of all cells without TNT, column by column; tnt is bool[N, N] by row and column."""
    free = [(column, row) for column in range(len(tnt)) for row in range(len(tnt)) if not tnt[row, column]]
    return zip(*free, strict=True)


PUBLISHED = {  # entries of the treasure's column and row, its commonest places, shares of starts on TNT and on it
    "easy": ((18, 38), {(2, 3): 0.306, (2, 2): 0.240, (2, 4): 0.203, (2, 1): 0.117}, 0.0917, 0.0177, 0.104),
    "medium": ((45, 56), {(4, 0): 0.29, (4, 9): 0.19, (4, 1): 0.16, (5, 2): 0.10}, 0.056, 0.011, 0.048),
    "hard": ((112, 79), {(9, 11): 0.287, (9, 0): 0.239, (9, 10): 0.214, (9, 1): 0.117}, 0.041, 0.006, 0.048),
}


@every_level
def test_navigator_published_start(level):
    """The treasure lies where the released game's constant entries put it; frequencies are as measured there."""
    game, state = voyage(level, "published", 4096)
    entries, commonest, on_tnt, on_treasure, overwritten = PUBLISHED[level]
    charges, places, expected_on_tnt = [], [], []
    for cells in state.cells:
        tnt, treasure = cells == TNT, np.argwhere(cells == TREASURE)
        assert len(treasure) == 1
        charges.append(tnt.sum())
        if charges[-1] == 6:  # the treasure lies where the seventh was
            tnt = tnt | (cells == TREASURE)
        columns, rows = published_lists(tnt)
        assert (rows[entries[1]], columns[entries[0]]) == tuple(treasure[0])
        places.append((int(treasure[0, 1]), int(treasure[0, 0])))
        counts = [np.bincount(line, minlength=game.board) / len(line) for line in (rows, columns)]
        expected_on_tnt.append((np.outer(*counts) * (cells == TNT)).sum())
    assert set(charges) == {6, 7}
    shares = [(np.mean(np.equal(charges, 6)), overwritten), (np.mean(under(state) == TNT), on_tnt)]
    shares.append((np.mean(under(state) == TREASURE), on_treasure))
    shares += [(np.mean([place == each for place in places]), share) for each, share in commonest.items()]
    for ours, share in shares:  # theirs are of 4000 starts, rounded to a hundredth where they are large
        assert abs(ours - share) < 4 * np.sqrt(share * (1 - share) * 2 / 4000) + 0.005, (ours, share)
    assert abs(np.mean(under(state) == TNT) - np.mean(expected_on_tnt)) < 5 * np.sqrt(on_tnt / 4096)
    # A column without much TNT is a likelier one: each is as likely as its share of the list.
    for line, mask in ((state.column, state.cells != TNT), (state.row, np.swapaxes(state.cells != TNT, 1, 2))):
        likely = mask.sum(1) / mask.sum((1, 2))[:, None]
        likely = np.take_along_axis(likely, line[:, None].astype(int), 1).mean()
        exact = ((mask.sum(1) / mask.sum((1, 2))[:, None]) ** 2).sum(1).mean()
        assert abs(likely - exact) < 5 * 0.03 / np.sqrt(4096)


class Book:
    """Reference implementation of one game in plain Python."""

    def __init__(self, game, cells, row, column, time):
        self.side, self.strict = game.board, game.rules == "strict"
        self.cells, self.row, self.column, self.time, self.score = cells, int(row), int(column), int(time), 0

    def step(self, action):
        """(reward, terminal)"""
        last, limit = self.side - 1, self.side**2
        self.time += 1
        if action == 0:
            self.row = max(self.row - 1, 0)
        elif action == 1:
            self.row = min(self.row + 1, last)
        elif action == 2:
            self.column = max(self.column - 1, 0)
        elif action == 3:
            self.column = min(self.column + 1, last)
        cell = self.cells[self.row, self.column]
        reward, terminal = -0.5 / limit, False
        if action in (0, 1, 2, 3) and cell == TNT:
            reward, terminal = -0.5, True
        if action == 4 and cell == TREASURE:
            reward, terminal = 1.0, True
        if not self.strict and self.time >= limit:
            reward, terminal = 0.0, True
        self.score += 100 * (reward > 0)
        return reward, terminal


@both_rules
@every_level
def test_navigator_agrees_with_the_reference(level, rules):
    """Random play on boards full of TNT and treasure, until the time limit, against plain Python."""
    game, state = voyage(level, rules)
    generator = np.random.default_rng(0)
    cells = generator.choice([0, 0, 0, 0, 0, 0, TNT, TREASURE], state.cells.shape).astype(np.int8)
    state = state.replace(cells=cells, time=generator.integers(0, game.max_steps, COUNT).astype(np.int32))
    books = [Book(game, *each) for each in zip(cells, state.row, state.column, state.time, strict=True)]
    alive, ways = np.ones(COUNT, bool), set()
    for _ in range(60):
        action = generator.choice([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, -1], COUNT)
        state, reward, terminal = step(game, state, action)
        for index in np.flatnonzero(alive):
            book = books[index]
            expected, over = book.step(action[index])
            np.testing.assert_allclose(reward[index], expected, rtol=1e-6)
            assert terminal[index] == over
            seen = (state.row, state.column, state.time, state.score)
            assert [int(leaf[index]) for leaf in seen] == [book.row, book.column, book.time, book.score]
            ways.add((round(expected, 6), over))
        np.testing.assert_array_equal(state.cells, cells)
        alive &= ~terminal
    assert {(-0.5, True), (1.0, True), (round(-0.5 / game.max_steps, 6), False)} <= ways


@both_rules
@every_level
def test_navigator_last_step(level, rules):
    """Idling, then TNT or the treasure on one of the last steps: the closed forms of the return."""
    game, state = voyage(level, rules)
    steps, cost = game.max_steps, 0.5 / game.max_steps
    published = rules == "published"
    start = corner(state)
    _, pay, _ = step(game, start, NOTHING)
    np.testing.assert_allclose(pay, -cost, rtol=1e-6)
    last = (-0.5 + 0.5 / steps, -0.5 + 0.5 / steps) if published else (-1 + 0.5 / steps, 1 - (steps - 1) * cost)
    for late, on_tnt, on_treasure in ((1, -1 + 1 / steps, 1 - (steps - 2) * cost), (0, *last)):
        idle = pay * (steps - 1 - late)  # of the steps before
        near = start.replace(time=np.full(COUNT, steps - 1 - late, np.int32))
        after, reward, terminal = step(game, near, 3)
        assert terminal.all() and (after.score == 0).all()
        np.testing.assert_allclose(idle + reward, on_tnt, rtol=1e-5)
        after, reward, terminal = step(game, at(near, 1, 0), 4)
        assert terminal.all() and (after.score == (0 if published and not late else 100)).all()
        np.testing.assert_allclose(idle + reward, on_treasure, rtol=1e-5)
    near = start.replace(time=np.full(COUNT, steps - 1, np.int32))
    for action in (NOTHING, 0, 4):  # in the corner, stays there
        _, reward, terminal = step(game, near, action)
        assert (terminal == published).all() and (reward == np.float32(0 if published else -cost)).all()


@both_rules
@every_level
def test_navigator_best_player(level, rules):
    """A player who sees the board loses a step's cost for each move; only a treasure behind TNT is out of reach."""
    game, state = voyage(level, rules)
    plans = [way(*each) for each in zip(state.cells, map(int, state.row), map(int, state.column), strict=True)]
    reachable = np.array([plan is not None for plan in plans])
    assert reachable.mean() > 0.9
    plans = [[*(plan or []), 4] for plan in plans]
    moves = np.array([len(plan) - 1 for plan in plans])
    total, over = np.zeros(COUNT), np.zeros(COUNT, bool)
    for time in range(max(map(len, plans))):
        state, reward, terminal = step(game, state, [plan[time] if time < len(plan) else NOTHING for plan in plans])
        total, over = total + reward * ~over, over | terminal
        np.testing.assert_array_equal(over[reachable], (time >= moves)[reachable])
    np.testing.assert_allclose(total[reachable], (1 - moves * 0.5 / game.max_steps)[reachable], rtol=1e-5)
    assert (state.score[reachable] == 100).all()
    best = 1.0 if rules == "published" else 1 - 0.5 / game.max_steps
    assert total.max() <= best + 1e-6


def test_navigator_seldom_walls_the_treasure_in():
    """One start of 310 on the easy level: 13 of 4096."""
    _, state = voyage("easy", count=4096)
    free = state.cells != TNT
    reached = np.zeros(free.shape, bool)
    reached[np.arange(4096), state.row, state.column] = True
    for _ in range(40):
        padded = np.pad(reached, ((0, 0), (1, 1), (1, 1)))
        beside = padded[:, 2:, 1:-1] | padded[:, :-2, 1:-1] | padded[:, 1:-1, 2:] | padded[:, 1:-1, :-2]
        reached |= beside & free
    walled = 4096 - (reached & (state.cells == TREASURE)).sum()
    assert 0 < walled < 4096 / 310 + 4 * np.sqrt(4096 / 310)


def test_navigator_published_start_on_tnt():
    """Bumping into the border kills; waiting, taking and walking away do not."""
    game, state = voyage("easy", "published")
    cells = np.zeros_like(state.cells)
    cells[:, 0, 0], cells[:, 5, 5] = TNT, TREASURE
    state = at(state.replace(cells=cells), 0, 0)
    for action, killed in ((0, True), (2, True), (1, False), (3, False), (4, False), (NOTHING, False), (6, False)):
        _, reward, terminal = step(game, state, action)
        assert (terminal == killed).all()
        np.testing.assert_allclose(reward, -0.5 if killed else -0.5 / game.max_steps, rtol=1e-6)


def test_navigator_published_start_on_the_treasure_is_worth_one():
    game, state = voyage("hard", "published")
    _, reward, terminal = step(game, at(corner(state), 1, 0), 4)
    assert terminal.all() and (reward == 1).all()


@every_level
def test_navigator_full_frame_shows_time_and_score(level):
    game, start = voyage(level)
    times = copies(start, game.max_steps + 1).replace(time=np.arange(game.max_steps + 1, dtype=np.int32))
    assert looks(game, times) == game.max_steps + 1
    assert looks(game, copies(start, 2).replace(score=np.array([0, 100], np.int32))) == 2


@every_level
def test_navigator_full_frame_shows_the_board(level, rules="strict"):
    """Every place of the cursor, and every content of every cell; also under the cursor, but for published rules."""
    game, start = voyage(level, rules)
    count, side = game.board**2, game.board
    start = start.replace(time=start.time + 7)
    row, column = np.divmod(np.arange(count), side)
    assert looks(game, at(copies(start, count), row, column)) == count
    one = np.eye(count, dtype=np.int8).reshape(-1, side, side)
    contents = np.concatenate([TNT * one, TREASURE * one, 0 * one[:1]])
    hidden = 0 if rules == "strict" else 2
    assert looks(game, copies(start, len(contents)).replace(cells=contents)) == 2 * count + 1 - hidden
    # Under any cursor its content is seen, or covered.
    covered = jax.tree.map(lambda leaf: leaf[-100:], at(copies(start, count).replace(cells=one), row, column))
    faces = [covered.replace(cells=content * covered.cells) for content in (0, TNT, TREASURE)]
    for first, second in itertools.combinations(faces, 2):
        assert (differing(game, first, second, False) == (rules == "strict")).all()


def test_navigator_published_frame_shows_the_board_but_no_time():
    test_navigator_full_frame_shows_the_board("hard", "published")
    game, start = voyage("hard", "published")
    assert not differing(game, start, start.replace(time=start.time + 9), False).any()


@pytest.mark.parametrize(("level", "rules"), [("medium", "strict"), ("hard", "published")])
def test_navigator_partial_frame_hides_the_board_after_the_start(level, rules):
    game, start = voyage(level, rules)
    other = start.replace(cells=start.cells[::-1])
    assert differing(game, start, other, True).mean() > 0.9, "the first frame shows the way"
    one, two = (state.replace(time=state.time + 1) for state in (start, other))
    assert not differing(game, one, two, True).any()
    assert not differing(game, one, one.replace(time=one.time + 30), True).any()
    assert differing(game, one, one.replace(score=one.score + 100), True).all()
    assert differing(game, one, at(one, (one.row + 1) % game.board, one.column), True).all()


def test_navigator_partial_frame_hides_what_lies_under_the_cursor():
    for game, start in (voyage("medium"), voyage("hard", "published")):
        found = at(corner(start), 1, 0).replace(time=start.time + 3)
        empty = found.replace(cells=np.zeros_like(found.cells))
        assert not differing(game, found, empty, True).any()
        assert differing(game, found, empty, False).all()


def test_navigator_bar():
    """An empty track at the start; the published frame has none, and is the same otherwise."""
    (strict, state), (published, _) = voyage("hard"), voyage("hard", "published")
    one, two = (draw(game, state, False)[0] for game in (strict, published))
    assert len({tuple(colour) for colour in one[16:112, 4:12].reshape(-1, 3)}) == 1
    np.testing.assert_array_equal(np.unique(np.argwhere((one != two).any(2))[:, 1]), range(4, 12))


def test_navigator_refuses_other_boards():
    with pytest.raises(ValueError, match=r"board=.*; expected 8, 10 or 12"):
        plugins.find("games", "navigator")(board=6)
