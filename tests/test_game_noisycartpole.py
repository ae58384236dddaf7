"""NoisyCartPole: CartPole's motion, the noise, and what its frames show."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import LEVELS, LONG, MANY, both_rules, differing, draw, episodes, every_level, fresh, make, play, step

from podarcade.envs.environment import Environment
from podarcade.envs.games.cartpole import CartPoleState

MOTION = ("position", "velocity", "angle", "spin")
LIMITS = (2.4, 12 * np.pi / 180)  # of position and angle


def cart_of(state):
    """The true cart and pole alone."""
    return CartPoleState(**{field.name: getattr(state, field.name) for field in dataclasses.fields(CartPoleState)})


def truth(state):
    """float32[B, 4]: the true position, velocity, angle and spin."""
    return np.stack([getattr(state, name) for name in MOTION], 1)


def seen(*values, time=5):
    """Return states with these seen values, whose true cart and pole are elsewhere."""
    values = np.broadcast_arrays(*(np.float32(value) for value in (*values, time)))
    values = np.stack([np.ravel(value) for value in values], 1)
    state = jax.tree.map(lambda leaf: np.resize(leaf, (len(values), *leaf.shape[1:])), fresh(make("noisycartpole"), 8))
    time = values[:, 4].astype(np.int32)
    return state.replace(seen=values[:, :4], time=time, score=time)


def still(level, count=2048, **changes):
    """(truth, seen) of a step of CartPoles at rest in the centre, or at `changes`."""
    game = make("noisycartpole", level)
    state = fresh(game, count)
    state = state.replace(**{name: np.full(count, changes.get(name, 0), np.float32) for name in MOTION})
    after, _, _ = step(game, state, 4)
    return truth(after), after.seen


@both_rules
def test_noisycartpole_moves_as_cartpole(rules):
    """Bit for bit, from the same start by the same actions in one program."""
    noisy, plain = [make("noisycartpole", level, rules) for level in LEVELS], make("cartpole", "easy", rules)
    start = fresh(make("noisycartpole"), 64)
    actions = np.random.default_rng(0).integers(0, 5, (40, 64))

    @jax.jit
    def side_by_side(state, actions):
        def one_step(states, action):
            keys = jax.random.split(jax.random.key(7), 64)
            after = [
                jax.vmap(game.step)(state, action, keys) for game, state in zip([*noisy, plain], states, strict=True)
            ]
            return [state for state, _, _ in after], [(cart_of(state), *rest) for state, *rest in after]

        return jax.lax.scan(one_step, [*[state] * len(noisy), cart_of(state)], actions)[1]

    *moves, expected = jax.tree.map(np.asarray, side_by_side(start, actions))
    for game, move in zip(noisy, moves, strict=True):
        jax.tree.map(np.testing.assert_array_equal, move, expected)
        assert game.time_limit == plain.time_limit
    assert expected[2].any() and not expected[2].all()


@every_level
def test_noisycartpole_noise_is_normal_with_its_deviation(level):
    count, sigma = 2048, {"easy": 0.1, "medium": 0.2, "hard": 0.3}[level]
    true, shown = still(level, count)
    noise = (shown - true) / sigma
    free = noise[:, [1, 3]]
    assert np.abs(free.mean(0)).max() < 4.5 / np.sqrt(count)
    assert np.abs(free.std(0) - 1).max() < 4.5 / np.sqrt(2 * count)
    for bound in (0.5, 1.0, 2.0):  # shares of a normal within that many deviations
        share = {0.5: 0.38292, 1.0: 0.68269, 2.0: 0.95450}[bound]
        within = (np.abs(noise[:, [0, 1, 3]]) < bound).mean(0)
        assert np.abs(within - share).max() < 4.5 * np.sqrt(share * (1 - share) / count)
    signs = np.sign(shown - true)
    correlation = np.corrcoef(np.concatenate([signs, np.abs(free)], 1).T)
    assert np.abs(correlation - np.eye(6)).max() < 4.5 / np.sqrt(count)


@every_level
def test_noisycartpole_seen_values_are_clipped_after_the_noise(level):
    count, sigma = 2048, make("noisycartpole", level).noise
    for side in (-1, 1):
        true, shown = still(level, count, position=2.39 * side, angle=0.2 * side, velocity=6.0 * side)
        for column, limit in zip((0, 2), LIMITS, strict=True):
            room = (limit - abs(float(true[0, column]))) / sigma
            beyond = math.erfc(room / math.sqrt(2)) / 2  # the share of the noise that takes more than that
            assert np.abs(shown[:, column]).max() <= limit * (1 + 1e-6)
            clipped = np.isclose(shown[:, column] * side, limit, rtol=1e-6).mean()
            assert abs(clipped - beyond) < 4.5 * np.sqrt(beyond * (1 - beyond) / count)
        assert np.abs(shown[:, 1] - true[:, 1]).max() > 3 * sigma, "speeds are not clipped"


@both_rules
def test_noisycartpole_noise_is_fresh_in_every_frame(rules):
    game = make("noisycartpole", "easy", rules)
    state, timestep = play(Environment(game), np.full((LONG, MANY), 3))
    latent = state.latent.game
    noise = latent.seen[..., [1, 3]] - np.stack([latent.velocity, latent.spin], -1)
    assert len(np.unique(noise)) > 0.99 * noise.size
    for later in (1, 2):
        pairs = (noise[:-later] * noise[later:]).mean() / noise.var()
        assert abs(pairs) < 4.5 / np.sqrt(noise[later:].size)
    first = noise[timestep.start]
    assert len(np.unique(first)) > 0.99 * first.size and abs(first.std() / 0.1 - 1) < 4.5 / np.sqrt(2 * first.size)


@every_level
def test_noisycartpole_start(level):
    state = fresh(make("noisycartpole", level), 4096)
    start = truth(state)
    assert np.abs(start).max() < 0.05 and np.abs(start.mean(0)).max() < 4.5 * 0.1 / np.sqrt(12 * 4096)
    assert np.abs(start.std(0) / (0.1 / np.sqrt(12)) - 1).max() < 0.05
    both = np.corrcoef(np.concatenate([start, state.seen - start], 1).T)
    independent = np.abs(both - np.eye(8))
    assert independent[[0, 1, 3, 4, 5, 7]][:, [0, 1, 3, 4, 5, 7]].max() < 4.5 / np.sqrt(4096)
    assert not state.time.any() and not state.score.any()


@both_rules
def test_noisycartpole_falls_after_eight_pushes_at_the_earliest(rules):
    game = make("noisycartpole", "easy", rules)
    returns, lengths = episodes(play(Environment(game), np.full((LONG, MANY), 3))[1])
    late = rules == "published"
    assert lengths.min() == 8 + late and lengths.max() <= 11 + late
    np.testing.assert_allclose(returns, (lengths - late) / 200, rtol=1e-5)


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_noisycartpole_balanced_to_the_limit_returns_one(rules):
    game = make("noisycartpole", "hard", rules)
    environment = Environment(game)

    @jax.jit
    def balance(key):
        def one_step(state, _):
            cart = state.latent.game
            lean = 0.1 * cart.position + 0.3 * cart.velocity + 3 * cart.angle + 0.5 * cart.spin
            state, timestep = environment.step(state, jnp.where(lean > 0, 3, 2))
            return state, (timestep.reward, timestep.terminal, timestep.truncated)

        return jax.lax.scan(one_step, environment.reset(key)[0], None, length=201)[1]

    reward, terminal, truncated = jax.tree.map(np.asarray, balance(jax.random.key(0)))
    np.testing.assert_allclose(reward[:200].sum(), 1, rtol=1e-5)
    ends = np.flatnonzero(terminal | truncated)
    if rules == "strict":
        assert truncated[199] and not terminal.any() and ends[0] == 199
    else:
        assert terminal[200] and not truncated.any() and ends[0] == 200 and reward[200] == 0


def pairs(**change):
    """Random seen values, and the same with one of them changed."""
    generator = np.random.default_rng(0)
    values = dict(zip(MOTION, generator.uniform(-1, 1, (4, 128)) * [[2.3], [3.0], [0.2], [3.0]], strict=True))
    other = {name: value + change.get(name, 0) for name, value in values.items()}
    return seen(*values.values()), seen(*other.values(), time=5 + change.get("time", 0))


@pytest.mark.parametrize("change", [*({name: 0.002} for name in MOTION), {"time": 1}])
def test_noisycartpole_full_frame_shows_every_seen_value(change):
    assert differing(make("noisycartpole"), *pairs(**change), False).all()


@both_rules
def test_noisycartpole_frames_show_nothing_that_is_true(rules):
    """Frames depend on the seen values, the time and the score alone."""
    game = make("noisycartpole", "easy", rules)
    one = seen(*np.full((4, 16), 0.5), time=np.arange(16) % 2)
    two = one.replace(**{name: getattr(one, name) + np.float32(1) for name in MOTION})
    for partial in (False, True):
        assert not differing(game, one, two, partial).any()


@both_rules
def test_noisycartpole_partial_frame_shows_arrows_and_score_only(rules):
    game = make("noisycartpole", "easy", rules)
    one, two = pairs(position=0.5, angle=-0.1)
    assert not differing(game, one, two, True).any() and differing(game, one, two, False).all()
    level = lambda speed: np.sign(speed) * np.floor(2 * np.log1p(np.abs(speed)) + 1)  # noqa: E731
    speeds = np.array([-4.0, -3.0, -1.0, -0.3, 0.3, 0.5, 0.7, 1.5, 2.0, 3.0, 4.0, 7.0])
    for states in (seen(0, speeds, 0, 1), seen(0, 1, 0, speeds)):
        frames = draw(game, states, True)
        same = (frames[:, None] == frames[None]).all((2, 3, 4))
        np.testing.assert_array_equal(same, level(speeds)[:, None] == level(speeds))
    one, two = pairs(time=1)
    assert differing(game, one, two, True).all()
    at_start = one.replace(time=np.zeros_like(one.time))
    assert (draw(game, at_start, True) == draw(game, at_start, False)).all()


def test_noisycartpole_gauges_end():
    """Beyond its gauge a seen speed looks like the gauge's end."""
    game = make("noisycartpole")
    frames = draw(game, seen(0, [5.87, 5.875, 6.0, 6.38], 0, 0), False)
    same = (frames == frames[1]).all((1, 2, 3))
    np.testing.assert_array_equal(same, [False, True, True, True])


def test_noisycartpole_refuses_impossible_noise():
    for noise in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="expected a finite standard deviation >= 0"):
            type(make("noisycartpole"))(noise=noise)
