"""Statistics over tasks and seeds, as rliable defines them (Agarwal et al., NeurIPS 2021), with stratified intervals.

A statistic takes a list of cells, the returns float[draws, n] of the seeds of one run on one task, and returns
float[draws]. Tasks are fixed strata: a draw of the bootstrap takes as many seeds as there are, with replacement, from
each cell on its own. Samples of all cells may be of different sizes.

A percentile bootstrap takes the spread of n seeds to be √((n - 1) / n) of what it is, and more tasks do not mend that:
`ATTAINED` states what a nominal 95 % interval attains on ten tasks; a test simulates it. Ranks are discrete, and their
intervals hold the true rank more often than that, as `ATTAINED_RANK` states.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from podarcade.reporting import statistics

DRAWS = 2000
# Attained coverage of the nominal 95 % bootstrap of the mean, and of the interquartile mean, over ten tasks, normal
# returns, by number of seeds.
ATTAINED = {2: 0.79, 3: 0.87, 5: 0.90, 10: 0.93}
# The same of the rank by interquartile mean of four agents that lie 0.15 to 0.3 standard deviations apart on ten tasks.
ATTAINED_RANK = {2: 0.95, 3: 0.98, 5: 0.99, 10: 1.00}

Statistic = Callable[[list[np.ndarray]], np.ndarray]


def mean(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over tasks of means over seeds, float[draws, n] each -> float[draws]."""
    return np.mean([cell.mean(-1) for cell in cells], axis=0)


def iqm(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Return the interquartile mean over all seeds of all tasks, float[draws, n] each -> float[draws].

    A task with more seeds than another weighs more.
    """
    return statistics.iqm_of_draws(np.concatenate(cells, axis=-1)[..., None])


def improvement(ones: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probability of improvement, the mean over tasks of P(X > Y) + P(X = Y) / 2.

    Args:
      ones: float[draws, n] for each task, returns X of the one.
      others: float[draws, m] for each task, returns Y of the other.

    Returns:
      float[draws]; 1/2 where neither is better.
    """
    found = []
    for one, other in zip(ones, others, strict=True):
        sign = np.sign(one[..., :, None] - other[..., None, :])
        found.append((1 + sign.mean((-2, -1))) / 2)
    return np.mean(found, axis=0)


def stratified(
    cells: Sequence[np.ndarray], statistic: Statistic, draws: int = DRAWS, confidence: float = statistics.CONFIDENCE
) -> statistics.Interval:
    """Return a statistic and its percentile interval of the stratified bootstrap over seeds.

    Args:
      cells: float[n_i], the independent seeds of each run on each task.
      statistic: of a list of cells float[draws, n_i], float[draws].
      draws: samples drawn with replacement, the same in every call.
      confidence: nominal coverage.

    Returns:
      An `Interval` whose `mean` is the statistic of the cells as they are. A cell of one seed leaves no interval.
    """
    cells = [np.asarray(cell, float) for cell in cells]
    value, seeds = statistic([cell[None] for cell in cells])[0], min(map(len, cells))
    if seeds < 2:
        return statistics.Interval(value, np.nan, np.nan, seeds)
    random = np.random.default_rng(0)
    found = statistic([cell[random.integers(0, len(cell), (draws, len(cell)))] for cell in cells])
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return statistics.Interval(value, low, high, seeds)


class Rank(NamedTuple):
    """Where an agent stands among others: 1 is the best, and ties share the mean of their places.

    Attributes:
      median: of the bootstrap distribution; NaN where a cell has one seed.
      low: lower end of the percentile interval, a place that was attained.
      high: upper end.
    """

    median: float
    low: float
    high: float


def ranks(
    agents: Sequence[Sequence[np.ndarray]],
    statistic: Statistic = iqm,
    draws: int = DRAWS,
    confidence: float = statistics.CONFIDENCE,
) -> list[Rank]:
    """Return the bootstrap distribution of the rank of each agent by a statistic, as its median and interval.

    Args:
      agents: cells float[n_i] of each agent, on the same tasks in the same order.
      statistic: by which agents are ranked, the highest first.
      draws: samples drawn with replacement, the same in every call.
      confidence: nominal coverage.
    """
    if min(len(cell) for cells in agents for cell in cells) < 2:
        return [Rank(np.nan, np.nan, np.nan) for _ in agents]
    found = rank_draws(agents, statistic, draws)
    ends = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0, method="inverted_cdf")
    return [Rank(*map(float, values)) for values in zip(np.median(found, axis=0), *ends, strict=True)]


def rank_draws(agents: Sequence[Sequence[np.ndarray]], statistic: Statistic, draws: int) -> np.ndarray:
    """Return the ranks of the agents in each draw of the stratified bootstrap, float[draws, agents].

    Runs of different agents share nothing, so each agent's seeds are drawn on their own. With x_a the statistic of
    agent a in a draw,

        rank_a = 1 + #{b : x_b > x_a} + #{b != a : x_b = x_a} / 2
    """
    random, found = np.random.default_rng(0), []
    for cells in agents:
        cells = [np.asarray(cell, float) for cell in cells]
        found.append(statistic([cell[random.integers(0, len(cell), (draws, len(cell)))] for cell in cells]))
    values = np.stack(found, axis=1)
    above = np.sign(values[:, None, :] - values[:, :, None])
    return 1 + ((above + 1) / 2).sum(-1) - 0.5


def note(seeds: int) -> str:
    """Return a line on what intervals over tasks with that many seeds, or more, are worth."""
    if seeds < 2:
        return "one seed: no interval"
    known = max(count for count in ATTAINED if count <= seeds)
    return (
        f"nominal {100 * statistics.CONFIDENCE:.0f} % intervals of the stratified bootstrap over seeds; with {known} "
        f"{'or more ' if known < seeds else ''}seeds those of (interquartile) means attain about "
        f"{100 * ATTAINED[known]:.0f} % and those of ranks {100 * ATTAINED_RANK[known]:.0f} % (ten tasks, normal "
        "returns, simulated)"
    )
