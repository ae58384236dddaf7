"""Returns: tables worked out by hand, brute force over random flags, and the special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podarcade.algorithms.returns import gae, lambda_returns, n_step_returns, signed_hyperbolic, signed_parabolic


def column(values, dtype=np.float32):
    return jnp.asarray(np.asarray(values, dtype)[:, None])


def returns(reward, terminal, truncated, value, discount, trace):
    arrays = column(reward), column(terminal, bool), column(truncated, bool), column(value)
    return np.asarray(lambda_returns(*arrays, discount, trace))[:, 0]


def all_n_steps(reward, terminal, truncated, value, discount):
    """For each t the n-step returns for n = 1..K, K the steps to an end, a truncation or the horizon.

    G⁽ⁿ⁾ sums n rewards and bootstraps on the value n steps ahead, unless the game is over there.
    """
    length, result = len(reward), []
    for t in range(length):
        cuts = [k for k in range(t, length) if terminal[k] or truncated[k]]
        longest = (cuts[0] if cuts else length - 1) - t + 1

        def n_step(n, t=t):
            rewards = sum(discount**i * reward[t + i] for i in range(n))
            return rewards + (0 if terminal[t + n - 1] else discount**n * value[t + n - 1])

        result.append([n_step(n) for n in range(1, longest + 1)])
    return result


def brute_force(reward, terminal, truncated, value, discount, trace):
    """The definition: a λ-weighted mixture, in which the longest takes all the weight that is left."""

    def mixture(steps):
        return sum((1 - trace) * trace**i * value for i, value in enumerate(steps[:-1])) + (
            trace ** (len(steps) - 1) * steps[-1]
        )

    return np.asarray([mixture(steps) for steps in all_n_steps(reward, terminal, truncated, value, discount)])


def test_table():
    """By hand, γ = ½, λ = ½: the third step ends the game, the fifth is cut."""
    expected = [
        # G4 = 5 + ½·9 = 9.5;  G3 = 4 + ½(½·8 + ½·9.5) = 8.375;  G2 = 3
        1 + 0.5 * (0.5 * 5 + 0.5 * (2 + 0.5 * (0.5 * 6 + 0.5 * 3))),
        2 + 0.5 * (0.5 * 6 + 0.5 * 3),
        3,
        8.375,
        9.5,
        6 + 0.5 * 10,
    ]
    result = returns([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [5, 6, 7, 8, 9, 10], 0.5, 0.5)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def draw_path(data, length=12):
    """Rewards, flags and values of some steps."""
    flags = st.lists(st.sampled_from(["go", "go", "go", "end", "cut", "both"]), min_size=length, max_size=length)
    numbers = st.lists(st.floats(-3, 3, width=32), min_size=length, max_size=length)
    kinds, reward, value = data.draw(flags), data.draw(numbers), data.draw(numbers)
    terminal, truncated = [k in ("end", "both") for k in kinds], [k in ("cut", "both") for k in kinds]
    return reward, terminal, truncated, value


DISCOUNTS, TRACES = st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.sampled_from([0.0, 0.3, 0.95, 1.0])


@settings(max_examples=300, deadline=None)
@given(st.data(), DISCOUNTS, TRACES)
def test_equals_the_double_sum(data, discount, trace):
    path = draw_path(data)
    np.testing.assert_allclose(
        returns(*path, discount, trace), brute_force(*path, discount, trace), rtol=1e-4, atol=1e-4
    )


def columns(reward, terminal, truncated, value):
    return column(reward), column(terminal, bool), column(truncated, bool), column(value)


COMPILED = jax.jit(n_step_returns, static_argnums=5)


@settings(max_examples=100, deadline=None)
@given(st.data(), DISCOUNTS, st.sampled_from([1, 2, 3, 5, 20]))
def test_n_step_returns_equal_the_sums(data, discount, steps):
    path = draw_path(data)
    expected = [found[min(steps, len(found)) - 1] for found in all_n_steps(*path, discount)]
    result = COMPILED(*columns(*path), discount, steps)
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_table_of_n_step_returns():
    """By hand, γ = ½, n = 2: the third step ends the game, the fifth is cut."""
    path = columns([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [5, 6, 7, 8, 9, 10])
    expected = [
        1 + 0.5 * 2 + 0.25 * 6,
        2 + 0.5 * 3,  # the game is over there
        3,
        4 + 0.5 * 5 + 0.25 * 9,  # the value where it was cut
        5 + 0.5 * 9,
        6 + 0.5 * 10,  # no more rewards than there are
    ]
    np.testing.assert_allclose(n_step_returns(*path, 0.5, 2)[:, 0], expected, rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.data(), DISCOUNTS, TRACES)
def test_advantages_equal_the_sum_of_errors(data, discount, trace):
    """A = Σ (γλ)ⁱ δ, up to the first cut."""
    reward, terminal, truncated, value = draw_path(data)
    value = [data.draw(st.floats(-3, 3, width=32)), *value]
    deltas = [r + discount * (not e) * w - v for r, e, w, v in zip(reward, terminal, value[1:], value, strict=False)]
    expected = []
    for t in range(len(reward)):
        cuts = [k for k in range(t, len(reward)) if terminal[k] or truncated[k]]
        last = cuts[0] if cuts else len(reward) - 1
        expected.append(sum((discount * trace) ** (k - t) * deltas[k] for k in range(t, last + 1)))
    result = gae(*columns(reward, terminal, truncated, value), discount, trace)
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_table_of_advantages():
    """By hand, γ = ½, λ = ½: the second step ends the game, the third is cut."""
    path = columns([1, 2, 3, 4], [0, 1, 0, 0], [0, 0, 1, 0], [4, 5, 6, 7, 8])
    # δ0 = 1 + ½·5 - 4 = -0.5;  δ1 = 2 - 5 = -3;  δ2 = 3 + ½·7 - 6 = 0.5;  δ3 = 4 + ½·8 - 7 = 1
    np.testing.assert_allclose(gae(*path, 0.5, 0.5)[:, 0], [-0.5 + 0.25 * -3, -3, 0.5, 1], rtol=1e-6)


def test_table_of_rescaled_values():
    """By hand: h(0) = 0, h(3) = √4 - 1 + 0.003, h(-8) = -(√9 - 1) - 0.008, h(99) = √100 - 1 + 0.099."""
    x = jnp.asarray([0.0, 3.0, -8.0, 99.0])
    np.testing.assert_allclose(signed_hyperbolic(x), [0.0, 1.003, -2.008, 9.099], rtol=1e-6)
    np.testing.assert_allclose(signed_parabolic(signed_hyperbolic(x)), x, rtol=1e-5, atol=1e-7)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4, width=32))
def test_unscaling_is_the_inverse(x):
    assert float(signed_parabolic(signed_hyperbolic(jnp.float32(x)))) == pytest.approx(x, rel=1e-4, abs=1e-6)


def test_one_step_when_lambda_is_zero():
    result = returns([1, 2, 3], [0, 1, 0], [0, 0, 0], [10, 20, 30], 0.9, 0.0)
    np.testing.assert_allclose(result, [1 + 9, 2, 3 + 27], rtol=1e-6)


def test_truncation_bootstraps_where_termination_does_not():
    cut = returns([1, 1], [0, 0], [1, 0], [10, 20], 0.9, 0.95)
    ended = returns([1, 1], [1, 0], [0, 0], [10, 20], 0.9, 0.95)
    np.testing.assert_allclose([cut[0], ended[0]], [10, 1], rtol=1e-6)


def test_constant_reward_reaches_the_geometric_sum():
    zeros = np.zeros(400)
    np.testing.assert_allclose(returns(zeros + 1, zeros, zeros, zeros, 0.9, 1.0)[0], 10.0, rtol=1e-5)


def test_shapes_have_to_agree():
    x, flag = jnp.zeros((3, 2)), jnp.zeros((3, 2), bool)
    with pytest.raises(ValueError, match=r"one shape \[T, B\]"):
        lambda_returns(x, flag, flag, jnp.zeros((4, 2)), 0.9, 0.9)
