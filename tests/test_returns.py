"""λ-returns: a table worked out by hand, a brute-force double sum, and the special cases."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podarcade.returns import lambda_returns


def column(values, dtype=np.float32):
    return jnp.asarray(np.asarray(values, dtype)[:, None])


def returns(reward, terminal, truncated, value, discount, trace):
    arrays = column(reward), column(terminal, bool), column(truncated, bool), column(value)
    return np.asarray(lambda_returns(*arrays, discount, trace))[:, 0]


def brute_force(reward, terminal, truncated, value, discount, trace):
    """The definition: a λ-weighted mixture of n-step returns up to the first cut.

    G⁽ⁿ⁾ sums n rewards and bootstraps on the value n steps ahead, unless the game is over there. The longest one,
    K steps to an end, a truncation or the horizon, takes all the weight that is left.
    """
    length, result = len(reward), []
    for t in range(length):
        cuts = [k for k in range(t, length) if terminal[k] or truncated[k]]
        longest = (cuts[0] if cuts else length - 1) - t + 1

        def n_step(n, t=t):
            rewards = sum(discount**i * reward[t + i] for i in range(n))
            return rewards + (0 if terminal[t + n - 1] else discount**n * value[t + n - 1])

        mixture = sum((1 - trace) * trace ** (n - 1) * n_step(n) for n in range(1, longest))
        result.append(mixture + trace ** (longest - 1) * n_step(longest))
    return np.asarray(result)


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


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_equals_the_double_sum(data):
    length = 12
    flags = st.lists(st.sampled_from(["go", "go", "go", "end", "cut", "both"]), min_size=length, max_size=length)
    numbers = st.lists(st.floats(-3, 3, width=32), min_size=length, max_size=length)
    kinds, reward, value = data.draw(flags), data.draw(numbers), data.draw(numbers)
    discount, trace = (
        data.draw(st.sampled_from([0.0, 0.5, 0.99, 1.0])),
        data.draw(st.sampled_from([0.0, 0.3, 0.95, 1.0])),
    )
    terminal, truncated = [k in ("end", "both") for k in kinds], [k in ("cut", "both") for k in kinds]
    expected = brute_force(reward, terminal, truncated, value, discount, trace)
    result = returns(reward, terminal, truncated, value, discount, trace)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


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
