"""Contract tests of every game in the folder, and the numbers each game must give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade import plugins
from podarcade.environment import Environment
from podarcade.games import RULES
from podarcade.games.cartpole import CartPoleState

GAMES = plugins.names("games")
LEVELS = ("easy", "medium", "hard")
TILED = ("minesweeper",)  # games whose large frame is the small one enlarged
BATCH, STEPS = 8, 40  # of play with frames
MANY, LONG = 256, 150  # of play without: one shape, so that each environment is compiled once

every_game = pytest.mark.parametrize("name", GAMES)
every_level = pytest.mark.parametrize("level", LEVELS)
drawn_rules = pytest.mark.parametrize(  # the published picture is the same at all levels, but for tiles' sizes
    ("level", "rules"), [(level, "strict") for level in LEVELS] + [("easy", "published")]
)
both_rules = pytest.mark.parametrize("rules", RULES)


@functools.cache
def make(name, level="easy", rules="strict", obs_size=128):
    game = plugins.find("games", name)
    return game(obs_size=obs_size, rules=rules, **game.LEVELS[level])


@functools.cache
def compiled(game, method):
    """`draw` or `step` of a game for a batch; no game of these tests uses the key of a step."""
    if method == "draw":
        return jax.jit(jax.vmap(game.draw))
    key = jax.random.key(0)
    return jax.jit(jax.vmap(lambda state, action: game.step(state, action, key)))


def draw(game, states, partial):
    """Frames of up to 136 states in numpy; the batch is filled up, so that a game's drawing is compiled once."""
    count = len(states.time)
    fill = lambda leaf: np.resize(np.asarray(leaf), (136, *np.shape(leaf)[1:]))  # noqa: E731
    flags = np.broadcast_to(partial, count)
    return np.asarray(compiled(game, "draw")(jax.tree.map(fill, states), fill(flags)))[:count]


@functools.cache
def starts(game):
    return jax.jit(jax.vmap(game.reset))(jax.random.split(jax.random.key(0), 4096))


def fresh(game, count):
    """`count` states at time 0, of one large batch: a game's reset is compiled once."""
    return jax.tree.map(lambda leaf: leaf[:count], starts(game))


@functools.cache
def player(environment, frames):
    def play(keys, partial, actions):
        def step(state, action):
            state, time_step = jax.vmap(environment.step)(state, action)
            return state, (state, time_step if frames else time_step.replace(observation=None))

        # An episode that is over restarts with the first step: so the game is drawn, and compiled, in one place.
        state = jax.vmap(environment.reset)(keys, partial)[0]
        return jax.lax.scan(step, state.replace(over=jnp.ones_like(partial)), actions)[1]

    return jax.jit(play)


def play(environment, actions, partial=None, frames=False, seed=0):
    """(EnvState[T + 1, B], TimeStep[T + 1, B]) of actions[T, B], in numpy."""
    actions = np.concatenate([np.zeros_like(actions[:1]), actions]).astype(np.int32)
    keys = jax.random.split(jax.random.key(seed), actions.shape[1])
    partial = np.zeros(actions.shape[1], bool) if partial is None else partial
    return jax.tree.map(np.asarray, player(environment, frames)(keys, partial, actions))


def random_actions(steps, batch, seed=0):
    return np.random.default_rng(seed).integers(0, 5, (steps, batch))


@functools.lru_cache(maxsize=2)
def mixed(name, level, rules):
    """Random play with frames; every second environment is of the partial twin."""
    game = make(name, level, rules)
    return game, *play(Environment(game), random_actions(STEPS, BATCH), np.arange(BATCH) % 2 == 1, frames=True)


def episodes(step):
    """(returns[B], lengths[B]) of the first episode of each environment."""
    over = step.terminal | step.truncated
    assert over.any(0).all(), "an episode did not end"
    length = over.argmax(0)
    within = np.arange(len(over))[:, None] <= length
    return (step.reward * within).sum(0), length


@functools.cache
def redrawer(game):
    """Draws latents[STEPS, BATCH] by another program: in rows of five, one after the other."""

    def redraw(latent):
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, 5, *leaf.shape[2:]), latent)
        frames = jax.lax.map(jax.vmap(Environment(game).draw), flat)
        return frames.reshape(STEPS, BATCH, *frames.shape[2:])

    return jax.jit(redraw)


# Every game ------------------------------------------------------------------------------------------------


@drawn_rules
@every_game
def test_frames_and_states(name, level, rules):
    game, state, step = mixed(name, level, rules)
    assert hash(game) == hash(make(name, level, rules))
    assert step.observation.shape == (STEPS + 1, BATCH, 128, 128, 3) and step.observation.dtype == np.uint8
    assert step.reward.dtype == np.float32 and step.terminal.dtype == bool and step.truncated.dtype == bool
    assert state.latent.game.time.dtype == np.int32 and state.latent.game.score.dtype == np.int32
    size = sum(leaf[0, 0].nbytes for leaf in jax.tree.leaves(state.latent.game))
    assert size < 200, f"{size} bytes"
    np.testing.assert_array_equal(state.latent.game.time, state.episode_length)


@drawn_rules
@every_game
def test_drawn_again_in_another_program_the_bytes_are_the_same(name, level, rules):
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


@both_rules
@every_game
def test_twins_share_dynamics_and_one_program(name, rules):
    environment = Environment(make(name, "easy", rules))
    actions = random_actions(STEPS, BATCH)
    runs = [
        play(environment, actions, partial, frames=True) for partial in np.array([[False], [True]]).repeat(BATCH, 1)
    ]
    for one, two in zip(
        *[jax.tree.leaves((state.latent.game, state.key, step.replace(observation=None))) for state, step in runs],
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    mixed_step = mixed(name, "easy", rules)[2]
    for twin, (_, step) in enumerate(runs):
        np.testing.assert_array_equal(step.observation[:, twin::2], mixed_step.observation[:, twin::2])
    assert player(environment, True)._cache_size() == 1, "switching the twin compiled again"


@drawn_rules
@every_game
def test_large_frame_is_the_same_picture(name, level, rules):
    _, state, step = mixed(name, level, rules)
    large = make(name, level, rules, 256)
    latent = jax.tree.map(lambda leaf: leaf[7], state.latent)
    frames = draw(large, latent.game, latent.partial)
    small = step.observation[7]
    assert frames.shape == (BATCH, 256, 256, 3) and frames.dtype == np.uint8
    if name in TILED:
        np.testing.assert_array_equal(frames, small.repeat(2, 1).repeat(2, 2))
    means = frames.reshape(BATCH, 128, 2, 128, 2, 3).mean((2, 4))
    assert np.abs(means - small).mean() < 1.0


@both_rules
@every_level
@every_game
def test_restarts(name, level, rules):
    """The step after an end ignores its action, pays nothing, and starts an episode unlike the last."""
    environment = Environment(make(name, level, rules))
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
    for column in np.flatnonzero(step.start.sum(0) > 1)[:8]:
        first, second = np.flatnonzero(step.start[:, column])[:2]
        assert any((leaf[first, column] != leaf[second, column]).any() for leaf in leaves)


@every_level
@every_game
def test_strict_returns_are_within_their_range(name, level):
    game = make(name, level)
    state, _ = play(Environment(game), random_actions(LONG, MANY))
    low, high = game.RETURNS
    assert (state.episode_return >= low - 1e-5).all() and (state.episode_return <= high + 1e-5).all()


@every_level
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

    time = jnp.array([0, game.limit - 2, game.limit - 1, game.limit - 1])
    over, truncated, terminal = step_at(jax.random.split(jax.random.key(0), 4), time)
    np.testing.assert_array_equal(truncated, [False, False, True, True])
    np.testing.assert_array_equal(over, truncated)
    assert not terminal.any()


@both_rules
@every_game
def test_unknown_actions_only_pass_the_time(name, rules):
    game = make(name, "hard", rules)
    state = fresh(game, 6)
    after, reward, terminal = compiled(game, "step")(state, jnp.array([-1, -7, 5, 6, 99, 2**31 - 1]))
    np.testing.assert_array_equal(after.time, 1)
    assert not np.asarray(terminal).any() and np.isfinite(reward).all()
    if name == "cartpole":
        state, after = after, compiled(game, "step")(state, jnp.zeros(6, jnp.int32))[0]
    jax.tree.map(np.testing.assert_array_equal, after.replace(time=state.time), state)


def published_statistics():
    """Random play, 500 episodes each: mean and standard error of return and length."""
    return {
        ("cartpole", "easy"): (0.1365, 0.0030, 28.30, 0.61),
        ("cartpole", "medium"): (0.0682, 0.0015, 28.30, 0.61),
        ("cartpole", "hard"): (0.0455, 0.0010, 28.30, 0.61),
        ("minesweeper", "easy"): (0.0040, 0.0081, 24.15, 0.48),
        ("minesweeper", "medium"): (-0.0120, 0.0055, 36.67, 1.12),
        ("minesweeper", "hard"): (-0.0044, 0.0034, 40.40, 1.63),
    }


@pytest.mark.parametrize(("name", "level"), published_statistics())
def test_random_play_matches_the_published_statistics(name, level):
    environment = Environment(make(name, level, "published"))
    parts = [episodes(play(environment, random_actions(LONG, MANY, seed), seed=seed)[1]) for seed in range(1, 5)]
    table = np.reshape(published_statistics()[name, level], (2, 2))
    for ours, (mean, error) in zip(np.concatenate(parts, 1), table, strict=True):
        ours_error = ours.std() / np.sqrt(len(ours))
        assert abs(ours.mean() - mean) < 4 * np.hypot(error, ours_error), (ours.mean(), mean)


# CartPole --------------------------------------------------------------------------------------------------


def carts(position, velocity, angle, spin, time=1):
    values = np.broadcast_arrays(*(np.float32(value) for value in (position, velocity, angle, spin)), np.float32(time))
    time = jnp.asarray(values[4], jnp.int32).reshape(-1)
    return CartPoleState(*(jnp.asarray(value).reshape(-1) for value in values[:4]), time=time, score=time)


@both_rules
def test_cartpole_moves_as_computed_by_hand(rules):
    after, _, _ = compiled(make("cartpole", "easy", rules), "step")(
        carts(*np.full((3, 4), (0.01, -0.02, 0.03, 0.04)).T), jnp.array([0, 2, 3])
    )
    np.testing.assert_allclose(after.position, 0.0096, rtol=1e-5)
    np.testing.assert_allclose(after.angle, 0.0308, rtol=1e-5)
    np.testing.assert_allclose(after.velocity, [-0.02042991, -0.21553902, 0.17467920], rtol=1e-5)
    np.testing.assert_allclose(after.spin, [0.04946325, 0.34199522, -0.24306872], rtol=1e-5)


@both_rules
@every_level
def test_cartpole_falls_after_eight_pushes_at_the_earliest(level, rules):
    game = make("cartpole", level, rules)
    _, step = play(Environment(game), np.full((LONG, MANY), 3))
    returns, lengths = episodes(step)
    late = rules == "published"
    assert lengths.min() == 8 + late and lengths.max() <= 11 + late
    np.testing.assert_allclose(returns, (lengths - late) / game.steps, rtol=1e-5)
    assert not step.truncated.any()


@both_rules
def test_cartpole_bounds(rules):
    game = make("cartpole", "easy", rules)
    inside, outside = (
        carts([2.39, -2.39, 0, 0], 0, [0, 0, 0.208, -0.208], 0),
        carts([2.41, -2.41, 0, 0], 0, [0, 0, 0.211, -0.211], 0),
    )
    for state, expected in ((inside, False), (outside, True)):
        after, reward, terminal = compiled(game, "step")(state, jnp.zeros(4, jnp.int32))
        np.testing.assert_array_equal(terminal, expected)
        paid = rules == "strict" or not expected
        np.testing.assert_allclose(reward, paid / 200)
        np.testing.assert_array_equal(after.score, 1 + paid)


def test_cartpole_published_end_comes_one_step_late():
    step = compiled(make("cartpole", "easy", "published"), "step")
    leaving = carts(2.399, 1.0, 0, 0)
    state, reward, terminal = step(leaving, jnp.zeros(1, jnp.int32))
    assert state.position[0] > 2.4 and reward[0] > 0 and not terminal[0]
    state, reward, terminal = step(state, jnp.zeros(1, jnp.int32))
    assert reward[0] == 0 and terminal[0]
    state, reward, terminal = step(carts(0, 0, 0, 0, time=199), jnp.zeros(1, jnp.int32))
    assert reward[0] > 0 and not terminal[0]
    state, reward, terminal = step(state, jnp.zeros(1, jnp.int32))
    assert reward[0] == 0 and terminal[0] and state.score[0] == 200


def test_cartpole_balanced_to_the_limit_returns_one():
    environment = Environment(make("cartpole"))

    @jax.jit
    def balance(key):
        def step(state, _):
            cart = state.latent.game
            lean = 0.1 * cart.position + 0.3 * cart.velocity + 3 * cart.angle + 0.5 * cart.spin
            state, time_step = environment.step(state, jnp.where(lean > 0, 3, 2))
            return state, (time_step.reward, time_step.terminal, time_step.truncated)

        return jax.lax.scan(step, environment.reset(key)[0], None, length=200)

    state, (reward, terminal, truncated) = balance(jax.random.key(0))
    assert not terminal.any() and not truncated[:-1].any() and truncated[-1]
    np.testing.assert_allclose(reward.sum(), 1, rtol=1e-5)
    assert state.latent.game.score == 200


def cart_pairs(**change):
    """Random states within bounds, and the same with one variable changed."""
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, (4, 128)) * np.array([[2.3], [3.0], [0.2], [3.0]])
    states = carts(*values, time=50)
    return states, states.replace(**{name: getattr(states, name) + by for name, by in change.items()})


def differing(game, one, two, partial):
    frames = [draw(game, state, partial) for state in (one, two)]
    return (frames[0] != frames[1]).any((1, 2, 3))


@pytest.mark.parametrize("obs_size", [128, 256])
@pytest.mark.parametrize(
    "change", [{"position": 0.002}, {"velocity": 0.002}, {"angle": 0.002}, {"spin": 0.002}, {"time": 1, "score": 1}]
)
def test_cartpole_full_frame_tells_every_variable(change, obs_size):
    assert differing(make("cartpole", obs_size=obs_size), *cart_pairs(**change), False).all()


@both_rules
def test_cartpole_partial_frame_hides_cart_and_pole(rules):
    game = make("cartpole", "easy", rules)
    one, two = cart_pairs(position=0.5, angle=-0.1)
    assert not differing(game, one, two, True).any()
    assert differing(game, one, two, False).all()
    one, two = (state.replace(time=jnp.zeros_like(state.time)) for state in (one, two))
    assert differing(game, one, two, True).all()


def test_cartpole_arrows_show_signs_and_levels_only():
    game = make("cartpole", rules="published")
    level = lambda speed: np.sign(speed) * np.floor(2 * np.log1p(np.abs(speed)) + 1)  # noqa: E731
    speeds = np.array([-4.0, -3.0, -1.0, -0.3, 0.3, 0.5, 0.7, 1.5, 2.0, 3.0, 4.0, 7.0])
    for partial in (True, False):
        for states in (carts(0, speeds, 0, 1), carts(0, 1, 0, speeds)):
            frames = draw(game, states, partial)
            same = (frames[:, None] == frames[None]).all((2, 3, 4))
            np.testing.assert_array_equal(same, level(speeds)[:, None] == level(speeds))


# MineSweeper -----------------------------------------------------------------------------------------------


def sweep(level="easy", rules="strict", count=1):
    game = make("minesweeper", level, rules)
    return game, fresh(game, count)


def safe_corner(game, state):
    """The state with the cursor on a safe cell, no mine moved: on the first in reading order."""
    row, column = np.argwhere(np.asarray(state.cells[0]) == 0)[0]
    return state.replace(row=jnp.full(1, row, jnp.int8), column=jnp.full(1, column, jnp.int8))


def run(game, state, actions):
    """(last state, rewards, terminals) of the game alone, up to its first terminal step."""
    rewards, ends = [], []
    for action in actions:
        state, reward, terminal = compiled(game, "step")(state, jnp.full(1, action, jnp.int32))
        rewards.append(float(reward[0]))
        ends.append(bool(terminal[0]))
        if ends[-1]:
            break
    return state, rewards, ends


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
    """Idling ends with step L; a reveal as L-th action lives a step longer under the published rules only."""
    game = make("minesweeper", level, rules)
    for last, length in ((0, game.steps), (4, game.steps + (rules == "published"))):
        actions = np.zeros((LONG, MANY), int)
        actions[game.steps - 1] = last
        _, step = play(Environment(game), actions)
        hit = (step.reward == 0)[game.steps] & step.terminal[game.steps] & (last == 4)
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
def test_minesweeper_full_frame_tells_every_counter(level):
    game, start = sweep(level)
    for field, most in (("time", game.steps), ("repeats", game.cap), ("score", game.board**2 - game.mines)):
        count = jnp.arange(most + 1, dtype=jnp.int32)
        states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (len(count), *leaf.shape[1:])), start)  # noqa: B023
        frames = draw(game, states.replace(**{field: count}), False)
        assert len({frame.tobytes() for frame in frames}) == len(count), field


@both_rules
@every_level
def test_minesweeper_full_frame_tells_cursor_and_cells(level, rules):
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
    with pytest.raises(ValueError, match="there are 4, 6 and 8"):
        game(board=5)
    with pytest.raises(ValueError, match="there are 1 to 15"):
        game(mines=16)
