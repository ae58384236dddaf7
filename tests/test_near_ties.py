"""Near-ties: one rule, and everything that counts flips of greedy actions follows it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade.actions import NEAR_TIE, is_near_tie
from podarcade.anakin import churn
from podarcade.diagnostics import contamination, twins


@pytest.mark.parametrize(
    ("values", "within", "expected"),
    [
        ([1.0, 0.5, 0.0], 0.5, True),
        ([0.0, 0.5, 1.0], 0.25, False),
        ([-3.0, -3.5, -9.0], 0.75, True),
        ([2.0, 2.0, 0.0], 0.0, True),  # an exact tie
        ([2.0, 0.0, 0.0], 1.0, False),  # a tie of those that are not chosen
        ([7.0], 1e9, False),  # a single action
    ],
)
def test_the_rule(values, within, expected):
    assert bool(is_near_tie(jnp.asarray(values), within)) is expected
    assert bool(is_near_tie(jnp.asarray(values) - 100.0, within)) is expected


def test_the_gap_is_between_the_two_largest():
    values = np.random.default_rng(0).normal(size=(50, 20, 6)).astype(np.float32)
    gap = np.diff(np.sort(values, axis=-1)[..., -2:], axis=-1)[..., 0]
    np.testing.assert_array_equal(is_near_tie(jnp.asarray(values), 0.3), gap <= np.float32(0.3))


def test_churn_contamination_and_twins_count_the_same_clear_flips():
    """Of the same decisions before and after: values around 1e-3, so that half of the choices are near-ties."""
    before, change = 1e-3 * jax.random.normal(jax.random.key(0), (2, 40, 30, 3))
    after, everywhere = before + change, jnp.ones((40, 30), bool)
    counted = churn.count({"q": before}, {"q": after}, everywhere)
    flips, clear = (int(counted[name]) for name in ("flips", "clear_flips"))
    assert 50 < clear < flips - 50
    _, _, clear_flips, near_tie_flips, _ = contamination._terms(after, before, jnp.float32(NEAR_TIE), discrete=True)
    assert (int(clear_flips.sum()), int(near_tie_flips.sum())) == (clear, flips - clear)
    # Twins ask for a clear choice of both, and measure gaps in units of the mean preference.
    size = jnp.full((40, 30), NEAR_TIE / twins.NEAR_TIE)
    both = ~is_near_tie(before) & ~is_near_tie(after)
    differ = jnp.argmax(before, axis=-1) != jnp.argmax(after, axis=-1)
    found = twins._flips(before, after, everywhere, size)
    np.testing.assert_allclose(found["clear_flips"], (differ & both).sum() / both.sum(), rtol=1e-5)
    np.testing.assert_allclose(found["flips"], flips / 1200, rtol=1e-5)


def test_an_agent_without_preferences_has_no_clear_choice():
    nothing, everywhere = jnp.zeros((4, 3, 5)), jnp.ones((4, 3), bool)
    assert int(churn.count({"q": nothing}, {"q": nothing}, everywhere)["clear_states"]) == 0
    assert np.isnan(twins._flips(nothing, nothing, everywhere, jnp.zeros((4, 3)))["clear_flips"])
