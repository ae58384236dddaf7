"""KeyToDoor: three rooms, what the view shows, apples that come back, and the door."""

import jax
import numpy as np
import pytest
from task_playing import fields, make, random_play, starts
from task_replay import assert_mean, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import key_to_door
from podarcade.envs.tasks.key_to_door import APPLES, EXPLORE, ROOMS, SITES, TAKEN, USED, WIDTH, WITH, WITHOUT

NORTH, SOUTH, WEST, EAST = range(4)
EPISODES = 1000


def cell(row, column):
    return np.int8(row * WIDTH + column)


def begin(task, **values):
    return task.reset(jax.random.key(0)).replace(**values)


@pytest.mark.parametrize(("holds", "pays"), [(WITH, True), (WITHOUT, False)])
def test_the_door_opens_with_the_key_only(holds, pays):
    """Two steps north of the start of the last phase: 5 with the key, once, and nothing without it."""
    task = make("key_to_door")
    last = begin(task, cell=cell(3, 5), time=np.int32(75), holds=np.int8(holds))
    seen = replay(task, [[NORTH] * 2 + [SOUTH, NORTH] * 4], last)
    np.testing.assert_array_equal(seen.reward[:, 0], [0, 5 * pays] + [0] * 8)
    np.testing.assert_array_equal(seen.terminal[:, 0], [False] * 9 + [True])
    assert seen.state.cell[2, 0] == cell(1, 5) if pays else cell(2, 5)
    assert seen.state.holds[-1, 0] == (USED if pays else WITHOUT)


def test_the_key_is_taken_once():
    task = make("key_to_door")
    start = begin(task, cell=cell(4, 5), key=cell(2, 5))
    seen = replay(task, [[NORTH] * 2 + [SOUTH, NORTH, NORTH] + [NORTH] * 12], start)
    np.testing.assert_array_equal(seen.state.holds[:4, 0], [WITHOUT, WITHOUT, TAKEN, WITH])
    part = fields(task, seen.full)
    view = part["view"].reshape(-1, 5, 5, 5)
    key, indicator = view[..., 1], view[..., 4]
    assert key[0, 0, 2] == 1 and key[1, 1, 2] == 1 and not key[2:].any()
    assert indicator[2].sum() == indicator[2, 0, 2] == 1 and indicator.sum() == 1
    np.testing.assert_array_equal(part["key"][:, 0, 0], [0, 0] + [1] * 16)
    np.testing.assert_array_equal(part["phase"][[0, 14, 15], 0], [[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    # The second phase starts in the middle of its bottom row; its 10 apples are at known sites.
    assert seen.state.cell[EXPLORE, 0] == cell(5, 5) and (seen.state.apples[EXPLORE] == 0).sum() == APPLES


def test_an_apple_comes_back():
    """It is taken at frame f, seen again at f + 21, and taken again at f + 22 by an agent that waits there."""
    task = make("key_to_door")
    apples = np.full(len(SITES), -1, np.int8)
    apples[list(SITES).index(cell(1, 1))] = 0
    start = begin(task, cell=cell(1, 2), time=np.int32(16), apples=apples)
    seen = replay(task, [[WEST] + [NORTH] * 43, [WEST, EAST] + [NORTH] * 42], start)
    np.testing.assert_array_equal(np.flatnonzero(seen.reward[:, 0]), [0, 22])
    shown = fields(task, seen.partial)["view"].reshape(-1, 2, 5, 5, 5)[..., 3]
    assert not shown[1:, 0].any()  # covered by the agent
    np.testing.assert_array_equal(np.flatnonzero(shown[2:22, 1].any(axis=(1, 2))), [])
    assert shown[22, 1, 2, 1] == 1


def test_places_are_uniform():
    task = make("key_to_door")
    state = starts(task, 2000)
    for places in (state.key, state.cell):
        counts = np.unique(places, return_counts=True)[1]
        # Chi-square with 9 degrees of freedom: 33.7 has a probability of 1e-4.
        assert len(counts) == 10 and ((counts - 200) ** 2 / 200).sum() < 33.7
    planted = replay(task, np.full((2000, EXPLORE), SOUTH)).state.apples[-1] == 0
    assert (planted.sum(axis=1) == APPLES).all()
    share = planted.mean(axis=0)
    assert np.abs(share - APPLES / 22).max() < 4.5 * 0.5 / np.sqrt(2000)
    together = (planted[:, :1] & planted[:, 1:]).mean(axis=0)
    assert np.abs(together - 10 / 22 * 9 / 21).max() < 4.5 * 0.4 / np.sqrt(2000)


def test_views():
    """What random play sees, cell by cell, drawn again from the rooms in NumPy."""
    task = make("key_to_door")
    play = random_play(task)
    view = fields(task, play.partial)["view"].reshape(*play.start.shape, 5, 5, 5)
    walls = np.array([[list(row) for row in room] for room in ROOMS]) == "#"
    checked = 0
    for time in range(0, len(view), 3):
        for env in range(0, view.shape[1], 8):
            state = jax.tree.map(lambda leaf: leaf[time, env], play.state)  # noqa: B023
            phase = int(state.time >= 15) + int(state.time >= 75)
            board = np.zeros((7, 11, 5))
            board[..., 0] = walls[phase]
            if phase == 0:
                board[divmod(int(state.key), WIDTH)][1] = state.holds == WITHOUT
                if state.holds == TAKEN:
                    board[0, 5] = [0, 0, 0, 0, 1]
            elif phase == 1:
                for site in SITES[state.apples == 0]:
                    board[divmod(int(site), WIDTH)][3] = site != state.cell
            else:
                board[1, 5, 2] = 1
            row, column = divmod(int(state.cell), WIDTH)
            padded = np.pad(board, ((2, 2), (2, 2), (0, 0)))
            np.testing.assert_array_equal(view[time, env], padded[row : row + 5, column : column + 5])
            checked += 1
    assert checked > 300


def test_players():
    """A player without memory opens every door; random play opens one in 44, and takes 5.4 apples."""
    task = make("key_to_door")
    returns = bounds.play(task, key_to_door.memoryless(task), EPISODES).returns
    assert_mean(returns, 22.07, 0.1)
    assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, 5.43 + 5 * 0.0227, 0.02)
    low, high = task.RETURNS
    assert low == 0 and returns.max() < high == 35 and first_returns(random_play(task)).min() >= 0


def test_every_door_is_opened():
    task = make("key_to_door", distractor=1)  # hardly any apples: what is earned beyond one is the door's
    assert (bounds.play(task, key_to_door.memoryless(task), EPISODES).returns >= 5).all()


def test_values_are_checked():
    with pytest.raises(ValueError, match="distractor=0; expected >= 1"):
        make("key_to_door", distractor=0)
