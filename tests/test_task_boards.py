"""VectorMineSweeper and VectorBattleship: rules, histories, laws of the boards, and players."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_playing import fields, make, random_play, see, starts
from task_replay import assert_mean, episodes, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import vector_battleship, vector_minesweeper


def numbers(mines, side):
    """Mines in the 3 x 3 block around each cell, by brute force."""
    cells = [divmod(cell, side) for cell in range(side**2)]
    near = np.array([[max(abs(a - c), abs(b - d)) <= 1 for c, d in cells] for a, b in cells])
    return mines.astype(int) @ near


def places(side, length):
    """Cells of every straight place of a ship, bool[places, n]."""
    found = []
    for row, column in itertools.product(range(side), repeat=2):
        for down, right in ((0, 1), (1, 0)):
            if row + down * (length - 1) < side and column + right * (length - 1) < side:
                board = np.zeros((side, side), bool)
                for step in range(length):
                    board[row + down * step, column + right * step] = True
                found.append(board.reshape(-1))
    return np.array(found)


def with_cells(task, name, cells):
    """A start with mines or ships at these cells."""
    marked = jnp.zeros(task.actions.n, bool).at[jnp.array(cells)].set(True)
    return task.reset(jax.random.key(0)).replace(**{name: marked})


# VectorMineSweeper.


def test_minesweeper_vectors():
    task = make("vector_minesweeper")
    start = with_cells(task, "mines", [0, 15])
    plans = [[*range(1, 15)], [3] * 14, [*range(1, 14), 0], [3, 3, 0, *[1] * 11]]
    seen = replay(task, plans, start)
    np.testing.assert_allclose(seen.reward[:, 0], 1 / 14, atol=1e-6)
    np.testing.assert_allclose(seen.reward[:, 1].sum(), -0.470238, atol=1e-6)
    np.testing.assert_allclose([*seen.reward[:2, 1], seen.reward[13, 2]], [1 / 14, -1 / 24, -4 / 7], atol=1e-6)
    np.testing.assert_allclose(seen.reward[:14, 2].sum(), 13 / 14 - 4 / 7, atol=1e-6)
    # Won by the last action, never over, and over with the mine.
    assert [list(np.flatnonzero(row)) for row in seen.terminal[:, :3].T] == [[13], [], [13]]
    assert seen.terminal[2, 3] and task.time_limit == 14


def test_minesweeper_thirteen_repeats_and_a_mine():
    """The lowest return: one safe cell twelve times more, then a mine."""
    task = make("vector_minesweeper")
    seen = replay(task, [[3] * 13 + [0]], with_cells(task, "mines", [0, 15]))
    np.testing.assert_allclose(seen.reward.sum(), -1.0, atol=1e-6)


def test_minesweeper_limit_is_terminal_under_published_rules():
    task = make("vector_minesweeper", rules="published")
    seen = replay(task, [[3] * 14], with_cells(task, "mines", [0, 15]))
    assert list(np.flatnonzero(seen.terminal)) == [13]


def test_minesweeper_shows_no_count_before_the_first_reveal():
    """Under published rules it shows class 0, which looks like a count of 0."""
    for rules, expected in (("strict", [0, 0, 0]), ("published", [1, 0, 0])):
        task = make("vector_minesweeper", rules=rules)
        seen = see(task, starts(task, 4), partial=True)
        np.testing.assert_array_equal(seen[:, :3], [expected] * 4)
        assert not seen[:, 3:].any()


@pytest.mark.parametrize("level", ["easy", "hard"])
def test_minesweeper_history(level):
    """The hidden block holds the revealed cells and the counts that were shown; the counts are right."""
    task = make("vector_minesweeper", level)
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    truth = numbers(play.state.mines, task.side)
    for env, steps in episodes(play):
        revealed, counts = np.zeros((2, task.cells))
        for step in range(steps.start, steps.stop):
            if step > steps.start:
                cell, count = part["cell"][step, env].argmax(), part["count"][step, env].argmax()
                assert cell == play.action[step - 1, env]
                assert count == truth[step, env, cell]
                revealed[cell], counts[cell] = 1, count / 8
            np.testing.assert_array_equal(hidden["revealed"][step, env], revealed)
            np.testing.assert_array_equal(hidden["counts"][step, env], counts)


def test_mines_are_uniform():
    """All pairs of cells are equally likely."""
    mines = starts(make("vector_minesweeper"), 12_000).mines
    assert (mines.sum(axis=1) == 2).all()
    pairs = np.unique(np.argwhere(mines)[:, 1].reshape(-1, 2) @ [16, 1], return_counts=True)[1]
    # Chi-square with 119 degrees of freedom: mean 119, s.d. 15.4.
    assert len(pairs) == 120 and 65 < ((pairs - 100) ** 2 / 100).sum() < 185


def test_minesweeper_returns():
    task = make("vector_minesweeper")
    assert_mean(first_returns(random_play(task)), -0.230)
    assert_mean(bounds.play(task, vector_minesweeper.memoryless(task), 500).returns, 0.3047)
    assert_mean(bounds.play(task, vector_minesweeper.memory(task), 300).returns, 0.7661)


# VectorBattleship.


def test_battleship_vectors():
    """All hits; one cell of water for ever; a sweep with a ship in the last cell; a hit once more is a miss."""
    task = make("vector_battleship")
    ships = [0, 1, 8, 9, 10, 16, 17, 18, 60, 61, 62, 63]
    seen = replay(task, [[*ships, *[5] * 52], [5] * 64, range(64), [0] * 64], with_cells(task, "ships", ships))
    np.testing.assert_allclose(seen.reward[:12, 0].sum(), 1, atol=1e-6)
    np.testing.assert_allclose(seen.reward.sum(axis=0)[1:], [-64 / 52, 0, 1 / 12 - 63 / 52], atol=2e-6)
    assert [list(np.flatnonzero(row)[:1]) for row in seen.terminal.T] == [[11], [], [63], []]
    np.testing.assert_array_equal(fields(task, seen.partial[:, 3])["hit"][:4, 0], [0, 1, 0, 0])
    assert task.time_limit == 64 and task.RETURNS == (-64 / 52, 1.0)


def test_battleship_history():
    """Hits and misses are the shots and their outcomes; hits lie on ships."""
    task = make("vector_battleship")
    play = random_play(task)
    hidden, part = fields(task, play.full), fields(task, play.partial)
    for env, steps in episodes(play):
        hits, misses = np.zeros((2, 64))
        for step in range(steps.start, steps.stop):
            if step > steps.start:
                cell, hit = part["cell"][step, env].argmax(), part["hit"][step, env, 0]
                assert cell == play.action[step - 1, env]
                if hit:
                    hits[cell] = 1
                elif not hits[cell]:
                    misses[cell] = 1
                assert play.state.ships[step, env, cell] == hits[cell]
            np.testing.assert_array_equal(hidden["hits"][step, env], hits)
            np.testing.assert_array_equal(hidden["misses"][step, env], misses)


def test_fleets_have_the_law_of_placing_one_ship_after_the_other():
    """The chance of each cell, against ships placed by enumeration in NumPy."""
    random, count = np.random.default_rng(0), 4000
    expected = np.zeros((count, 64), bool)
    for length in (2, 3, 3, 4):
        ways = places(8, length)
        free = ~(expected.astype(int) @ ways.T.astype(int)).astype(bool)
        chosen = np.argmax(np.where(free, random.random(free.shape), -1), axis=1)
        expected |= ways[chosen]
    ships = starts(make("vector_battleship"), count).ships
    assert (ships.sum(axis=1) == 12).all() and len(places(8, 4)) == 80
    shares, others = ships.mean(axis=0), expected.mean(axis=0)
    error = np.sqrt(2 * others * (1 - others) / count)
    assert (np.abs(shares - others) < 4.5 * error).all()
    assert ((shares - others) ** 2 / error**2).sum() < 64 + 5 * np.sqrt(128)


def test_battleship_returns():
    task = make("vector_battleship")
    assert_mean(first_returns(random_play(task)), -0.449)
    assert_mean(bounds.play(task, vector_battleship.memoryless(task), 500).returns, 0.167)
    assert_mean(bounds.play(task, vector_battleship.memory(task), 300).returns, 0.5535, 0.004)


# Both.


@pytest.mark.parametrize(
    ("name", "sizes", "observations", "limits"),
    [
        ("vector_minesweeper", (43, 83, 139), (51, 115, 202), (14, 30, 54)),
        ("vector_battleship", (139, 211, 299), (193, 301, 433), (64, 100, 144)),
    ],
)
def test_bytes_of_states_and_sizes_of_observations(name, sizes, observations, limits):
    for level, size, observation, limit in zip(("easy", "medium", "hard"), sizes, observations, limits, strict=True):
        task = make(name, level)
        state = jax.eval_shape(task.reset, jax.random.key(0))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) == size
        assert jax.eval_shape(task.draw, state, np.bool_(True)).shape == (observation,) and task.max_steps == limit


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("vector_minesweeper", {"mines": 14}, "mines=14; expected 1 to 13 with side=4"),
        ("vector_minesweeper", {"side": 1}, "side=1; expected 2 to 180"),
        ("vector_battleship", {"board": 4}, "board=4; expected 5 to 30"),
    ],
)
def test_parameters(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(name, **wrong)
