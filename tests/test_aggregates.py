"""Statistics over tasks: against naive implementations, against numbers of rliable, and their attained coverage."""

import itertools

import numpy as np
import pytest
from scipy import stats

from podarcade.reporting import aggregates


def cells(scores):
    """Scores [runs, tasks] as a list of cells [1, runs]."""
    return list(np.asarray(scores).T[:, None, :])


def naive_improvement(one, other):
    """By definition, run by run."""
    wins = [
        np.mean([(x > y) + 0.5 * (x == y) for x, y in itertools.product(a, b)])
        for a, b in zip(one.T, other.T, strict=True)
    ]
    return np.mean(wins)


def naive_iqm(scores):
    ordered = sorted(scores.ravel())
    cut = len(ordered) // 4
    return sum(ordered[cut : len(ordered) - cut]) / (len(ordered) - 2 * cut)


@pytest.mark.parametrize("seed", range(5))
def test_point_estimates_are_those_of_the_definitions(seed):
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 4, (5, 7)).astype(float), random.integers(0, 4, (3, 7)) + 0.25 * (seed % 2)
    assert aggregates.improvement(cells(one), cells(other))[0] == pytest.approx(
        naive_improvement(one, other), abs=1e-12
    )
    assert aggregates.iqm(cells(one))[0] == pytest.approx(naive_iqm(one), abs=1e-12)
    assert aggregates.iqm(cells(one))[0] == pytest.approx(stats.trim_mean(one, 0.25, axis=None), abs=1e-12)
    assert aggregates.mean(cells(one))[0] == pytest.approx(one.mean(), abs=1e-12)


@pytest.fixture
def scores():
    """What rliable 1.2.0 was given for its numbers below."""
    random = np.random.default_rng(7)
    return np.round(random.normal(size=(5, 4)), 1), np.round(random.normal(0.3, 1, size=(6, 4)), 1)


def test_point_estimates_are_those_of_rliable(scores):
    """metrics.aggregate_iqm, aggregate_mean and probability_of_improvement of rliable 1.2.0."""
    one, other = map(cells, scores)
    assert aggregates.iqm(one)[0] == pytest.approx(-0.31, abs=1e-6)
    assert aggregates.mean(one)[0] == pytest.approx(-0.315, abs=1e-6)
    assert aggregates.iqm(other)[0] == pytest.approx(0.00833333333, abs=1e-6)
    assert aggregates.mean(other)[0] == pytest.approx(-0.12083333333, abs=1e-6)
    assert aggregates.improvement(one, other)[0] == pytest.approx(0.4125, abs=1e-6)
    assert aggregates.improvement(other, one)[0] == pytest.approx(0.5875, abs=1e-6)


def test_intervals_are_those_of_rliable(scores):
    """library.get_interval_estimates of rliable 1.2.0 with 50,000 and 20,000 resamples; ends have a noise of 0.01."""
    one, other = (list(score.T) for score in scores)
    assert aggregates.stratified(one, aggregates.iqm, 20_000)[1:3] == pytest.approx((-0.69, 0.03), abs=0.02)
    assert aggregates.stratified(one, aggregates.mean, 20_000)[1:3] == pytest.approx((-0.64, -0.005), abs=0.02)
    found = aggregates.stratified(one + other, lambda draws: aggregates.improvement(draws[:4], draws[4:]), 20_000)
    assert found.mean == pytest.approx(0.4125) and found[1:3] == pytest.approx((0.24167, 0.58333), abs=0.02)


def test_a_draw_resamples_the_seeds_of_each_task_and_not_the_tasks():
    """Tasks that differ and whose seeds agree leave nothing to resample; the cells may have different sizes."""
    found = aggregates.stratified([[0.0, 0.0], [10.0, 10.0, 10.0]], aggregates.mean)
    assert found[:3] == (5.0, 5.0, 5.0) and found.seeds == 2
    low, high = aggregates.stratified([[0.0, 1.0], [10.0, 11.0]], aggregates.mean)[1:3]
    assert (low, high) == (5.0, 6.0), "each cell on its own: in 1 of 16 draws both are at their highest"


def test_one_seed_has_no_interval():
    found = aggregates.stratified([[1.0], [2.0, 4.0]], aggregates.mean)
    assert found.mean == 2.0 and np.isnan(found.low) and np.isnan(found.high)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_stated_coverage_is_attained(seeds):
    random, held = np.random.default_rng(8), []
    for _ in range(800):
        found = aggregates.stratified(list(random.normal(size=(10, seeds))), aggregates.mean, 300)
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) == pytest.approx(aggregates.ATTAINED[seeds], abs=0.03)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_stated_coverage_is_attained_by_interquartile_means(seeds):
    """Of ten tasks whose means are equal, so that the true interquartile mean is theirs."""
    random, held = np.random.default_rng(9), []
    for _ in range(800):
        found = aggregates.stratified(list(random.normal(size=(10, seeds))), aggregates.iqm, 300)
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) == pytest.approx(aggregates.ATTAINED[seeds], abs=0.04)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_stated_coverage_of_ranks_is_attained(seeds):
    random, held = np.random.default_rng(10), []
    for _ in range(200):
        values = random.normal(size=(4, 10, seeds)) - np.asarray([0, 0.15, 0.3, 0.6])[:, None, None]
        found = aggregates.ranks([list(agent) for agent in values], draws=200)
        held += [rank.low <= place <= rank.high for place, rank in enumerate(found, 1)]
    assert np.mean(held) == pytest.approx(aggregates.ATTAINED_RANK[seeds], abs=0.03)


def every_draw(cells):
    """All draws of the bootstrap of an agent, each as likely: float[number, tasks, seeds]."""
    resampled = [[np.asarray(c)[list(i)] for i in itertools.product(range(len(c)), repeat=len(c))] for c in cells]
    return np.asarray(list(itertools.product(*resampled)))


def test_ranks_are_those_of_every_draw():
    """Three agents on two tasks of two seeds: 16 draws each, 4096 of all three, ranked pair by pair."""
    agents = [[[0.0, 1.0], [0.5, 0.5]], [[0.2, 0.9], [0.4, 0.7]], [[0.0, 0.1], [0.2, 0.5]]]
    counts = np.zeros((3, 5))  # of the ranks 1, 1.5, ..., 3
    iqms = [[naive_iqm(np.asarray(draw)) for draw in every_draw(cells)] for cells in agents]
    for values in itertools.product(*iqms):
        for index, value in enumerate(values):
            others = [other for place, other in enumerate(values) if place != index]
            rank = 1 + sum(other > value for other in others) + sum(other == value for other in others) / 2
            counts[index, round(2 * (rank - 1))] += 1
    draws = aggregates.rank_draws(agents, aggregates.iqm, 40_000)
    found = np.stack([(draws == rank).mean(0) for rank in (1, 1.5, 2, 2.5, 3)], axis=1)
    np.testing.assert_allclose(found, counts / 4096, atol=0.012)
    np.testing.assert_allclose(draws.sum(1), 6)
    for index, rank in enumerate(aggregates.ranks(agents, draws=40_000)):
        held = np.repeat([1, 1.5, 2, 2.5, 3], counts[index].astype(int))
        assert rank.median == np.median(held)
        assert (rank.low, rank.high) == tuple(np.quantile(held, [0.025, 0.975], method="inverted_cdf"))


def test_equal_agents_share_a_rank_and_a_dominating_one_is_first():
    top, same = [[2.0, 3.0], [4.0, 5.0]], [[0.0, 0.0], [1.0, 1.0]]
    assert aggregates.ranks([same, top, same]) == [(2.5, 2.5, 2.5), (1.0, 1.0, 1.0), (2.5, 2.5, 2.5)]
    assert aggregates.improvement([np.asarray(c)[None] for c in top], [np.asarray(c)[None] for c in same])[0] == 1
    assert aggregates.improvement([np.asarray(c)[None] for c in same], [np.asarray(c)[None] for c in same])[0] == 0.5


def test_agents_of_equal_distributions_have_every_rank_as_often():
    """Draws of different agents are independent: the same ones would tie them in each draw."""
    cells = [list(range(8)), list(range(8, 16))]
    draws = aggregates.rank_draws([cells, cells], aggregates.mean, 20_000)
    assert (draws[:, 0] == 1).mean() == pytest.approx((draws[:, 1] == 1).mean(), abs=0.02)
    assert (draws[:, 0] == 1.5).mean() < 0.1
    assert aggregates.ranks([cells, cells], aggregates.mean)[0][1:] == (1.0, 2.0)


def test_a_single_seed_leaves_no_interval_of_the_rank():
    assert np.isnan(aggregates.ranks([[[1.0]], [[0.0, 1.0]]])[0]).all()


def test_what_intervals_are_worth_is_stated_by_the_fewest_seeds():
    assert aggregates.note(1) == "one seed: no interval"
    assert "with 5 seeds those of (interquartile) means attain about 90 % and those of ranks 99 %" in aggregates.note(5)
    assert "with 5 or more seeds" in aggregates.note(7) and "about 79 %" in aggregates.note(2)
