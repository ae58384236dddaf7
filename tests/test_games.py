"""Contract tests of every game in the folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import (
    BATCH,
    GAMES,
    LONG,
    MANY,
    STEPS,
    both_rules,
    compiled,
    draw,
    every_game,
    fingerprint,
    fresh,
    make,
    mixed,
    play,
    player,
    random_actions,
    random_episodes,
    redrawer,
)  # fmt: skip

from podarcade.envs.environment import Environment

SHADED = ("cartpole", "noisycartpole")  # games whose large frame is finer than the doubled small one
# The action that does nothing, in games where it is one of the five.
IDLE = {"autoencode": 0, "breakout": 0, "cartpole": 0, "countrecall": 2, "noisycartpole": 0, "skittles": 0, "tetris": 4}

# Levels differ in the sizes of tiles only; the slow tests draw every level under both rule sets.
drawn_rules = pytest.mark.parametrize(("level", "rules"), [("easy", "strict"), ("hard", "published")])
# Random play of the medium level is left to the slow tests, too.
LEVELS = ["easy", pytest.param("medium", marks=pytest.mark.slow), "hard"]
every_level = pytest.mark.parametrize("level", LEVELS)


@drawn_rules
@every_game
def test_frames_and_states(name, level, rules):
    game, state, step = mixed(name, level, rules)
    assert hash(game) == hash(make(name, level, rules))
    assert step.observation.shape == (STEPS + 1, BATCH, 128, 128, 3) and step.observation.dtype == np.uint8
    assert step.reward.dtype == np.float32 and step.terminal.dtype == bool and step.truncated.dtype == bool
    assert state.latent.game.time.dtype == np.int32 and state.latent.game.score.dtype == np.int32
    size = sum(leaf[0, 0].nbytes for leaf in jax.tree.leaves(state.latent.game))
    assert size < 512, f"{size} bytes"
    np.testing.assert_array_equal(state.latent.game.time, state.episode_length)


@drawn_rules
@every_game
def test_another_program_draws_the_same_bytes(name, level, rules):
    game, state, step = mixed(name, level, rules)
    latent = jax.tree.map(lambda leaf: leaf[1:], state.latent)
    np.testing.assert_array_equal(redrawer(game)(latent), step.observation[1:])


@drawn_rules
@every_game
def test_twins_are_equal_at_time_zero_and_only_there(name, level, rules):
    game, state, step = mixed(name, level, rules)
    latent = jax.tree.map(lambda leaf: leaf[:STEPS], state.latent)
    twins, frames = np.asarray(redrawer(game)(latent.replace(partial=~latent.partial))), step.observation[:STEPS]
    start = latent.game.time == 0
    assert start.sum() >= BATCH
    np.testing.assert_array_equal(frames[start], twins[start])
    differs = (frames != twins).any((2, 3, 4))
    assert differs.sum() > 0.2 * (~start).sum()


@drawn_rules
@every_game
def test_twins_share_dynamics_and_one_program(name, level, rules):
    environment = Environment(make(name, level, rules))
    actions = random_actions(STEPS, BATCH)
    runs = [
        play(environment, actions, partial, frames=True) for partial in np.array([[False], [True]]).repeat(BATCH, 1)
    ]
    for one, two in zip(
        *[jax.tree.leaves((state.latent.game, state.key, step.replace(observation=None))) for state, step in runs],
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    mixed_step = mixed(name, level, rules)[2]
    for twin, (_, step) in enumerate(runs):
        np.testing.assert_array_equal(step.observation[:, twin::2], mixed_step.observation[:, twin::2])
    assert player(environment, True, 1)._cache_size() == 1, "switching the twin compiled again"


@drawn_rules
@every_game
def test_large_frame_is_the_same_picture(name, level, rules):
    _, state, step = mixed(name, level, rules)
    large = make(name, level, rules, 256)
    latent = jax.tree.map(lambda leaf: leaf[7], state.latent)
    frames = draw(large, latent.game, latent.partial)
    small = step.observation[7]
    assert frames.shape == (BATCH, 256, 256, 3) and frames.dtype == np.uint8
    if name not in SHADED:
        np.testing.assert_array_equal(frames, small.repeat(2, 1).repeat(2, 2))
    means = frames.reshape(BATCH, 128, 2, 128, 2, 3).mean((2, 4))
    assert np.abs(means - small).mean() < 1.0


@both_rules
@every_game
def test_restarts(name, rules):
    """The step after an end ignores its action, has reward 0, and starts a different episode."""
    environment = Environment(make(name, "easy", rules))
    actions = random_actions(LONG, MANY)
    state, step = play(environment, actions)
    over = step.terminal | step.truncated
    assert over.sum() > 20
    np.testing.assert_array_equal(step.start[1:], over[:-1])
    assert (state.latent.game.time[over] > 0).all(), "the last state of an episode is seen"
    assert (state.latent.game.time[step.start] == 0).all()
    assert (step.reward[step.start] == 0).all() and not over[step.start].any()
    other = np.where(over[:-1], (actions + 1) % 5, actions)
    jax.tree.map(np.testing.assert_array_equal, (state, step), play(environment, other))
    leaves = [leaf for leaf in jax.tree.leaves(state.latent.game)]
    pairs = [np.flatnonzero(step.start[:, column])[:2] for column in np.flatnonzero(step.start.sum(0) > 1)]
    unlike = [
        any((leaf[one, column] != leaf[two, column]).any() for leaf in leaves)
        for column, (one, two) in zip(np.flatnonzero(step.start.sum(0) > 1), pairs, strict=True)
    ]
    assert np.mean(unlike) > 0.3, "episodes have the same start"


@pytest.mark.parametrize("name", ["minesweeper", "noisycartpole", "tetris"])  # the slow tests play all of them
def test_four_devices_play_what_one_does(name):
    game, state, step = mixed(name, "easy", "strict")
    twins = np.arange(BATCH) % 2 == 1
    again = play(Environment(game), random_actions(STEPS, BATCH), twins, frames=True, devices=4)
    jax.tree.map(np.testing.assert_array_equal, (state, step), again)


@pytest.mark.slow
@pytest.mark.parametrize(("rules", "obs_size"), [("strict", 128), ("strict", 256), ("published", 128)])
@every_level
@every_game
def test_ten_thousand_random_steps(name, level, rules, obs_size):
    """Both twins: finite, uint8, reproducible, and the same when redrawn and on four devices."""
    environment = Environment(make(name, level, rules, obs_size))
    actions, twins = random_actions(160, 64), np.arange(64) % 2 == 1
    state, step = play(environment, actions, twins, frames=fingerprint)
    again = [play(environment, actions, twins, frames=fingerprint, devices=devices) for devices in (1, 4)]
    for other in again:
        jax.tree.map(np.testing.assert_array_equal, (state, step), other)
    redraw = jax.jit(
        lambda latents: jax.lax.map(lambda latent: fingerprint(jax.vmap(environment.draw)(latent)), latents)
    )
    np.testing.assert_array_equal(redraw(state.latent), step.observation)
    frame = jax.eval_shape(environment.draw, jax.tree.map(lambda leaf: leaf[0, 0], state.latent))
    assert frame.shape == (obs_size, obs_size, 3) and frame.dtype == np.uint8
    for leaf in jax.tree.leaves((state.latent, step.reward)):
        assert np.isfinite(leaf).all()


@every_level
@every_game
def test_strict_random_play_ends_and_returns_are_within_their_range(name, level):
    game = make(name, level)
    returns, lengths = random_episodes(game)
    low, high = game.RETURNS
    assert (returns >= low - 1e-5).all() and (returns <= high + 1e-5).all()
    assert lengths.max() <= game.time_limit


@pytest.mark.parametrize("level", ["easy", "hard"])
@every_game
def test_limit_truncates(name, level):
    game = make(name, level)
    environment = Environment(game)

    @jax.jit
    def step_at(keys, time):
        state = jax.vmap(environment.reset)(keys)[0]
        state = state.replace(latent=state.latent.replace(game=state.latent.game.replace(time=time)))
        after, step = jax.vmap(environment.step)(state, jnp.zeros_like(time))
        return after.over, step.truncated, step.terminal

    time = jnp.array([0, game.time_limit - 2, game.time_limit - 1, game.time_limit - 1])
    over, truncated, terminal = step_at(jax.random.split(jax.random.key(0), 4), time)
    np.testing.assert_array_equal(truncated, [False, False, True, True])
    np.testing.assert_array_equal(over, truncated)
    assert not terminal.any()


@both_rules
@every_game
def test_unknown_actions_only_pass_the_time(name, rules):
    game = make(name, "hard", rules)
    state = fresh(game, 6)
    unknown = jnp.array([-1, -7, 5, 6, 99, 2**31 - 1])
    after, reward, terminal = compiled(game, "step")(state, unknown)
    np.testing.assert_array_equal(after.time, 1)
    assert not np.asarray(terminal).any() and np.isfinite(reward).all()
    if name in IDLE:
        state, idle_reward, _ = compiled(game, "step")(state, jnp.full(6, IDLE[name]))
        np.testing.assert_array_equal(reward, idle_reward)
    jax.tree.map(np.testing.assert_array_equal, after.replace(time=state.time), state)


# Random play of the released games, 500 episodes each: mean and standard error of return and of length.
PUBLISHED = {
    ("autoencode", "easy"): (0.2537, 0.0038, 154.26, 1.03),
    ("autoencode", "medium"): (0.2560, 0.0027, 309.28, 1.47),
    ("autoencode", "hard"): (0.2519, 0.0022, 463.01, 1.77),
    ("battleship", "easy"): (-0.1060, 0.0089, 128.00, 0.00),
    ("battleship", "medium"): (-0.1371, 0.0082, 200.00, 0.00),
    ("battleship", "hard"): (-0.1394, 0.0083, 288.00, 0.00),
    ("breakout", "easy"): (-0.9319, 0.0021, 60.15, 2.02),
    ("breakout", "medium"): (-0.9435, 0.0018, 49.11, 1.67),
    ("breakout", "hard"): (-0.9505, 0.0015, 42.43, 1.42),
    ("cartpole", "easy"): (0.1365, 0.0030, 28.30, 0.61),
    ("cartpole", "medium"): (0.0682, 0.0015, 28.30, 0.61),
    ("cartpole", "hard"): (0.0455, 0.0010, 28.30, 0.61),
    ("countrecall", "easy"): (0.0621, 0.0028, 119.40, 0.51),
    ("countrecall", "medium"): (0.0352, 0.0017, 152.00, 0.00),
    ("countrecall", "hard"): (0.0323, 0.0013, 178.00, 0.00),
    ("minesweeper", "easy"): (0.0040, 0.0081, 24.15, 0.48),
    ("minesweeper", "medium"): (-0.0120, 0.0055, 36.67, 1.12),
    ("minesweeper", "hard"): (-0.0044, 0.0034, 40.40, 1.63),
    ("navigator", "easy"): (-0.5490, 0.0138, 20.46, 0.91),
    ("navigator", "medium"): (-0.5474, 0.0150, 31.28, 1.38),
    ("navigator", "hard"): (-0.5349, 0.0159, 45.89, 1.91),
    ("noisycartpole", "easy"): (0.1365, 0.0030, 28.30, 0.61),
    ("noisycartpole", "medium"): (0.1365, 0.0030, 28.30, 0.61),
    ("noisycartpole", "hard"): (0.1365, 0.0030, 28.30, 0.61),
    ("skittles", "easy"): (0.1461, 0.0023, 14.61, 0.23),
    ("skittles", "medium"): (0.1436, 0.0020, 14.36, 0.20),
    ("skittles", "hard"): (0.1374, 0.0017, 13.74, 0.17),
    ("tetris", "easy"): (-0.9996, 0.0003, 103.64, 1.00),
    ("tetris", "medium"): (-1.0000, 0.0000, 102.45, 0.94),
    ("tetris", "hard"): (-1.0000, 0.0000, 56.58, 0.50),
}


@every_level
@pytest.mark.parametrize("name", sorted({name for name, _ in PUBLISHED} & set(GAMES)))
def test_random_play_matches_the_published_statistics(name, level):
    table = np.reshape(PUBLISHED[name, level], (2, 2))
    for ours, (mean, error) in zip(random_episodes(make(name, level, "published")), table, strict=True):
        # The table is rounded: allow half of its last digit, and one episode of 500.
        ours_error = ours.std() / np.sqrt(len(ours))
        assert abs(ours.mean() - mean) <= 4 * np.hypot(error, ours_error) + 5e-4, (ours.mean(), mean)
