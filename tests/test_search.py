"""Search: spaces, and which trials the methods train."""

import math

import numpy as np
import pytest

from podarcade.sweeps import search

SPACE = search.read_space("algorithm.learning_rate=log:1e-5:1e-2 algorithm.discount=uniform:0.9:1")
FIRST = {"algorithm.learning_rate": 5e-4, "algorithm.discount": 0.99}


def played(rounds, score):
    """All rounds of a method whose trials score what `score` says."""
    found, send = [], None
    while True:
        try:
            found.append(rounds.send(send))
        except StopIteration:
            return found
        send = [score(values) for values in found[-1].trials]


def near(values):
    """A score with its only maximum at a learning rate of 1e-3."""
    return -abs(math.log10(values["algorithm.learning_rate"]) + 3)


def test_ranges_by_hand():
    space = search.read_space("a=log:1e-4:1 b=uniform:-1:1 c=3,1,2")
    assert [space["a"].at(share) for share in (0, 0.25, 0.5)] == [1e-4, 1e-3, 1e-2]
    assert [space["b"].at(share) for share in (0, 0.5, 0.75)] == [-1, 0, 0.5]
    assert [space["c"].at(share) for share in (0, 0.34, 0.99)] == [3, 1, 2]


@pytest.mark.parametrize(
    "text", ["", "a", "a=log:0:1", "a=log:2:1", "a=uniform:1", "a=normal:0:1", "a=1,x", "a=1 a=2", "a=log:1:inf"]
)
def test_what_is_no_space_is_refused(text):
    with pytest.raises(ValueError, match="--space"):
        search.read_space(text)


def test_samples_fill_their_ranges_and_repeat_with_their_seed():
    found = search.sample(SPACE, 400, seed=1)
    assert found == search.sample(SPACE, 400, seed=1) != search.sample(SPACE, 400, seed=2)
    logs = np.log10([values["algorithm.learning_rate"] for values in found])
    assert -5 <= logs.min() < -4.9 and -2.1 < logs.max() <= -2
    assert abs(logs.mean() + 3.5) < 3 * 3 / math.sqrt(12 * 400)  # three standard errors


def test_a_small_space_gives_what_it_has():
    assert len(search.sample(search.read_space("a=1,2 b=1,2"), 10, seed=0)) == 4


def test_random_search_is_one_round_that_begins_with_the_configuration_itself():
    (only,) = played(search.random_search(SPACE, FIRST, 16, 1000, 0), near)
    assert only.frames == 1000 and len(only.trials) == 16 and only.trials[0] == FIRST


def test_halving_keeps_the_best_of_each_round():
    found = played(search.halving(SPACE, FIRST, 16, 1600, 0), near)
    assert [(len(one.trials), one.frames) for one in found] == [(16, 100), (4, 400), (1, 1600)]
    best = sorted(found[0].trials, key=near, reverse=True)
    assert list(found[1].trials) == best[:4] and found[2].trials[0] == best[0]


def test_a_diverged_trial_never_goes_on():
    found = played(search.halving(SPACE, FIRST, 8, 100, 0), lambda values: -math.inf if values == FIRST else 0.0)
    assert len(found) == 2 and FIRST not in found[1].trials


def test_best_first_keeps_the_order_of_equals():
    assert search.best_first([1.0, 3.0, -math.inf, 3.0]) == [1, 3, 0, 2]


def test_tpe_proposes_better_trials_than_chance():
    pytest.importorskip("optuna")
    found = played(search.tpe(SPACE, FIRST, 64, 100, 0), near)
    assert sum(len(one.trials) for one in found) <= 64 and found[0].trials[0] == FIRST
    late = [near(values) for one in found[-3:] for values in one.trials]
    chance = [near(values) for values in search.sample(SPACE, 400, 0)]
    assert np.mean(late) > np.mean(chance) + 0.3


def test_rounding_leaves_no_range_and_changes_no_choice():
    space = search.read_space("a=uniform:0.99:0.9999 b=log:0.99951:0.99993 c=uniform:-2:5 d=log:1e-5:1e-2")
    for one in space.values():
        found = {one.at(share) for share in np.linspace(0, 0.999, 500)}
        assert len(found) > 90
        assert min(found) >= one.numbers[0] and max(found) <= one.numbers[1]
    assert space["d"].at(0.123456) == 2.35e-05
    pytest.importorskip("optuna")
    given = search.read_space("algorithm.discount=0.99,0.9975,0.9999")
    (*trials,) = next(search.tpe(given, {"algorithm.discount": 0.9975}, 8, 10, 0)).trials
    assert {one["algorithm.discount"] for one in trials} <= {0.99, 0.9975, 0.9999}
