"""MineSweeper: known returns and lengths, and what its frames show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import LONG, MANY, both_rules, compiled, differing, draw, episodes, every_level, fresh, make, play, run

from podarcade import plugins
from podarcade.envs.environment import Environment


def sweep(level="easy", rules="strict", count=1):
    game = make("minesweeper", level, rules)
    return game, fresh(game, count)


def safe_corner(game, state):
    """The state with the cursor on a safe cell, no mine moved: on the first in reading order."""
    row, column = np.argwhere(np.asarray(state.cells[0]) == 0)[0]
    return state.replace(row=jnp.full(1, row, jnp.int8), column=jnp.full(1, column, jnp.int8))


@both_rules
@every_level
def test_minesweeper_repeats_end_the_game(level, rules):
    game, state = sweep(level, rules)
    cells, safe = game.board**2, game.board**2 - game.mines
    _, rewards, ends = run(game, safe_corner(game, state), [4] * 60)
    fires = cells // 2 + (2 if rules == "published" else 1)
    assert len(rewards) == fires and ends[-1]
    np.testing.assert_allclose(rewards, [1 / safe] + [-2 / cells] * (fires - 1), rtol=1e-5)
    expected = 1 / safe - 1 - (2 / cells if rules == "published" else 0)
    np.testing.assert_allclose(sum(rewards), expected, rtol=1e-5)


@both_rules
@every_level
def test_minesweeper_limit(level, rules):
    """Idling ends with step L; a reveal as L-th action adds a step, under the published rules only."""
    game = make("minesweeper", level, rules)
    for last, length in ((0, game.max_steps), (4, game.max_steps + (rules == "published"))):
        actions = np.zeros((LONG, MANY), int)
        actions[game.max_steps - 1] = last
        _, step = play(Environment(game), actions)
        hit = (step.reward == 0)[game.max_steps] & step.terminal[game.max_steps] & (last == 4)
        _, lengths = episodes(step)
        assert (~hit).sum() > 20
        np.testing.assert_array_equal(lengths[~hit], length)
        ends = step.truncated if rules == "strict" else step.terminal
        assert ends[length][~hit].all()


@both_rules
@every_level
def test_minesweeper_start(level, rules):
    game, state = sweep(level, rules, 4096)
    mines = np.asarray(state.cells)
    assert set(np.unique(mines)) == {0, 1} and (mines.sum((1, 2)) == game.mines).all()
    share = game.mines / game.board**2
    error = np.sqrt(share * (1 - share) / len(mines))
    assert np.abs(mines.mean(0) - share).max() < 4.5 * error
    neighbours = (mines[:, :, 1:] & mines[:, :, :-1]).mean((0, 1, 2))
    both = share * (game.mines - 1) / (game.board**2 - 1)
    pairs = len(mines) * game.board * (game.board - 1)
    assert abs(neighbours - both) < 4.5 * np.sqrt(both / pairs)
    starts = game.board if rules == "strict" else game.board - 1
    counts = np.zeros((game.board, game.board))
    np.add.at(counts, (np.asarray(state.row), np.asarray(state.column)), 1)
    assert (counts[starts:] == 0).all() and (counts[:, starts:] == 0).all()
    expected = len(mines) / starts**2
    assert np.abs(counts[:starts, :starts] - expected).max() < 4.5 * np.sqrt(expected)


@every_level
def test_minesweeper_shows_the_right_numbers(level):
    """The tile of every revealed cell is that of the number counted by hand."""
    game, state = sweep(level, count=16)
    mines = np.asarray(state.cells)
    side = 96 // game.board
    state = state.replace(cells=jnp.where(state.cells == 0, 2, state.cells).astype(jnp.int8))
    frames = draw(game, state, False)[:, 16:112, 16:112]
    looks = {}
    for board, frame, row, column in zip(mines, frames, np.asarray(state.row), np.asarray(state.column), strict=True):
        for i, j in np.argwhere(board == 0):
            if (i, j) != (row, column):
                number = board[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].sum()
                tile = frame[i * side : (i + 1) * side, j * side : (j + 1) * side]
                looks.setdefault(number, set()).add(tile.tobytes())
    assert all(len(tiles) == 1 for tiles in looks.values())
    assert len(set.union(*looks.values())) == len(looks) >= 3


@both_rules
@every_level
def test_minesweeper_cleared_board_returns_one(level, rules):
    game, state = sweep(level, rules)
    rewards, ends = [], []
    for row, column in np.argwhere(np.asarray(state.cells[0]) == 0):
        state = state.replace(row=jnp.full(1, row, jnp.int8), column=jnp.full(1, column, jnp.int8))
        state, reward, terminal = compiled(game, "step")(state, jnp.full(1, 4, jnp.int32))
        rewards.append(float(reward[0]))
        ends.append(bool(terminal[0]))
    np.testing.assert_allclose(sum(rewards), 1, rtol=1e-5)
    assert ends[-1] and not any(ends[:-1])


@both_rules
def test_minesweeper_moves_and_borders(rules):
    game, state = sweep("easy", rules)
    state = state.replace(row=jnp.zeros(1, jnp.int8), column=jnp.zeros(1, jnp.int8))
    for action, place in (
        (0, (0, 0)),
        (2, (0, 0)),
        (1, (1, 0)),
        (3, (1, 1)),
        (3, (1, 2)),
        (3, (1, 3)),
        (3, (1, 3)),
        (0, (0, 3)),
    ):
        state, rewards, _ = run(game, state, [action])
        assert (int(state.row[0]), int(state.column[0])) == place and rewards == [0.0]


@both_rules
def test_minesweeper_mine_ends_the_game_and_is_seen(rules):
    game, state = sweep("medium", rules)
    row, column = np.argwhere(np.asarray(state.cells[0]) == 1)[0]
    state = state.replace(row=jnp.full(1, row, jnp.int8), column=jnp.full(1, column, jnp.int8))
    after, rewards, ends = run(game, state, [4])
    assert rewards == [0.0] and ends == [True] and after.score[0] == 0
    nowhere = after.replace(cells=jnp.full_like(after.cells, 0).at[0, row, column].set(2))
    for partial in (False, True):
        assert differing(game, after, nowhere, partial).all()


@both_rules
def test_minesweeper_never_shows_a_mine_before_it_is_hit(rules):
    game, one = sweep("hard", rules, 32)
    two = one.replace(cells=one.cells[::-1])
    for partial in (False, True):
        assert not differing(game, one, two, partial).any()


@every_level
def test_minesweeper_full_frame_shows_every_counter(level):
    game, start = sweep(level)
    for field, most in (("time", game.max_steps), ("repeats", game.cap), ("score", game.board**2 - game.mines)):
        count = jnp.arange(most + 1, dtype=jnp.int32)
        states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (len(count), *leaf.shape[1:])), start)  # noqa: B023
        frames = draw(game, states.replace(**{field: count}), False)
        assert len({frame.tobytes() for frame in frames}) == len(count), field


@both_rules
@every_level
def test_minesweeper_full_frame_shows_cursor_and_cells(level, rules):
    game, start = sweep(level, rules)
    board = game.board
    copies = lambda count: jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (count, *leaf.shape[1:])), start)  # noqa: E731
    row, column = (line.reshape(-1).astype(jnp.int8) for line in jnp.mgrid[:board, :board])
    cursors = copies(board**2).replace(row=row, column=column)
    revealed = jnp.eye(board**2, dtype=jnp.int8).reshape(-1, board, board) * 2
    cells = copies(board**2).replace(cells=revealed)
    for states in (cursors, cells):
        frames = draw(game, states, False)
        assert len({frame.tobytes() for frame in frames}) == board**2


@both_rules
def test_minesweeper_partial_frame_hides_the_past(rules):
    game, start = sweep("medium", rules, 16)
    here = np.zeros((16, 6, 6), bool)
    here[np.arange(16), start.row, start.column] = True
    revealed = jnp.where((start.cells == 0) & ~here, 2, start.cells).astype(jnp.int8)
    past = start.replace(cells=revealed, time=start.time + 9, repeats=start.repeats + 3)
    assert not differing(game, start, past, True).any()
    assert differing(game, start, past, False).all()
    own = start.replace(cells=jnp.where(here, 2, start.cells).astype(jnp.int8))
    assert differing(game, start, own, True).all()


def test_minesweeper_bars():
    """Two empty tracks at the start; the published frame has none, and is the same otherwise."""
    (strict, state), (published, _) = sweep(), sweep(rules="published")
    one, two = (draw(game, state, False)[0] for game in (strict, published))
    assert len({tuple(colour) for colour in one[16:112, 4:12].reshape(-1, 3)}) == 1
    np.testing.assert_array_equal(np.unique(np.argwhere((one != two).any(2))[:, 1]), [*range(4, 12), *range(116, 124)])


def test_minesweeper_refuses_impossible_boards():
    game = plugins.find("games", "minesweeper")
    with pytest.raises(ValueError, match=r"board=.*; expected 4, 6 or 8"):
        game(board=5)
    with pytest.raises(ValueError, match=r"mines=.*; expected 1 to 15"):
        game(mines=16)
