"""Tasks with CartPole, Pendulum, MountainCar and Acrobot: dynamics, what is hidden, noise, and players."""

import jax
import numpy as np
import pytest
from task_playing import fields, make, random_play, see, starts, step
from task_replay import assert_injective, assert_mean, replay

from benchmarks import bounds
from benchmarks.bounds import (
    masked_acrobot,
    masked_mountain_car,
    noisy_position_only_cartpole,
    noisy_position_only_pendulum,
    position_only_cartpole,
    position_only_pendulum,
    velocity_only_cartpole,
    velocity_only_pendulum,
)

EPISODES = 1000
POLES = ["position_only_cartpole", "velocity_only_cartpole", "noisy_position_only_cartpole"]
PENDULUMS = ["position_only_pendulum", "velocity_only_pendulum", "noisy_position_only_pendulum"]
CLASSICS = ["masked_mountain_car", "masked_acrobot"]
every_pole = pytest.mark.parametrize("name", POLES)
every_pendulum = pytest.mark.parametrize("name", PENDULUMS)


def at(task, time=1, **values):
    """Two states with these values, at a time after the start."""
    state = starts(task, 2)
    values = {
        name: np.broadcast_to(np.float32(value), np.shape(getattr(state, name))) for name, value in values.items()
    }
    return state.replace(time=np.full(2, time, np.int32), **values)


def sizes(task):
    return see(task, starts(task, 2)).shape[1]


@pytest.mark.parametrize(
    ("names", "size"), [(POLES[:2], 4), (POLES[2:], 6), (PENDULUMS[:2], 3), (PENDULUMS[2:], 5), (CLASSICS, None)]
)
def test_observations_have_their_sizes(names, size):
    for name in names:
        assert sizes(make(name)) == (size or {"masked_mountain_car": 2, "masked_acrobot": 6}[name])


# CartPole.


@every_pole
def test_pole_vectors(name):
    task = make(name)
    start = at(task, position=0.01, velocity=0.02, angle=0.03, spin=-0.04)
    after, reward, terminal = step(task, start, [1, 0])
    np.testing.assert_allclose(after.position, 0.0104, atol=1e-6)
    np.testing.assert_allclose(after.velocity, [0.2146792, -0.1755390], atol=1e-6)
    np.testing.assert_allclose(after.angle, 0.0292, atol=1e-6)
    np.testing.assert_allclose(after.spin, [-0.3230687, 0.2619952], atol=1e-6)
    np.testing.assert_allclose(reward, 1 / 200, atol=1e-9)
    assert not terminal.any()


def test_a_pole_falls_after_nine_pushes():
    """Every action is paid once, the one that lets the pole fall included; a port paid -1 then."""
    task = make("position_only_cartpole", "medium")
    zeros = {name: np.float32(0) for name in ("position", "velocity", "angle", "spin")}
    seen = replay(task, np.ones((1, 9)), task.reset(jax.random.key(0)).replace(**zeros))
    np.testing.assert_array_equal(seen.terminal[:, 0], [False] * 8 + [True])
    np.testing.assert_allclose(seen.reward.sum(), 9 / 400, atol=1e-8)


@pytest.mark.parametrize(("rules", "hidden"), [("strict", False), ("published", True)])
def test_velocities_at_the_start(rules, hidden):
    """Strict rules show all variables at time 0; published rules hide them, and VelocityOnly leaks positions."""
    for name in POLES[:2] + PENDULUMS[:2]:
        task = make(name, rules=rules)
        state = starts(task, 4)
        seen = see(task, state)
        visible = {"position_only_pendulum": 2, "velocity_only_pendulum": 1}.get(name, 2)
        assert (seen[:, visible:] == 0).all() == hidden
        np.testing.assert_array_equal(seen, see(task, state, partial=True))
    task = make("velocity_only_cartpole", rules=rules)
    state = starts(task, 4)
    first, later = see(task, state)[:, :2], see(task, state.replace(time=np.full(4, 1, np.int32)))[:, :2]
    velocities = np.stack([state.velocity, state.spin], axis=1)
    np.testing.assert_array_equal(first, np.stack([state.position, state.angle], axis=1) if hidden else velocities)
    np.testing.assert_array_equal(later, velocities)


def test_positions_determine_velocities():
    """From two views of the positions, and the push between them, follow the velocities."""
    task = make("position_only_cartpole")
    actions = np.random.default_rng(0).integers(0, 2, (100, 8))
    seen = replay(task, actions)
    x, angle = np.moveaxis(seen.partial[..., :2].astype(np.float64), -1, 0)
    velocity, spin = np.diff(x, axis=0) / 0.02, np.diff(angle, axis=0) / 0.02
    force = np.where(actions.T == 1, 10.0, -10.0)
    push = (force + 0.05 * spin**2 * np.sin(angle[:-1])) / 1.1
    turn = (9.8 * np.sin(angle[:-1]) - push * np.cos(angle[:-1])) / (0.5 * (4 / 3 - np.cos(angle[:-1]) ** 2 / 11))
    velocity = velocity + 0.02 * (push - 0.05 * turn * np.cos(angle[:-1]) / 1.1)
    spin = spin + 0.02 * turn
    np.testing.assert_allclose(seen.full[1:, :, 2:], np.stack([velocity, spin], axis=-1), atol=1e-4)


def test_velocities_determine_positions():
    """Positions are the sum of all velocities since time 0."""
    seen = replay(make("velocity_only_cartpole"), np.random.default_rng(0).integers(0, 2, (100, 8)))
    expected = seen.partial[0, :, 2:] + 0.02 * np.cumsum(seen.partial[:-1, :, :2], axis=0)
    np.testing.assert_allclose(seen.full[1:, :, 2:], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["position_only_cartpole", "velocity_only_cartpole"])
def test_the_full_observation_is_the_state(name):
    assert_injective(random_play(make(name)), "position", "velocity", "angle", "spin")


# Pendulum.


@every_pendulum
def test_pendulum_vectors(name):
    task = make(name)
    after, reward, terminal = step(task, at(task, angle=1, speed=0.5), np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(after.angle, [1.05655516, 1.07155516], atol=1e-6)
    np.testing.assert_allclose(after.speed, [1.13110324, 1.43110324], atol=1e-6)
    np.testing.assert_allclose(reward, 1 / 200 - np.array([1.025, 1.029]) / (200 * 8.1368022), atol=1e-8)
    np.testing.assert_allclose(reward[0], 0.004370146, atol=1e-8)
    assert not terminal.any()


def test_the_pendulum_turns_over():
    """Angles stay in [-pi, pi], speeds in [-8, 8]."""
    task = make("position_only_pendulum")
    state = starts(task, 2).replace(angle=np.float32([3.1, -3.1]), speed=np.float32([8, -8]))
    after, _, _ = step(task, state, np.array([[1.0], [-1.0]]))
    np.testing.assert_allclose(after.angle, [3.5 - 2 * np.pi, 2 * np.pi - 3.5], atol=1e-5)
    np.testing.assert_allclose(np.abs(after.speed), 8)
    assert (np.abs(random_play(task).state.angle) <= np.float32(np.pi)).all()


@pytest.mark.parametrize(("level", "steps"), [("easy", 200), ("medium", 150), ("hard", 100)])
def test_pendulum_lengths(level, steps):
    for rules in ("strict", "published"):
        task = make("position_only_pendulum", level, rules)
        assert task.max_steps == steps and task.time_limit == (steps if rules == "strict" else None)


def test_pendulum_hidden_blocks_follow_from_the_past():
    seen = replay(make("position_only_pendulum"), np.random.default_rng(0).uniform(-1, 1, (50, 100, 1)))
    angle = np.arctan2(seen.partial[..., 1], seen.partial[..., 0]).astype(np.float64)
    moved = np.mod(np.diff(angle, axis=0) + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(seen.full[1:, :, 2], moved / 0.05, atol=2e-4)
    seen = replay(make("velocity_only_pendulum"), np.random.default_rng(0).uniform(-1, 1, (50, 100, 1)))
    start = np.arctan2(seen.partial[0, :, 2], seen.partial[0, :, 1])
    angle = start + 0.05 * np.cumsum(seen.partial[1:, :, 0].astype(np.float64), axis=0)
    np.testing.assert_allclose(seen.full[1:, :, 1:], np.stack([np.cos(angle), np.sin(angle)], axis=-1), atol=2e-4)


# Noise.


@pytest.mark.parametrize("level", ["easy", "hard"])
@pytest.mark.parametrize("name", [POLES[2], PENDULUMS[2]])
def test_noise_is_normal_and_clipped(name, level):
    """Each view has its own noise, which the movement does not feel; the original clips it, and a port forgot to."""
    task = make(name, level)
    pole = name in POLES
    zeros = {"position": 0, "velocity": 0, "angle": 0, "spin": 0} if pole else {"angle": np.pi / 2, "speed": 0}
    state = starts(task, 20_000)
    noise = {"start": state.seen - (np.stack([state.position, state.angle], axis=1) if pole else 0)}
    state = state.replace(**{key: np.full(20_000, value, np.float32) for key, value in zeros.items()})
    after, _, _ = step(task, state, np.int32(1) if pole else np.zeros(1, np.float32))
    truth = [after.position, after.angle] if pole else [np.cos(after.angle), np.sin(after.angle)]
    noise["step"] = after.seen - np.stack(truth, axis=1)
    limits = np.float32([4.8, 24 * np.pi / 180] if pole else [1, 1])
    assert (np.abs(after.seen) <= limits + 1e-6).all() and (np.abs(state.seen) <= limits + 1e-6).all()
    for kind, value in noise.items():
        free = value[:, 0]  # a position, or a cosine near zero: clipping changes little
        if kind == "step" or pole:
            assert abs(free.mean()) < 4.5 * task.noise / np.sqrt(20_000)
            np.testing.assert_allclose(free.std(), task.noise, rtol=0.03)
            np.testing.assert_allclose((np.abs(free) > task.noise).mean(), 0.3173, atol=0.015)
    assert abs(np.corrcoef(noise["step"].T)[0, 1]) < 0.035
    assert abs(np.corrcoef(noise["step"][1:, 0], noise["step"][:-1, 0])[0, 1]) < 0.035
    if pole and level == "hard":
        clipped = (np.abs(state.seen[:, 1]) >= limits[1] - 1e-6).mean()
        np.testing.assert_allclose(clipped, 0.163, atol=0.012)
    if not pole:
        np.testing.assert_allclose((after.seen[:, 1] >= 1).mean(), 0.5, atol=0.03)


@pytest.mark.parametrize(("name", "quiet"), [(POLES[2], POLES[0]), (PENDULUMS[2], PENDULUMS[0])])
def test_noise_does_not_touch_the_movement(name, quiet):
    """The noisy task moves like the quiet one, and its full twin shows the true state from time 1 on."""
    task, other = make(name), make(quiet)
    start = starts(task, 2)
    state, twin = start, starts(other, 2).replace(**{k: getattr(start, k) for k in vars(starts(other, 2))})
    action = np.ones(task.actions.shape)
    for _ in range(3):
        (state, reward, _), (twin, same, _) = step(task, state, action), step(other, twin, action)
        np.testing.assert_allclose(reward, same, atol=1e-9)
        true = fields(task, see(task, state))
        for field, value in fields(other, see(other, twin)).items():
            np.testing.assert_allclose(true[field], value, atol=1e-6)


def test_noise_is_checked():
    for name in (POLES[2], PENDULUMS[2]):
        for noise in (-0.1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="noise="):
                make.__wrapped__(name, noise=noise)


# MountainCar and Acrobot.


def test_mountain_car_vectors():
    task = make("masked_mountain_car")
    after, reward, _ = step(task, at(task, position=-0.5, velocity=0), 2)
    np.testing.assert_allclose(after.position, -0.49917683, atol=1e-6)
    np.testing.assert_allclose(after.velocity, 0.00082316, atol=1e-6)
    assert (reward == -1).all()
    # The left wall stops the car; the goal does not, and ends the episode.
    after, _, terminal = step(task, at(task, position=-1.19, velocity=-0.05), 0)
    assert (after.position == np.float32(-1.2)).all() and not after.velocity.any() and not terminal.any()
    after, _, terminal = step(task, at(task, position=0.48, velocity=0.05), 2)
    assert (after.velocity > 0.04).all() and terminal.all() and (after.score == 1).all()


def test_mountain_car_velocity_follows_from_positions():
    seen = replay(make("masked_mountain_car"), np.random.default_rng(0).integers(0, 3, (50, 150)))
    np.testing.assert_allclose(seen.full[1:, :, 1], np.diff(seen.partial[..., 0], axis=0), atol=1e-6)


def acrobot(state, torque):
    """One step of Sutton and Barto's acrobot in float64, by the equations of motion as a linear system."""

    def rate(s):
        first, second, w1, w2 = s
        mass = np.array([[3.5 + np.cos(second), 1.25 + 0.5 * np.cos(second)], [1.25 + 0.5 * np.cos(second), 1.25]])
        weight = 4.9 * np.sin(first + second)
        force = [
            0.5 * np.sin(second) * (w2**2 + 2 * w1 * w2) - 14.7 * np.sin(first) - weight,
            torque - 0.5 * np.sin(second) * w1**2 - weight,
        ]
        return np.concatenate([[w1, w2], np.linalg.solve(mass, force)])

    k1 = rate(state)
    k2 = rate(state + 0.1 * k1)
    k3 = rate(state + 0.1 * k2)
    k4 = rate(state + 0.2 * k3)
    return state + 0.2 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def test_acrobot_vectors():
    task = make("masked_acrobot")
    after, reward, terminal = step(task, at(task, angles=0, speeds=0), 2)
    np.testing.assert_allclose(after.angles, np.broadcast_to([-0.01326297, 0.03428723], (2, 2)), atol=1e-6)
    np.testing.assert_allclose(after.speeds, np.broadcast_to([-0.12866185, 0.33450109], (2, 2)), atol=1e-6)
    assert (reward == -1).all() and not terminal.any()
    after, reward, terminal = step(task, at(task, angles=[3.1, 0.1], speeds=0), 1)
    assert (reward == 0).all() and terminal.all() and (after.score == 1).all()


def test_acrobot_past_determines_the_hidden_block():
    """Whoever sees the speeds at time 0 and all actions computes the rest."""
    task = make("masked_acrobot")
    actions = np.random.default_rng(0).integers(0, 3, (20, 30))
    seen = replay(task, actions)
    for episode in range(20):
        view = seen.partial[0, episode].astype(np.float64)
        state = np.array([np.arctan2(view[1], view[0]), np.arctan2(view[3], view[2]), view[4], view[5]])
        for time in range(30):
            state = acrobot(state, actions[episode, time] - 1)
            expected = [np.cos(state[0]), np.sin(state[0]), np.cos(state[1]), np.sin(state[1]), state[2], state[3]]
            np.testing.assert_allclose(seen.full[time + 1, episode], expected, atol=1e-3)


# Players.


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("position_only_cartpole", "easy", 0.111),
        ("velocity_only_cartpole", "medium", 0.0555),
        ("noisy_position_only_cartpole", "hard", 0.111),
        ("position_only_pendulum", "hard", 0.248),
        ("noisy_position_only_pendulum", "easy", 0.243),
        ("masked_acrobot", "easy", -498.9),
    ],
)
def test_random_play(name, level, expected):
    tolerance = {"pendulum": 0.008, "acrobot": 0.5}.get(name.split("_")[-1], 0.0005)
    task = make(name, level)
    assert_mean(bounds.play(task, bounds.random(task), EPISODES).returns, expected, tolerance)


@pytest.mark.parametrize(
    ("players", "kind", "level", "expected"),
    [
        (position_only_cartpole, "memoryless", "easy", 0.424),
        (position_only_cartpole, "with_action", "easy", 0.726),
        (position_only_cartpole, "memory", "hard", 1.0),
        (velocity_only_cartpole, "memoryless", "easy", 1.0),
        (velocity_only_cartpole, "memory", "easy", 1.0),
        (noisy_position_only_cartpole, "memoryless", "easy", 0.249),
        (noisy_position_only_cartpole, "memory", "easy", 0.992),
        (position_only_pendulum, "memoryless", "easy", 0.375),
        (position_only_pendulum, "with_action", "easy", 0.906),
        (velocity_only_pendulum, "with_action", "easy", 0.906),
        (noisy_position_only_pendulum, "memory", "easy", 0.890),
        (masked_mountain_car, "with_action", "easy", -106.0),
        (masked_mountain_car, "memory", "easy", -105.4),
        (masked_acrobot, "memoryless", "easy", -121.2),
        (masked_acrobot, "memory", "easy", -82.7),
    ],
)
def test_players(players, kind, level, expected):
    """The returns that docstrings and tables quote."""
    name = players.__name__.split(".")[-1]
    task = make(name, level)
    returns = bounds.play(task, getattr(players, kind)(task), 300).returns
    # The quoted mean has a standard error of its own, below half of that of 300 episodes.
    assert_mean(returns, expected, 1e-3 + 2 * returns.std() / np.sqrt(3000))
