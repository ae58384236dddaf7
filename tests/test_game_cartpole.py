"""CartPole: known returns and lengths, and what its frames show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import LONG, MANY, both_rules, compiled, differing, draw, episodes, every_level, make, play

from podarcade.envs.environment import Environment
from podarcade.envs.games.cartpole import CartPoleState


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
    np.testing.assert_allclose(returns, (lengths - late) / game.max_steps, rtol=1e-5)
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


@pytest.mark.parametrize("obs_size", [128, 256])
@pytest.mark.parametrize(
    "change", [{"position": 0.002}, {"velocity": 0.002}, {"angle": 0.002}, {"spin": 0.002}, {"time": 1, "score": 1}]
)
def test_cartpole_full_frame_shows_every_variable(change, obs_size):
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
