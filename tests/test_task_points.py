"""Wind and SemiCircle: moves, goals, what is hidden when, the lists of published rules, and players."""

import numpy as np
import pytest
from task_playing import fields, make, random_play, see, starts, step
from task_replay import assert_mean, replay

from benchmarks import bounds
from benchmarks.bounds import semi_circle, wind

EPISODES = 1000


def moved(task, state, action):
    """The state after one action of all its environments."""
    return step(task, state, np.asarray(action, np.float32))


def test_wind_vectors():
    task = make("wind")
    state = starts(task, 2).replace(wind=np.float32([[0.05, -0.05], [0, 0]]))
    after, reward, terminal = moved(task, state, [1, 1])
    np.testing.assert_allclose(after.position, [[0.15, 0.05], [0.1, 0.1]], atol=1e-6)
    assert not reward.any() and not terminal.any()
    # The goal is a disc of radius 0.03 around (0, 1), and the new position counts.
    state = state.replace(wind=np.zeros((2, 2), np.float32), position=np.float32([[0, 0.88], [0.029, 1]]))
    after, reward, _ = moved(task, state, [[0, 0.88], [0, 0]])
    np.testing.assert_array_equal(reward, [0, 1])
    np.testing.assert_array_equal(moved(task, state, [[0, 0.92], [0.02, 0]])[1], [1, 0])


def test_wind_is_known_after_one_step():
    """The hidden block is zero at time 0 in both twins, and then follows from one move."""
    task = make("wind")
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, 10, 2))
    seen = replay(task, actions)
    assert not seen.full[0, :, 2:].any() and not seen.full[0].any()
    first = seen.partial[1, :, :2] - 0.1 * actions[:, 0]
    np.testing.assert_allclose(seen.full[1:, :, 2:], np.broadcast_to(first, (10, 1000, 2)), atol=1e-6)
    assert np.abs(first).max() <= 0.08 and np.abs(first).max() > 0.0795
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=4.5 * 0.08 / np.sqrt(3000))
    np.testing.assert_allclose(first.std(axis=0), 0.08 / np.sqrt(3), rtol=0.06)


def test_semi_circle_vectors():
    task = make("semi_circle")
    state = starts(task, 2).replace(angle=np.float32([0, 0]), position=np.float32([[0.85, 0], [0.79, 0]]))
    after, reward, _ = moved(task, state, [0, 0])
    np.testing.assert_array_equal(reward, [1, 0])
    after, reward, _ = moved(task, state, [[-1, -9], [0.5, 0]])
    np.testing.assert_allclose(after.position, [[0.75, -0.1], [0.84, 0]], atol=1e-6)
    np.testing.assert_array_equal(reward, [0, 1])


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_semi_circle_boundary(rules):
    """After action 60 strict rules show the new start; published rules the old position, which moves no more."""
    task = make("semi_circle", rules=rules)
    seen = replay(task, np.full((500, 120, 2), [0.5, 0.0]))
    position, boundary = seen.partial[..., :2], seen.partial[..., 2]
    np.testing.assert_array_equal(boundary, np.repeat(np.isin(np.arange(121), (60, 120))[:, None], 500, axis=1))
    steps = np.diff(position, axis=0)
    ordinary = np.delete(steps, (59, 60), axis=0)
    np.testing.assert_allclose(ordinary, np.broadcast_to([0.05, 0], ordinary.shape), atol=1e-6)
    jump, stay = (59, 60) if rules == "strict" else (60, 59)
    np.testing.assert_allclose(steps[stay], np.broadcast_to([0.05, 0], steps[stay].shape), atol=1e-6)
    assert (np.abs(steps[jump] - [0.05, 0]) > 1e-3).any(axis=1).all()
    begun = position[jump + 1] - (0 if rules == "strict" else np.array([0.05, 0]))
    for start in (position[0], begun):
        assert (start >= [-1.5 - 1e-6, -0.5 - 1e-6]).all() and (start <= [1.5, 1.5]).all()
        np.testing.assert_allclose(start.mean(axis=0), [0, 0.5], atol=0.17)
        np.testing.assert_allclose(start.std(axis=0), np.array([3, 2]) / np.sqrt(12), rtol=0.1)
    # The goal stays, on the upper half of the unit circle, and is hidden from both twins at time 0.
    goal = fields(task, seen.full)["goal"]
    assert not goal[0].any() and (goal[1:] == goal[1:2]).all()
    np.testing.assert_allclose((goal[1] ** 2).sum(axis=1), 1, atol=1e-6)
    assert (goal[1, :, 1] > -1e-6).all() and abs(goal[1, :, 0].mean()) < 0.15
    np.testing.assert_array_equal(seen.terminal[-1], rules == "published")


def test_semi_circle_rewards_reveal_the_goal():
    """The reward is 1 exactly within 0.2 of the goal, so that the past narrows it down."""
    task = make("semi_circle")
    play = random_play(task)
    goal = np.stack([np.cos(play.state.angle), np.sin(play.state.angle)], axis=-1)
    distance = np.sqrt(((play.state.position - goal) ** 2).sum(axis=-1))
    usual = ~play.start & (play.state.time != 60)
    clear = usual & (np.abs(distance - 0.2) > 1e-5)
    np.testing.assert_array_equal(play.reward[clear], distance[clear] < 0.2)
    assert play.reward.sum() > 10


@pytest.mark.parametrize(("name", "field", "counts"), [("wind", "wind", (40, 20)), ("semi_circle", "angle", (80, 20))])
def test_published_rules_draw_from_a_list(name, field, counts):
    """Training and held-out entries are few, and no entry is in both."""
    found = []
    for held_out, count in zip((False, True), counts, strict=True):
        values = getattr(starts(make(name, rules="published", held_out=held_out), 2000), field)
        found.append({tuple(np.atleast_1d(value)) for value in values})
        assert len(found[-1]) == count
    assert not found[0] & found[1]
    assert len(np.unique(getattr(starts(make(name), 2000), field).reshape(2000, -1), axis=0)) > 1990
    with pytest.raises(ValueError, match="held_out=True, rules='strict'"):
        make(name, held_out=True)


def test_published_winds_are_those_of_the_released_code():
    """NumPy's generator with seed 1337: the first of the 60 winds."""
    generator = np.random.RandomState(1337)
    listed = [[generator.uniform(-0.08, 0.08), generator.uniform(-0.08, 0.08)] for _ in range(40)]
    drawn = starts(make("wind", rules="published"), 2000).wind
    np.testing.assert_allclose(np.unique(drawn, axis=0), np.unique(np.float32(listed), axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ["wind", "semi_circle"])
def test_published_limits_are_terminal(name):
    task = make(name, rules="published")
    state = starts(task, 2)
    last = state.replace(time=np.full(2, task.max_steps - 1, np.int32))
    assert moved(task, last, [0, 0])[2].all() and not moved(task, state, [0, 0])[2].any()
    assert see(task, state).shape[1] == (4 if name == "wind" else 5)


@pytest.mark.parametrize(
    ("players", "kind", "expected"),
    [
        (wind, "memoryless", 26.0),
        (wind, "with_action", 61.6),
        (wind, "memory", 62.1),
        (semi_circle, "memoryless", 14.9),
        (semi_circle, "memory", 94.4),
    ],
)
def test_players(players, kind, expected):
    task = make(players.__name__.split(".")[-1])
    returns = bounds.play(task, getattr(players, kind)(task), EPISODES).returns
    assert_mean(returns, expected, 2 * returns.std() / np.sqrt(3000))


def test_random_play():
    for name, expected, tolerance in (("wind", 0.01, 0.01), ("semi_circle", 2.4, 0.2)):
        task = make(name)
        assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, expected, tolerance)
