"""TMaze and TMazeActive: known walks, what the cue costs, and what players earn."""

import jax
import numpy as np
import pytest
from task_playing import make, random_play
from task_replay import assert_mean, first_returns, replay

from benchmarks import bounds
from benchmarks.bounds import tmaze, tmaze_active
from podarcade.envs.tasks.tmaze import DOWN, LEFT, RIGHT, UP

EPISODES = 2000
MOVES = {RIGHT: (1, 0), LEFT: (-1, 0), UP: (0, 1), DOWN: (0, -1)}
both = pytest.mark.parametrize("name", ["tmaze", "tmaze_active"])


def facing(task, goal):
    """The state at time 0 with the goal above (1) or below (-1)."""
    return task.reset(jax.random.key(0)).replace(goal=np.int8(goal))


def walks(task, count=200):
    """Episodes of a walk that leans to the right, so that it reaches the junction."""
    generator = np.random.default_rng(0)
    return replay(task, generator.choice([RIGHT] * 12 + [UP, LEFT, DOWN], (count, task.max_steps)))


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_tmaze_vectors(rules):
    task = make("tmaze", rules=rules, corridor_length=3)
    seen = replay(task, [[RIGHT] * 3 + [UP], [UP] + [RIGHT] * 3, [RIGHT] * 3 + [DOWN]], facing(task, 1))
    np.testing.assert_allclose(seen.reward[:, 0], [0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(seen.reward[:, 1], [-1 / 3, -1 / 3, -1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(seen.reward[:, 2], 0, atol=1e-6)
    np.testing.assert_array_equal(seen.partial[:, 0, :2], [[0, 1], [0, 0], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(seen.terminal[:, 0], [False, False, False, True])


def test_tmaze_with_a_penalty_for_each_action():
    """AMAGO's penalty is for the action itself, and is not paid again for being late."""
    task = make("tmaze", corridor_length=3, penalty="action")
    seen = replay(task, [[UP] + [RIGHT] * 3, [RIGHT] * 3 + [UP]], facing(task, 1))
    np.testing.assert_allclose(seen.reward.T, [[-1 / 3, 0, 0, 0], [0, 0, 0, 1]], atol=1e-6)
    # Of L actions three in four cost 1 / L; all L are right, and one more finds the goal, once in 4^(L + 1).
    assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, -0.75 + 1 / 4**4)


def test_tmaze_active_vectors():
    task = make("tmaze_active", corridor_length=3)
    seen = replay(task, [[LEFT] + [RIGHT] * 4 + [UP], [LEFT, LEFT, RIGHT, RIGHT, RIGHT, UP]], facing(task, 1))
    np.testing.assert_allclose(seen.reward[:, 0], [0, 0, 0, 0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(seen.partial[:, 0, :2], [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(seen.terminal[:, 0], [False] * 5 + [True])
    # The cue is shown at the first visit only; being late is never made good.
    np.testing.assert_array_equal(seen.partial[:, 1, 1], [0, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(seen.reward[:, 1], [0, -1 / 3, -1 / 3, -1 / 3, -1 / 3, 0], atol=1e-6)


@both
def test_the_past_determines_the_hidden_block(name):
    """A walker with a notebook, who sees only the partial twin, knows goal, position and time."""
    task = make(name)
    generator = np.random.default_rng(1)
    actions = generator.choice([RIGHT] * 12 + [UP, LEFT, DOWN], (200, task.max_steps))
    seen = replay(task, actions)
    junction, reached = task.junction, 0
    for walk in range(len(actions)):
        x, y, goal = task.oracle_length, 0, 0
        for time in range(task.max_steps + 1):
            if time > 0:
                stride, turn = MOVES[actions[walk, time - 1]]
                y = np.clip(y + turn, -1, 1) if x == junction else 0
                x = np.clip(x + stride, 0, junction) if y == 0 else x
            if x == 0 and goal == 0:
                goal = seen.partial[time, walk, 1]
            known = [goal, x / junction, time / task.max_steps]
            np.testing.assert_allclose(seen.full[time, walk, 2:], known, atol=1e-6)
        reached += x == junction
    assert reached > 10


@both
def test_the_full_observation_determines_the_future(name):
    """States that look the same in full have the same position and, once it was seen, goal, up to the clock."""
    task = make(name, corridor_length=3)
    seen = walks(task, 1000)
    state = seen.state
    goal = np.where(state.cue > 0, state.goal, 0)
    now = (state.cue == 1) & (state.x == 0)
    latent = np.stack([state.x, state.y, goal, now, state.time], axis=-1).reshape(-1, 5)
    full = seen.full.reshape(len(latent), -1)
    # Leaving and seeing the oracle again: the cue is over, which the hidden goal says.
    assert len(np.unique(full, axis=0)) == len(np.unique(latent, axis=0)) > 30
    assert len(np.unique(np.concatenate([full, latent], axis=1), axis=0)) == len(np.unique(latent, axis=0))


@both
@pytest.mark.parametrize("level", ["easy", "medium"])
def test_random_play(name, level):
    task = make(name, level)
    expected = {"tmaze": (-0.966, -0.993), "tmaze_active": (-0.973, -0.995)}[name][level == "medium"]
    assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, expected, 5e-4)


def test_goals_are_fair():
    goals = random_play(make("tmaze")).state.goal[0]
    assert abs(goals.mean()) < 4 / np.sqrt(len(goals)) and set(goals) == {-1, 1}
    assert (first_returns(random_play(make("tmaze"))) >= -1 - 1e-6).all()


@pytest.mark.parametrize(("name", "players"), [("tmaze", tmaze), ("tmaze_active", tmaze_active)])
def test_players(name, players):
    """Turning where the cue pointed earns 1, guessing earns 0.5."""
    task = make(name)
    assert (bounds.play(task, players.memory(task), 200).returns == 1).all()
    guesses = bounds.play(task, players.memoryless(task), EPISODES)
    assert set(guesses.returns) == {0, 1} and (guesses.lengths == task.max_steps).all()
    assert_mean(guesses.returns, 0.5)


@pytest.mark.parametrize("values", [{"corridor_length": 0}, {"oracle_length": -1}, {"penalty": "late"}])
def test_values_are_checked(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))}="):
        make("tmaze", **values)
