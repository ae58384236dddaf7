"""Probes as functions of arrays: closed forms of fits and of scores."""

import numpy as np

from podarcade.diagnostics import readout
from podarcade.diagnostics.readout import Split, Target


def test_ridge_is_least_squares_with_rows_for_the_penalty():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 7, 4)), rng.normal(size=(3, 7, 2))
    weight = rng.random((3, 7, 2)) < 0.7
    read = readout.ridge(Split(x, x), y, weight, 0.3)
    for column in range(2):
        known = weight[..., column]
        rows, wanted, n = x[known], y[known][:, column], known.sum()
        # The intercept is an unknown of its own, without a penalty.
        system = np.concatenate([np.c_[rows, np.ones(n)], np.c_[np.sqrt(0.3 * n) * np.eye(4), np.zeros(4)]])
        solved = np.linalg.lstsq(system, np.concatenate([wanted, np.zeros(4)]), rcond=None)[0]
        np.testing.assert_allclose(read[..., column], x @ solved[:4] + solved[4], atol=1e-6)


def test_shares_of_variance_by_hand():
    """Two times, two episodes: 0, 2 and 4, 8; means 1 and 6, over all 3.5."""
    values = np.array([[[0.0], [2.0]], [[4.0], [8.0]]])
    known = np.ones((2, 2), bool)
    target = Target(Split(values, values), Split(known, known), discrete=False)
    found = readout.explained(target, np.array([[[1.0], [2.0]], [[4.0], [4.0]]]))
    np.testing.assert_allclose(found["r2"], 1 - 17 / 35)
    # Deviations read: -0.5, 0.5 and 0, 0; true ones -1, 1 and -2, 2.
    np.testing.assert_allclose(found["r2_at"], [1 - 0.5 / 2, 0])
    np.testing.assert_allclose(found["within"], 1 - 8.5 / 10)
    hidden = Target(Split(values, values), Split(known, known & [[True, True], [False, False]]), discrete=False)
    np.testing.assert_allclose(readout.explained(hidden, values * 0 + 1)["r2"], 0)


def test_constants_and_long_lists_of_values_are_left_out():
    values = np.stack(
        [np.zeros((40, 4)), np.arange(160.0).reshape(40, 4), 2 - np.arange(160.0).reshape(40, 4) % 3], axis=2
    )
    known = np.ones((40, 4), bool)
    target = Target(Split(values, values), Split(known, known), discrete=True)
    assert [len(kinds) for kinds in target.kinds] == [0, 0, 3]
    numbers, chosen = target.decode(target.columns())
    np.testing.assert_allclose(numbers, values, atol=1e-4)
    assert np.isnan(readout.explained(target, numbers)["r2_of"]).tolist() == [True, False, False]
    np.testing.assert_array_equal(readout.accurate(target, chosen)["accuracy_of"], [np.nan, np.nan, 1])
    # Columns have mean 0, so that a probe that reads nothing names the most frequent value.
    np.testing.assert_allclose(target.columns().mean(axis=(0, 1)), 0, atol=1e-6)
    assert (target.decode(0 * target.columns())[1][..., 2] == 2).all()


def test_a_vector_drawn_for_each_episode_names_its_constants_within_the_fit():
    """Tests of `Probes` show that it does not for episodes that are held out."""
    rng = np.random.default_rng(0)
    names = np.broadcast_to(rng.normal(size=(1, 64, 128)), (20, 64, 128))
    constant = np.broadcast_to(rng.integers(4, size=(1, 64, 1)), (20, 64, 1)).astype(float)
    known = np.ones((20, 64), bool)
    target = Target(Split(constant, constant), Split(known, known), discrete=True)
    columns = target.columns()
    read = readout.ridge(Split(names, names), columns, np.ones(columns.shape, bool), 0.01)
    numbers, chosen = target.decode(read)
    assert readout.explained(target, numbers)["r2"] > 0.95 and readout.accurate(target, chosen)["accuracy"] == 1
