"""Tetris: played against a reference implementation with lists, known returns and lengths, and what its frames show."""

import collections
import functools
import itertools

import jax
import numpy as np
import pytest
from playing import both_rules, copies, draw, every_level, fresh, make

BATCH = 48  # of every step: one program for each level and rules
I, O, T, S, Z, J, L = range(7)  # noqa: E741
# Cells as row and column of the 4 x 4 box, unturned and after one, two and three quarter turns clockwise.
TABLE = """
10 11 12 13 | 02 12 22 32 | 20 21 22 23 | 01 11 21 31
11 12 21 22 | 11 12 21 22 | 11 12 21 22 | 11 12 21 22
11 20 21 22 | 11 21 22 31 | 20 21 22 31 | 11 20 21 31
11 12 20 21 | 11 21 22 32 | 21 22 30 31 | 10 20 21 31
10 11 21 22 | 12 21 22 31 | 20 21 31 32 | 11 20 21 30
10 20 21 22 | 11 12 21 31 | 20 21 22 32 | 11 21 30 31
12 20 21 22 | 11 21 31 32 | 20 21 22 30 | 10 11 21 31
"""
CELLS = [
    [[(int(cell[0]), int(cell[1])) for cell in turn.split()] for turn in line.split("|")]
    for line in TABLE.strip().split("\n")
]


def board_of(rows):
    """int[..., 20, 10] of rows as the state has them."""
    return np.asarray(rows)[..., None] >> 3 * np.arange(10) & 7


def rows_of(board):
    return (np.asarray(board, np.int32) << 3 * np.arange(10, dtype=np.int32)).sum(-1, dtype=np.int32)


@functools.cache
def compiled(game):
    step = jax.vmap(game.step)
    return jax.jit(lambda state, action, key: step(state, action, jax.random.split(key, BATCH)))


def go(game, state, action, seed=0):
    """(state, reward, terminal) in numpy of a step of up to BATCH states, filled up and cut again."""
    count = len(state.time)
    fill = lambda leaf: np.resize(np.asarray(leaf), (BATCH, *np.shape(leaf)[1:]))  # noqa: E731
    action = fill(np.broadcast_to(np.asarray(action, np.int32), count))
    after = compiled(game)(jax.tree.map(fill, state), action, jax.random.key(seed))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], after)


def setting(state, **fields):
    """The state with fields replaced by values of the same type, for one or for each of the batch."""
    old = {name: np.asarray(getattr(state, name)) for name in fields}
    fields = {name: np.broadcast_to(value, old[name].shape).astype(old[name].dtype) for name, value in fields.items()}
    return state.replace(**fields)


def at(game, count=1, piece=O, rotation=0, row=0, column=3, board=None, time=5, **fields):
    """States of one piece over one board, a few steps after their start."""
    state = copies(fresh(game), count)
    rows = rows_of(np.zeros((20, 10)) if board is None else board)
    return setting(state, piece=piece, rotation=rotation, row=row, column=column, rows=rows, time=time, **fields)


def well(top, *columns):
    """A board with all rows from `top` down filled but for some columns."""
    board = np.zeros((20, 10), int)
    board[top:] = 1 + I
    board[:, list(columns)] = 0
    return board


# --- Reference implementation with lists ---


class Reference:
    """Reference implementation of one game in plain Python."""

    def __init__(self, game, state, place):
        self.game, self.strict = game, game.rules == "strict"
        self.board = board_of(state.rows[place]).tolist()
        self.piece, self.x, self.y = int(state.piece[place]), int(state.column[place]), int(state.row[place])
        self.rotation, self.lines, self.time = (
            int(getattr(state, name)[place]) for name in ("rotation", "score", "time")
        )
        self.just_locked, self.frames = bool(state.locked[place]), min(int(state.time[place]), 10)
        self.next, self.queue, self.index = state.coming[place].tolist(), state.bag[place].tolist(), state.index[place]
        self.dealt = list(self.queue[self.index + 1 :])  # what is left of the bag, under the strict rules
        self.events = collections.Counter()

    def collides(self, x, y, rotation):
        for row, column in CELLS[self.piece][rotation]:
            row, column = row + y, column + x
            if not (0 <= row < 20 and 0 <= column < 10) or self.board[row][column]:
                return True
        return False

    def spawn(self, new_queue):
        self.piece = self.next.pop(0)
        self.index = (self.index + 1) % 7
        if self.index == 0:
            self.queue = new_queue
        if self.strict:
            self.dealt = self.dealt or list(new_queue)
            self.next.append(self.dealt.pop(0))
        else:
            self.next.append(self.queue[(self.index + self.game.preview - 1) % 7])
        self.x, self.y, self.rotation, self.frames = 3, 0, 0, 0

    def move(self, action):
        x, y, rotation = self.x, self.y, self.rotation
        if action == 0:
            rotation = (rotation + 1) % 4
        elif action == 1:
            far = self.frames >= 1 and not self.collides(x, y + self.game.drop, rotation)
            y += self.game.drop if far else 1
        elif action == 2:
            x -= 1
        elif action == 3:
            x += 1
        if not self.collides(x, y, rotation):
            self.events["shelf"] += y > self.y + 1 and any(self.collides(x, z, rotation) for z in range(self.y + 1, y))
            self.x, self.y, self.rotation = x, y, rotation
        if action != 1:
            far = not self.collides(self.x, self.y + self.game.fall, self.rotation)
            y = self.y + (self.game.fall if far else 1)
            if not self.collides(self.x, y, self.rotation):
                self.events["shelf"] += y > self.y + 1 and self.collides(self.x, self.y + 1, self.rotation)
                self.y = y

    def step(self, action, new_queue):
        reward, cleared, topped = 0.0, 0, False
        if self.just_locked:
            kept = [row for row in self.board if not all(row)]
            cleared = 20 - len(kept)
            self.board = [[0] * 10 for _ in range(cleared)] + kept
            reward = 0.1 * (min(cleared, 10 - self.lines) if self.strict else cleared)
            self.events["beyond ten"] += self.lines == 9 and cleared == 4
            self.lines += cleared
            self.spawn(new_queue)
            topped = self.collides(self.x, self.y, self.rotation)
        self.move(action)
        self.just_locked = self.collides(self.x, self.y + 1, self.rotation)
        self.frames = min(self.frames + 1, 10)
        if self.just_locked:
            for row, column in CELLS[self.piece][self.rotation]:
                self.board[row + self.y][column + self.x] = self.piece + 1
        self.time += 1
        won, late = self.lines >= 10, self.time >= 3000 and not self.strict
        if topped and not won and not late:
            reward -= 1
        self.events.update([f"cleared {cleared}"])
        self.events["cleared and topped"] += bool(cleared and topped and not won)
        self.events["won and topped"] += won and topped
        return reward, topped or won or late


def prepared(generator):
    """A board and a piece on its way to a place where it fits, so that rows are often completed."""
    piece, rotation = generator.choice([I, I, O, T, S, Z, J, L]), generator.integers(4)
    cells = np.array(CELLS[piece][rotation])
    column = generator.integers(-cells[:, 1].min(), 10 - cells[:, 1].max())
    low = generator.integers(4, 20) if generator.random() < 0.5 else 19
    row = low - cells[:, 0].max()
    cells += (row, column)
    board = np.zeros((20, 10), int)
    board[: low + 1] = generator.random((low + 1, 10)) < generator.choice([0, 0.3, 0.7])
    board[low + 1 :] = generator.random((19 - low, 10)) < 0.8
    board[cells[:, 0].min() : low + 1] = generator.random((low + 1 - cells[:, 0].min(), 1)) < 0.9
    for y, x in cells:
        board[: y + 1, x] = 0
    if low < 19:
        board[low + 1, cells[cells[:, 0] == low, 1]] = 1
        board[np.arange(low + 1, 20), generator.integers(0, 10, 19 - low)] *= board[low + 1 :].sum(1) < 10
    board *= generator.integers(1, 8, board.shape)
    lines = generator.choice([0, 3, 8, 9, 9])
    return dict(piece=piece, rotation=rotation, column=column, row=max(row - generator.integers(1, 4), 0)), board, lines


def start_at_prepared(game, state, place, generator):
    position, board, lines = prepared(generator)
    full = (board > 0).all(1)  # no piece has just come to rest: a full row could not be there
    board[full, generator.integers(10)] = 0
    changes = dict(position, rows=rows_of(board), score=lines, time=generator.integers(1, 50), locked=False)
    for name, value in changes.items():
        getattr(state, name)[place] = value
    return Reference(game, state, place)


@both_rules
@every_level
def test_tetris_agrees_with_the_reference(level, rules):
    game, generator = make("tetris", level, rules), np.random.default_rng(len(level + rules))
    state = jax.tree.map(np.array, fresh(game, BATCH))
    games = [Reference(game, state, place) for place in range(BATCH)]
    events = collections.Counter()
    for time in range(170):
        if time >= 30:  # first from the start, then a part of them from prepared boards every step
            for place in generator.integers(0, BATCH, 3):
                events.update(games[place].events)
                games[place] = start_at_prepared(game, state, place, generator)
        actions = generator.choice([0, 1, 2, 3, 4, 5], BATCH, p=[0.12, 0.28, 0.15, 0.15, 0.2, 0.1])
        new, rewards, ends = go(game, state, actions, time)
        state, boards = jax.tree.map(np.array, new), board_of(new.rows)
        for place, reference in enumerate(games):
            reward, over = reference.step(actions[place], state.bag[place].tolist())
            theirs = (reference.board, reference.next, reward, over)
            ours = boards[place].tolist(), state.coming[place].tolist(), rewards[place], ends[place]
            assert theirs[:2] == ours[:2] and theirs[3] == ours[3] and abs(theirs[2] - ours[2]) < 1e-6
            for one, two in zip(
                ("piece", "x", "y", "rotation", "just_locked", "lines", "time"),
                ("piece", "column", "row", "rotation", "locked", "score", "time"),
                strict=True,
            ):
                assert getattr(reference, one) == getattr(state, two)[place], one
            if over:
                events.update(reference.events)
                games[place] = start_at_prepared(game, state, place, generator)
    wanted = ["cleared 1", "cleared 2", "cleared 3", "cleared 4", "cleared and topped", "won and topped", "beyond ten"]
    for event in [*wanted, "shelf"][: 8 if level == "hard" else 7]:
        assert events[event] > 0, event
    assert (events["shelf"] > 0) == (level == "hard")


# --- Pieces and their order ---


def test_tetris_pieces_lie_as_in_the_table():
    game = make("tetris")
    kinds = np.arange(28)
    lowest = np.array([max(row for row, _ in turn) for piece in CELLS for turn in piece])
    state = at(game, 28, piece=kinds // 4, rotation=kinds % 4, row=9 - lowest, board=well(10, 9))
    state, _, _ = go(game, state, 4)
    assert state.locked.all()
    for kind, board in zip(kinds, board_of(state.rows)[:, :10], strict=True):
        laid = np.argwhere(board == kind // 4 + 1) - (9 - lowest[kind], 3)
        assert laid.tolist() == [list(cell) for cell in CELLS[kind // 4][kind % 4]]


def order(game, count):
    """int[B, count]: the pieces as they come, if each vanishes as soon as it has started."""
    state, pieces = fresh(game, BATCH), []
    for time in range(count):
        pieces.append(state.piece)
        state, _, ends = go(game, setting(state, rows=0, locked=True), 4, time + 1)
        assert not ends.any()
    return np.stack(pieces, 1)


@every_level
def test_tetris_strict_pieces_come_in_bags_of_seven(level):
    game = make("tetris", level)
    pieces, bags = order(game, 42).reshape(BATCH, 6, 7), fresh(game, BATCH).bag
    np.testing.assert_array_equal(np.sort(pieces, 2), np.broadcast_to(np.arange(7), pieces.shape))
    np.testing.assert_array_equal(pieces[:, 0], bags)
    later = pieces[:, 1:].reshape(-1, 7)
    share = (later[:, :, None] == np.arange(7)).mean(0)
    assert np.abs(share - 1 / 7).max() < 4.5 * np.sqrt(6 / 49 / len(later))
    assert (pieces[:, 1:] == pieces[:, :-1]).all(2).sum() < 3, "a bag of 5040 kinds is that of before"


@every_level
def test_tetris_published_first_bag_is_broken(level):
    game = make("tetris", level, "published")
    pieces, bags = order(game, 7 * 6 + 1), fresh(game, BATCH).bag
    first = {"easy": [0, 1, 2, 3, 6, 0, 1], "medium": [0, 1, 2, 4, 5, 6, 0], "hard": [0, 1, 2, 3, 4, 5, 6]}[level]
    np.testing.assert_array_equal(pieces[:, :7], bags[:, first])
    later = pieces[:, 7:42].reshape(BATCH, 5, 7)
    np.testing.assert_array_equal(np.sort(later, 2), np.broadcast_to(np.arange(7), later.shape))


@both_rules
@every_level
def test_tetris_start(level, rules):
    game = make("tetris", level, rules)
    state = fresh(game, 4096)
    for name, value in dict(rows=0, row=0, column=3, rotation=0, locked=False, time=0, score=0).items():
        assert (getattr(state, name) == value).all(), name
    np.testing.assert_array_equal(state.piece, state.bag[:, 0])
    np.testing.assert_array_equal(state.coming, state.bag[:, 1 : 1 + game.preview])
    share = (state.bag[:, :, None] == np.arange(7)).mean(0)
    assert np.abs(share - 1 / 7).max() < 4.5 * np.sqrt(6 / 49 / 4096)
    orders, counts = np.unique(state.bag @ 7 ** np.arange(7), return_counts=True)
    assert len(orders) > 2600 and counts.max() < 9  # 2804 of 5040 expected, each with mean 0.81


# --- Known returns and lengths ---


@both_rules
@pytest.mark.parametrize(("level", "steps"), [("easy", 17), ("hard", 9)])
def test_tetris_a_square_falls_on_its_own_and_clears_two_rows(level, steps, rules):
    game = make("tetris", level, rules)
    state = at(game, board=well(18, 4, 5), time=0)
    for time in range(1, steps + 1):
        state, reward, over = go(game, state, 4)
        assert reward[0] == 0 and not over[0] and state.row[0] == min(game.fall * time, 17)
        assert state.locked[0] == (time == steps)
    state, reward, over = go(game, state, 4)
    np.testing.assert_allclose(reward, 0.2)
    assert not over[0] and state.score[0] == 2 and not state.rows.any() and state.row[0] == game.fall


@every_level
def test_tetris_drops(level):
    """One row in the first step, D later, one where D collides; a drop replaces the fall."""
    game = make("tetris", level)
    state, rows = at(game, time=0), []
    while not rows or not state.locked[0]:
        state = go(game, state, 1)[0]
        rows.append(int(state.row[0]))
    assert rows == {2: [*range(1, 18, 2)], 3: [1, 4, 7, 10, 13, 16, 17]}[game.drop]


@pytest.mark.parametrize(("level", "row"), [("easy", 7), ("medium", 7), ("hard", 9)])
def test_tetris_on_hard_a_piece_jumps_through_a_shelf(level, row):
    shelf = np.zeros((20, 10), int)
    shelf[9, 4:] = 1
    game = make("tetris", level)
    state, _, _ = go(game, at(game, piece=I, row=7, column=0, board=shelf), 3)
    assert (state.row[0], state.column[0], state.locked[0]) == (row, 1, level != "hard")


def lock_at(game, board, piece, rotation, column, lines):
    """A state whose piece has just come to rest in the last rows of the board."""
    row = 19 - max(cell[0] for cell in CELLS[piece][rotation])
    state = at(game, piece=piece, rotation=rotation, row=row, column=column, board=board, score=lines)
    state, reward, over = go(game, state, 4)
    assert state.locked[0] and reward[0] == 0 and not over[0]
    return state


@both_rules
@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_tetris_rows_pay_a_tenth_each(height, rules):
    game = make("tetris", "easy", rules)
    state, reward, over = go(game, lock_at(game, well(20 - height, 9), I, 1, 7, 0), 4)
    np.testing.assert_allclose(reward, 0.1 * height, rtol=1e-6)
    rest = board_of(state.rows[0])
    assert state.score[0] == height and rest.sum() == (4 - height) * (I + 1) == rest[:, 9].sum() and not over[0]


@pytest.mark.parametrize(("rules", "best"), [("strict", 1.0), ("published", 1.3)])
@every_level
def test_tetris_best_return(level, rules, best):
    """Four rows, four, one, and four more at nine: the most that can be cleared."""
    game = make("tetris", level, rules)
    total, lines = np.float32(0), 0
    for height in (4, 4, 1, 4):
        state, reward, over = go(game, lock_at(game, well(20 - height, 9), I, 1, 7, lines), 4)
        total, lines = total + reward[0], lines + height
        assert state.score[0] == lines and over[0] == (lines == 13)
    np.testing.assert_allclose(total, best, rtol=1e-6)


@both_rules
@every_level
def test_tetris_worst_return_and_longest_life(level, rules):
    game = make("tetris", level, rules)
    state, total, alive, life = fresh(game, BATCH), np.zeros(BATCH), np.ones(BATCH, bool), np.zeros(BATCH, int)
    while alive.any():
        state, reward, over = go(game, state, 4)
        total, life = total + reward * alive, np.where(state.locked, 0, life + 1)
        assert life.max() < 18 and state.time[0] < 1314
        alive &= ~over
    np.testing.assert_array_equal(total, -1)


TOWER = well(1, 0, 9) * np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 0])


@both_rules
def test_tetris_topping_out_costs_one_and_rows_still_pay(rules):
    game = make("tetris", "easy", rules)
    tower = TOWER.copy()
    tower[19] = [1] * 9 + [0]
    for lines, expected, high in ((0, -0.9, 1), (9, 0.1, 1), (0, 0.1, 2)):
        board = np.where(np.arange(20)[:, None] >= high, tower, 0)
        _, reward, over = go(game, lock_at(game, board, I, 1, 7, lines), 4)
        np.testing.assert_allclose(reward, expected, rtol=1e-6)
        assert over[0] == (high == 1)


def test_tetris_limit():
    """Only the published rules end a game at step 3000, and forgive the one that tops out there."""
    for rules, late in (("strict", False), ("published", True)):
        game = make("tetris", "easy", rules)
        for time in (2998, 2999):
            state = at(game, 2, board=TOWER, time=time, row=0, locked=[False, True])
            state = setting(state, rows=rows_of(np.stack([0 * TOWER, TOWER])))
            _, reward, over = go(game, state, 4)
            last = late and time == 2999
            np.testing.assert_array_equal(reward, [0, 0 if last else -1])
            np.testing.assert_array_equal(over, [last, True])


def test_tetris_refuses_impossible_parameters():
    for field in ("preview", "fall", "drop"):
        with pytest.raises(ValueError, match=f"{field}=4; expected 1, 2 or 3"):
            type(make("tetris"))(**{field: 4})


# --- Frames ---


def looks(game, states, partial):
    """Return the number of distinct frames of a batch of any size."""
    frames = set()
    for first in range(0, len(states.time), 136):
        part = jax.tree.map(lambda leaf: leaf[first : first + 136], states)  # noqa: B023
        frames |= {frame.tobytes() for frame in draw(game, part, partial)}
    return len(frames)


@both_rules
def test_tetris_frames_show_every_block_and_only_the_full_one(rules):
    game = make("tetris", "easy", rules)
    boards = np.zeros((201, 20, 10), int)
    boards.reshape(201, 200)[np.arange(200), np.arange(200)] = 1 + np.arange(200) % 7
    states = at(game, 201, row=0, column=3, board=None)
    hidden = boards[:, 1:3, 4:6].any((1, 2))  # behind the current piece: not reachable
    states = jax.tree.map(lambda leaf: leaf[~hidden], setting(states, rows=rows_of(boards)))
    assert looks(game, states, False) == 197 and looks(game, states, True) == 1
    colours = setting(at(game, 8), rows=rows_of(np.arange(8)[:, None, None] * (np.arange(200).reshape(20, 10) == 150)))
    assert looks(game, colours, False) == 8


def placements():
    """Every piece in every way it fits between the walls of one row."""
    return np.array(
        [
            (piece, rotation, column)
            for piece, rotation, column in itertools.product(range(7), range(4), range(-2, 9))
            if all(0 <= column + cell[1] < 10 for cell in CELLS[piece][rotation])
        ]
    )


def test_tetris_full_frame_shows_the_current_piece_and_its_rotation():
    places = np.repeat(placements(), 2, 0)
    fields = dict(zip(("piece", "rotation", "column"), places.T, strict=True), row=np.arange(len(places)) % 2 + 8)
    for rules in ("strict", "published"):
        game = make("tetris", "easy", rules)
        states = at(game, len(places), **fields)
        cells = {
            (piece, *sorted((y + row, x + column) for y, x in CELLS[piece][rotation]))
            for (piece, rotation, column), row in zip(places, fields["row"], strict=True)
        }
        assert len(cells) < len(places)
        assert looks(game, states, True) == len(cells), "the partial frame shows where the piece is, no more"
        assert looks(game, states, False) == (len(places) if rules == "strict" else len(cells))
        first = setting(states, time=0)
        assert looks(game, first, True) == looks(game, first, False)


def test_tetris_rotations_that_look_the_same_differ_by_the_mark():
    """I, S and Z in index 0 and 2, one row apart, and in 1 and 3, one column apart: the next turn differs."""
    game = make("tetris")
    for piece in (I, S, Z):
        one = at(game, 2, piece=piece, rotation=[0, 1], row=[8, 8], column=3)
        two = at(game, 2, piece=piece, rotation=[2, 3], row=[7, 8], column=[3, 4])
        frames = [[draw(game, states, partial) for states in (one, two)] for partial in (False, True)]
        differing = (frames[0][0] != frames[0][1]).any((1, 2, 3))
        assert differing.all() and (frames[1][0] == frames[1][1]).all()
        after = [go(game, states, 0)[0] for states in (one, two)]
        frames = [draw(game, states, True) for states in after]
        assert (frames[0] != frames[1]).any((1, 2, 3)).all(), "what is hidden matters"


def test_tetris_strict_frame_shows_the_current_piece_from_locked_ones():
    """Seven blocks of one colour as a corner: which bar of four moves, and hangs free, where the mark is the same."""
    boards = np.zeros((2, 20, 10), int)
    boards[0, 7:10, 3] = boards[1, 10, 4:7] = I + 1
    for rules, count in (("strict", 2), ("published", 1)):
        game = make("tetris", "easy", rules)
        states = setting(at(game, 2, piece=I, rotation=[0, 3], row=[9, 7], column=[3, 2]), rows=rows_of(boards))
        assert looks(game, states, False) == count
        assert not go(game, setting(states, row=states.row - 1), 4)[0].locked.any()


@every_level
def test_tetris_full_frame_shows_what_is_left_of_the_bag(level):
    """The set, not its order; the partial frame not even that, but at time 0."""
    game = make("tetris", level)
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(7), (300, 1)), axis=1)
    index = np.arange(300) % 7
    states = setting(at(game, 300), bag=orders, index=index)
    left = [
        frozenset(range(7)) if last == 6 else frozenset(bag[last + 1 :])
        for bag, last in zip(orders, index, strict=True)
    ]
    lights = draw(game, jax.tree.map(lambda leaf: leaf[:136], states), False)[:, 82:114, 76:116]
    lit = np.ptp(lights.astype(int), axis=3).reshape(136, 4, 8, 2, 20).max((2, 4)).reshape(136, 8) > 100
    assert [frozenset(np.flatnonzero(row)) for row in lit] == left[:136]
    for partial, time, count in ((False, 5, len(set(left))), (True, 5, 1), (True, 0, len(set(left)))):
        assert looks(game, setting(states, time=time), partial) == count
    assert len(set(left)) > 90
    published = make("tetris", "easy", "published")
    assert looks(published, setting(at(published, 300), bag=orders, index=index), False) == 1


@pytest.mark.parametrize(
    ("level", "rules"), [("easy", "strict"), ("medium", "strict"), ("hard", "strict"), ("easy", "published")]
)
def test_tetris_both_frames_show_the_pieces_to_come_and_the_score(level, rules):
    game = make("tetris", level, rules)
    coming = np.array([*itertools.product(range(7), repeat=game.preview)])[:: 1 + (game.preview == 3)]
    for partial in (False, True):
        assert looks(game, setting(at(game, len(coming)), coming=coming), partial) == len(coming)
        assert looks(game, setting(at(game, 14), score=np.arange(14)), partial) == 14


@both_rules
def test_tetris_full_rows_are_white_in_both_frames(rules):
    game = make("tetris", "easy", rules)
    board = np.stack([well(16), well(16, 9)])
    board[0, 16:] = np.arange(40).reshape(4, 10) % 7 + 1
    states = setting(at(game, 2, row=5), rows=rows_of(board))
    for partial in (False, True):
        plain = draw(game, setting(states, rows=0), partial)[0]
        frames = draw(game, states, partial)
        assert frames[0, 97:115, 15:73].min() > 200 and plain[97:115, 15:73].max() < 40
        assert (frames[1] == plain).all() == partial
        assert looks(game, setting(copies(states, 2), rows=rows_of(np.stack([board[0], well(16)]))), partial) == 1


def test_tetris_partial_frame_shows_the_piece_that_has_just_locked():
    game = make("tetris")
    state = lock_at(game, well(17, 0, 9), I, 1, 7, 0)
    falling = setting(state, rows=0, locked=False)
    assert (draw(game, state, True) == draw(game, falling, True)).all()


def test_tetris_lock_and_first_step_can_be_seen():
    """A piece is locked just when it rests; unlocked in row 0 it is only at time 0. So neither needs a mark."""
    game, generator = make("tetris", "hard"), np.random.default_rng(0)
    state = fresh(game, BATCH)
    for time in range(60):
        for place in range(BATCH):
            piece = [
                (y + state.row[place], x + state.column[place])
                for y, x in CELLS[state.piece[place]][state.rotation[place]]
            ]
            board = board_of(state.rows[place])
            rests = any(y == 19 or (board[y + 1, x] and (y + 1, x) not in piece) for y, x in piece)
            assert rests == state.locked[place]
            assert state.locked[place] or (state.row[place] == 0) == (time == 0)
        state, _, over = go(game, state, generator.integers(0, 5, BATCH))
        if over.any():
            break
    assert time > 25
