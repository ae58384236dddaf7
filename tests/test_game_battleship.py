"""BattleShip: known returns and lengths, and what its frames show."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import both_rules, copies, differing, draw, every_level, fresh, make, step

from podarcade import plugins
from podarcade.envs.games import battleship

COUNT = 64  # states in a batch, everywhere: one program for each environment
SHIP, FIRED = 1, 2


def fleet(level="easy", rules="strict", count=COUNT):
    game = make("battleship", level, rules)
    return game, fresh(game, count)


def at(state, row, column):
    """Return the states with the cursor in these cells, one for all or one for each."""
    place = lambda value: np.broadcast_to(value, len(state.time)).astype(np.int8)  # noqa: E731
    return state.replace(row=place(row), column=place(column))


def own(state):
    """Return the cursor's cell, bool[B, N, N]."""
    mask = np.zeros(state.cells.shape, bool)
    mask[np.arange(len(mask)), state.row, state.column] = True
    return mask


def looks(game, states, partial=False):
    """Return the number of distinct frames of the states."""
    count = len(states.time)
    parts = [jax.tree.map(lambda leaf: leaf[first : first + 136], states) for first in range(0, count, 136)]  # noqa: B023
    return len({frame.tobytes() for part in parts for frame in draw(game, part, partial)})


def rows_of(boards):
    """bool[..., N, N] -> int[..., N], as bits."""
    return boards.astype(int) @ (1 << np.arange(boards.shape[-1]))


@functools.cache
def all_places(side, length):
    """bool[P, N, N]: every ship of a length, across and down."""
    boards = []
    for row in range(side):
        for column in range(side - length + 1):
            board = np.zeros((side, side), bool)
            board[row, column : column + length] = True
            boards += [board, board.T]
    return np.array(boards)


def legal(taken, length):
    """bool[B, N, N] -> bool[B, P]: the places still free."""
    places = all_places(taken.shape[1], length).reshape(-1, taken[0].size)
    return taken.reshape(len(taken), -1).astype(np.float32) @ places.T.astype(np.float32) == 0


def sampled_fleets(side, count, ships, seed=0):
    """Return ships placed one after the other in NumPy, bool[count, N, N]."""
    generator, boards = np.random.default_rng(seed), np.zeros((count, side, side), bool)
    for length in ships:
        free = legal(boards, length)
        boards |= all_places(side, length)[(generator.random(free.shape) * free).argmax(1)]
    return boards


@every_level
def test_battleship_places_are_the_free_ones_each_once(level):
    """Word k is the k-th free place: uniform words give uniform places."""
    side, lengths = make("battleship", level).board, battleship.SHIPS
    boards = np.array([sampled_fleets(side, 1, lengths[:count], seed)[0] for count in range(4) for seed in range(3)])
    places = jax.jit(
        lambda taken, words: [
            jax.vmap(jax.vmap(lambda rows, word: battleship.place(rows, length, word), (None, 0)), (0, None))(  # noqa: B023
                taken, words
            )
            for length in (2, 3, 4)
        ]
    )(jnp.array(rows_of(boards), jnp.int32), jnp.arange(600, dtype=jnp.uint32))
    for length, after in zip((2, 3, 4), places, strict=True):
        free = legal(boards, length)
        for board, allowed, rows in zip(boards, free, np.asarray(after), strict=True):
            expected = rows_of(board | all_places(side, length)[allowed])
            assert len(np.unique(expected, axis=0)) == allowed.sum()
            np.testing.assert_array_equal(np.unique(rows[: allowed.sum()], axis=0), np.unique(expected, axis=0))
            np.testing.assert_array_equal(rows[allowed.sum() : 2 * allowed.sum()], rows[: allowed.sum()])


def test_battleship_ships_and_cursor_have_a_random_word_each(monkeypatch):
    """All randomness is one draw of five words: four for the ships in their order, one for the cursor."""
    words = np.random.default_rng(0).integers(0, 2**32, (COUNT, 5), np.uint32)
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype=None: key if shape == (5,) else None)
    state = jax.jit(jax.vmap(make("battleship", "medium").reset))(words)

    @jax.jit
    @jax.vmap
    def rows(words):
        taken = jnp.zeros(10, jnp.int32)
        for index, length in enumerate((2, 3, 3, 4)):
            taken = battleship.place(taken, length, words[index])
        return taken

    np.testing.assert_array_equal(rows_of(np.asarray(state.cells)), rows(words))
    np.testing.assert_array_equal(np.asarray(state.row) * 10 + np.asarray(state.column), words[:, 4] % 100)


def pair_counts(boards):
    """[B, 2 N, 2 N]: number of pairs of ship cells at each distance."""
    spectrum = np.fft.rfft2(boards.astype(float), (2 * boards.shape[1],) * 2)
    return np.round(np.fft.irfft2(np.abs(spectrum) ** 2, (2 * boards.shape[1],) * 2))


@every_level
def test_battleship_fleets_are_distributed_as_in_the_reference(level):
    """Cells, and the distances between them, against ships placed in numpy."""
    game, state = fleet(level, count=4096)
    ours, book = state.cells == SHIP, sampled_fleets(game.board, 6000, (2, 3, 3, 4))
    assert (state.cells.sum((1, 2)) == 12).all() and set(np.unique(state.cells)) == {0, 1}
    for statistic in (lambda boards: boards.astype(float), pair_counts):
        one, two = statistic(ours), statistic(book)
        error = np.sqrt(two.var(0) * (1 / len(one) + 1 / len(two)))
        assert (np.abs(one.mean(0) - two.mean(0)) <= 5 * error).all()


@both_rules
@every_level
def test_battleship_start(level, rules):
    game, state = fleet(level, rules, 4096)
    starts = game.board if rules == "strict" else game.board - 1
    counts = np.zeros((game.board, game.board))
    np.add.at(counts, (state.row, state.column), 1)
    assert (counts[starts:] == 0).all() and (counts[:, starts:] == 0).all()
    expected = 4096 / starts**2
    assert np.abs(counts[:starts, :starts] - expected).max() < 5 * np.sqrt(expected)
    on_ship = state.cells[own(state)].mean()
    assert abs(on_ship - 12 / game.board**2) < 0.03, "the cursor is independent of the ships"
    assert (state.time == 0).all() and (state.score == 0).all() and (state.repeats == 0).all()


class Book:
    """Reference implementation of one game in plain Python."""

    def __init__(self, game, cells, row, column, time, repeats):
        self.side, self.strict = game.board, game.rules == "strict"
        self.cells, self.row, self.column = cells.tolist(), int(row), int(column)
        self.time, self.repeats, self.hits = int(time), int(repeats), 0

    def step(self, action):
        """(reward, terminal)"""
        last, reward, worn_out = self.side - 1, 0.0, False
        self.time += 1
        if action == 0:
            self.row = max(self.row - 1, 0)
        elif action == 1:
            self.row = min(self.row + 1, last)
        elif action == 2:
            self.column = max(self.column - 1, 0)
        elif action == 3:
            self.column = min(self.column + 1, last)
        elif action == 4:
            worn_out = not self.strict and self.repeats >= self.side**2 // 2
            cell = self.cells[self.row][self.column]
            if cell >= FIRED:
                self.repeats += 1
                reward = -2 / self.side**2
                worn_out = worn_out or (self.strict and self.repeats >= self.side**2 // 2)
            elif cell == SHIP:
                self.hits += 1
                reward = 1 / 12
            self.cells[self.row][self.column] = cell | FIRED
        late = not self.strict and self.time >= 2 * self.side**2
        return reward, worn_out or late or self.hits == 12


@both_rules
@every_level
def test_battleship_agrees_with_the_reference(level, rules):
    """Random play with many shots, until the counters saturate, against plain Python."""
    game, state = fleet(level, rules)
    generator = np.random.default_rng(0)
    start = generator.integers(0, game.max_steps, COUNT).astype(np.int32), generator.integers(0, game.cap, COUNT)
    state = state.replace(time=start[0], repeats=start[1].astype(np.int32))
    fields = (state.cells, state.row, state.column, state.time, state.repeats)
    books = [Book(game, *each) for each in zip(*fields, strict=True)]
    alive, ends = np.ones(COUNT, bool), 0
    for time in range(100):
        action = generator.choice([0, 1, 2, 3, 4, 4, 4, 7, -1], COUNT)
        state, reward, terminal = step(game, state, action)
        for index in np.flatnonzero(alive):
            book = books[index]
            expected, over = book.step(action[index])
            np.testing.assert_allclose(reward[index], expected, rtol=1e-6)
            assert terminal[index] == over
            seen = (state.row, state.column, state.time, state.repeats, state.score)
            assert [int(leaf[index]) for leaf in seen] == [book.row, book.column, book.time, book.repeats, book.hits]
            if over or time % 10 == 9:
                np.testing.assert_array_equal(state.cells[index], book.cells)
        alive &= ~terminal
        ends += terminal.sum()
    assert ends > 10


@both_rules
@every_level
def test_battleship_worst_player(level, rules):
    """A miss, then the same cell until the end: C repeats cost 1, one more under the published rules."""
    game, state = fleet(level, rules)
    state = at(state, *np.array([np.argwhere(cells == 0)[0] for cells in state.cells]).T)
    shots, total = 0, np.zeros(COUNT)
    terminal = np.zeros(COUNT, bool)
    while not terminal.any():
        state, reward, terminal = step(game, state, 4)
        assert reward[0] == np.float32(-2 / game.board**2 if shots else 0)
        shots, total = shots + 1, total + reward
    assert terminal.all() and shots == game.board**2 // 2 + (2 if rules == "published" else 1)
    np.testing.assert_allclose(total, -1 - (2 / game.board**2 if rules == "published" else 0), rtol=1e-5)


@both_rules
@every_level
def test_battleship_best_player(level, rules):
    """A player who knows the ships walks along the rows and hits them all within the time limit."""
    game, state = fleet(level, rules)
    plans = []
    for cells, row, column in zip(state.cells, state.row, state.column, strict=True):
        plan = []
        for target in np.argwhere(cells == SHIP):
            down, right = target - (row, column)
            plan += [int(down > 0)] * abs(down) + [2 + int(right > 0)] * abs(right) + [4]
            row, column = target
        plans.append(plan)
    assert max(map(len, plans)) < game.max_steps
    total, over = np.zeros(COUNT), np.zeros(COUNT, bool)
    for time in range(max(map(len, plans))):
        state, reward, terminal = step(game, state, [plan[time] if time < len(plan) else -1 for plan in plans])
        total, over = total + reward * ~over, over | terminal
        np.testing.assert_array_equal(over, [time + 1 >= len(plan) for plan in plans])
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert (state.score == 12).all()


@both_rules
@every_level
def test_battleship_time_limit(level, rules):
    """The L-th step ends the published game whatever it does, and no strict game; its shot counts."""
    game, state = fleet(level, rules)
    state = at(state, *np.array([np.argwhere(cells == SHIP)[0] for cells in state.cells]).T)
    time = np.where(np.arange(COUNT) % 2, game.max_steps - 1, game.max_steps - 2).astype(np.int32)
    for action in range(5):
        _, reward, terminal = step(game, state.replace(time=time), action)
        np.testing.assert_array_equal(terminal, (rules == "published") & (time == game.max_steps - 1))
        np.testing.assert_allclose(reward, 1 / 12 if action == 4 else 0, rtol=1e-6)


@both_rules
def test_battleship_cap_after_a_new_cell(rules):
    """With C repeats made, any shot ends the published game, even at a new cell; a move does not."""
    game, state = fleet("easy", rules)
    water = at(state, *np.array([np.argwhere(cells == 0)[0] for cells in state.cells]).T)
    for repeats, action, over in ((game.cap, 4, True), (game.cap - 1, 4, False), (game.cap, 0, False)):
        _, _, terminal = step(game, water.replace(repeats=np.full(COUNT, repeats, np.int32)), action)
        if rules == "published":
            assert (terminal == over).all()
    again = water.replace(cells=water.cells | (FIRED * own(water)).astype(np.int8))
    after, reward, terminal = step(game, again.replace(repeats=np.full(COUNT, game.cap - 1, np.int32)), 4)
    assert (terminal == (rules == "strict")).all() and (reward < 0).all() and (after.repeats == game.cap).all()


@every_level
def test_battleship_full_frame_shows_every_counter(level):
    game, start = fleet(level)
    for field, most in (("time", game.max_steps), ("repeats", game.cap), ("score", 12)):
        states = copies(start, most + 1).replace(**{field: np.arange(most + 1, dtype=np.int32)})
        assert looks(game, states) == most + 1, field


@every_level
def test_battleship_full_frame_shows_cursor_and_marks(level, rules="strict"):
    game, start = fleet(level, rules)
    cells = game.board**2
    row, column = np.divmod(np.arange(cells), game.board)
    assert looks(game, at(copies(start, cells), row, column)) == cells
    one = np.eye(cells, dtype=np.int8).reshape(-1, game.board, game.board)
    marks = np.concatenate([FIRED * one, (FIRED + SHIP) * one, 0 * one[:1]])
    assert looks(game, copies(start, len(marks)).replace(cells=marks)) == 2 * cells + 1


def test_battleship_published_frame_shows_cursor_and_marks_but_no_counters():
    test_battleship_full_frame_shows_cursor_and_marks("hard", "published")
    game, start = fleet("hard", "published")
    later = start.replace(time=start.time + 9, repeats=start.repeats + 3)
    assert not differing(game, start, later, False).any()


@pytest.mark.parametrize(("level", "rules"), [("medium", "strict"), ("hard", "published")])
def test_battleship_never_shows_a_ship_before_it_is_hit(level, rules):
    game, one = fleet(level, rules)
    two = one.replace(cells=one.cells[::-1])
    shots = np.where(np.random.default_rng(0).random(one.cells.shape) < 0.3, FIRED, 0) * (one.cells == two.cells)
    one, two = (state.replace(cells=(state.cells | shots).astype(np.int8)) for state in (one, two))
    for partial in (False, True):
        assert not differing(game, one, two, partial).any()


@pytest.mark.parametrize(("level", "rules"), [("medium", "strict"), ("hard", "published")])
def test_battleship_partial_frame_shows_the_cursor_its_cell_and_the_score_alone(level, rules):
    game, start = fleet(level, rules)
    shots = np.where(np.random.default_rng(0).random(start.cells.shape) < 0.3, FIRED, 0) * ~own(start)
    past = start.replace(cells=(start.cells | shots).astype(np.int8), time=start.time + 9, repeats=start.repeats + 3)
    assert not differing(game, start, past, True).any()
    assert differing(game, start, past, False).all()
    here = own(start)
    faces = [past.replace(cells=np.where(here, face, past.cells).astype(np.int8)) for face in (0, 2, 3)]
    others = [at(past, (past.row + 1) % game.board, past.column), past.replace(score=past.score + 1)]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert differing(game, faces[one], faces[two], True).all()
    for other in others:
        assert differing(game, past, other, True).all()


@pytest.mark.parametrize(("level", "rules"), [("medium", "strict"), ("hard", "published")])
def test_battleship_marks_look_the_same_in_both_twins(level, rules):
    """With no other cell fired at and no counter above zero, the twins' frames are equal."""
    game, start = fleet(level, rules)
    marked = start.replace(cells=(start.cells | FIRED * own(start)).astype(np.int8), time=np.zeros_like(start.time))
    assert 0 < (marked.cells == FIRED + SHIP).sum() < COUNT
    np.testing.assert_array_equal(draw(game, marked, False), draw(game, marked, True))


def test_battleship_bars():
    """Two empty tracks at the start; the published frame has none, and is the same otherwise."""
    (strict, state), (published, _) = fleet("hard"), fleet("hard", "published")
    one, two = (draw(game, state, False)[0] for game in (strict, published))
    assert len({tuple(colour) for colour in one[16:112, 4:12].reshape(-1, 3)}) == 1
    np.testing.assert_array_equal(np.unique(np.argwhere((one != two).any(2))[:, 1]), [*range(4, 12), *range(116, 124)])


def test_battleship_refuses_other_boards():
    with pytest.raises(ValueError, match=r"board=.*; expected 8, 10 or 12"):
        plugins.find("games", "battleship")(board=9)
