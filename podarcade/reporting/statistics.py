"""Statistics over seeds: means, interquartile means, and confidence intervals whose attained coverage is stated.

An interval over n seeds is Student's,

    mean ± t(n - 1) · s / √n,      s² = Σ (x - mean)² / (n - 1)

which covers the true mean at the nominal rate where returns are normally distributed. Those of a few seeds often are
not: some seeds solve a task and others do not. `ATTAINED` states what a nominal 95 % interval attains; a test simulates
it. For comparison: a percentile bootstrap of the mean attains 0.51, 0.74, 0.84 and 0.91 on normal returns of 2, 3, 5
and 10 seeds; with three it is little more than [minimum, maximum].

Differences of runs, such as a mean over full minus one over partial twins, are sums Σ c_i mean_i of independent
samples: seeds of different runs share nothing. `combination` gives them Welch and Satterthwaite's interval, and
`region` gives two of them, which share samples, a joint one. `ATTAINED_DIFFERENCE` and `ATTAINED_REGION` state what is
attained where all samples have the same shape; where one side does not vary, a difference is as good as `ATTAINED`.

What is measured on episodes of each seed's own, such as the densities of diagnostics, has `hierarchical` beside it.

The intervals describe the spread over seeds given the evaluation's starts: every seed and every run plays the same
ones. Their own sampling error is common to all runs and not included.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95
# Attained coverage of the nominal 95 % interval, by number of seeds.
ATTAINED = {
    "normal": {2: 0.95, 3: 0.95, 5: 0.95, 10: 0.95},
    "skewed": {2: 0.91, 3: 0.88, 5: 0.88, 10: 0.90},
    "bimodal": {2: 0.63, 3: 0.75, 5: 0.94, 10: 0.94},
    "lopsided": {2: 0.75, 3: 0.53, 5: 0.67, 10: 0.89},
}
# The same of the difference of two means, and of the joint region of two differences that share a sample.
ATTAINED_DIFFERENCE = {
    "normal": {2: 0.98, 3: 0.97, 5: 0.96, 10: 0.95},
    "skewed": {2: 0.98, 3: 0.98, 5: 0.97, 10: 0.96},
    "bimodal": {2: 0.88, 3: 0.97, 5: 0.97, 10: 0.96},
    "lopsided": {2: 0.94, 3: 0.98, 5: 0.99, 10: 0.97},
}
ATTAINED_REGION = {
    "normal": {2: 1.00, 3: 0.98, 5: 0.96, 10: 0.96},
    "skewed": {2: 1.00, 3: 0.98, 5: 0.97, 10: 0.96},
    "bimodal": {2: 0.94, 3: 0.92, 5: 0.94, 10: 0.95},
    "lopsided": {2: 0.98, 3: 0.98, 5: 0.98, 10: 0.95},
}
SINGULAR = 1e-12  # of the squared trace: a smaller determinant is that of a line
CHUNK = 100  # draws of the bootstrap that are in memory at once
BOOTSTRAP_ATTAINED = {2: 0.51, 3: 0.74, 5: 0.84, 10: 0.91}  # of the percentile bootstrap of a mean of normal returns
# Of the hierarchical bootstrap of 32 episodes of each seed: seeds differ and their episodes do not; the means of seeds
# have as much variance from either; only episodes differ; seeds are near 0 or near 1. Student's interval over the means
# of seeds attains 0.95 in the first three, and ATTAINED["bimodal"] in the last.
ATTAINED_HIERARCHICAL = {
    "seeds": {2: 0.50, 3: 0.73, 5: 0.84, 10: 0.90},
    "both": {2: 0.90, 3: 0.92, 5: 0.95, 10: 0.96},
    "episodes": {2: 0.97, 3: 0.97, 5: 0.98, 10: 0.99},
    "bimodal": {2: 0.49, 3: 0.75, 5: 0.94, 10: 0.91},
}
# The simulated returns: how they are drawn, with their true means.
SHAPES = {
    "normal": (lambda random, size: random.normal(size=size), 0.0),
    "skewed": (lambda random, size: random.exponential(size=size), 1.0),  # a long tail of good seeds
    "bimodal": (lambda random, size: (random.random(size) < 0.5) + random.normal(scale=0.05, size=size), 0.5),
    "lopsided": (lambda random, size: (random.random(size) < 0.8) + random.normal(scale=0.05, size=size), 0.8),
}


class Interval(NamedTuple):
    """Mean over seeds and the ends of its confidence interval, NaN for fewer than two seeds."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def interval(values: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Return Student's confidence interval of the mean over seeds.

    Args:
      values: float[..., S], independent seeds along the last axis.
      confidence: nominal coverage.

    Returns:
      An `Interval` of float[...]. One seed has a mean and no interval.
    """
    values = np.asarray(values, float)
    seeds, mean = values.shape[-1], values.mean(-1)
    if seeds < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), seeds)
    half = special.stdtrit(seeds - 1, (1 + confidence) / 2) * values.std(-1, ddof=1) / np.sqrt(seeds)
    return Interval(mean, mean - half, mean + half, seeds)


def combination(samples: Sequence[np.ndarray], weights: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return Welch and Satterthwaite's confidence interval of a weighted sum of means of independent samples.

        Σ c_i mean_i ± t(ν) · √(Σ c_i² v_i),   v_i = s_i² / n_i,   ν = (Σ c_i² v_i)² / Σ (c_i² v_i)² / (n_i - 1)

    Args:
      samples: float[..., n_i], independent seeds along the last axis; samples may have different numbers of them.
      weights: c_i; (1, -1) is Welch's interval of a difference.
      confidence: nominal coverage.

    Returns:
      An `Interval` of float[...]; `seeds` is the smallest n_i. There is no interval if a sample that counts is of one
      seed, and one of width 0 if no sample varies.
    """
    kept = [(np.asarray(sample, float), weight) for sample, weight in zip(samples, weights, strict=True) if weight]
    if not kept:
        zero = np.zeros(np.shape(samples[0])[:-1])
        return Interval(zero, zero, zero, min(np.shape(sample)[-1] for sample in samples))
    seeds = min(sample.shape[-1] for sample, _ in kept)
    mean = sum(weight * sample.mean(-1) for sample, weight in kept)
    if seeds < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), seeds)
    parts = np.stack([weight**2 * sample.var(-1, ddof=1) / sample.shape[-1] for sample, weight in kept])
    freedom = _freedom(parts, np.asarray([sample.shape[-1] for sample, _ in kept]))
    half = special.stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(parts.sum(0))
    return Interval(mean, mean - half, mean + half, seeds)


def _freedom(parts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return Satterthwaite's degrees of freedom of a sum of variances [m, ...] of n_i seeds; 1 for a sum of 0."""
    divisors = (counts - 1).reshape(-1, *[1] * (parts.ndim - 1))
    total = parts.sum(0)
    return np.where(total > 0, total**2 / np.maximum((parts**2 / divisors).sum(0), np.finfo(float).tiny), 1.0)


class Region(NamedTuple):
    """Confidence region of two weighted sums of means: {x : x = center + axes u, |u| <= 1}, an ellipse or a line.

    Attributes:
      center: float[2].
      axes: float[2, 2]; NaN for fewer than two seeds.
    """

    center: np.ndarray
    axes: np.ndarray

    def outline(self, points: int = 121) -> np.ndarray:
        """Return points of the edge, float[points, 2]."""
        angle = np.linspace(0, 2 * np.pi, points)
        return self.center + np.stack([np.cos(angle), np.sin(angle)], axis=1) @ self.axes.T


def region(samples: Sequence[np.ndarray], weights: np.ndarray, confidence: float = CONFIDENCE) -> Region:
    """Return the joint confidence region of two weighted sums of means of independent samples.

        {x : (x - center)ᵀ Σ⁻¹ (x - center) <= 2 ν / (ν - 1) · F(2, ν - 1)},
        Σ = Σ_i v_i a_i a_iᵀ,    ν = 3 / Σ_i q_i² / (n_i - 1),    q_i = v_i a_iᵀ Σ⁻¹ a_i

    Hotelling's T² with the degrees of freedom of Krishnamoorthy and Yu (Statistics and Probability Letters, 2004),
    which do not change with the units of the two. If both share one direction of error, Student's interval along it.

    Args:
      samples: float[n_i] each.
      weights: float[2, m], whose column a_i has the weights of sample i in the two sums.
      confidence: nominal coverage.
    """
    weights, counts = np.asarray(weights, float), np.asarray([len(sample) for sample in samples])
    center = weights @ np.asarray([np.mean(sample) for sample in samples])
    kept = np.any(weights != 0, axis=0)
    if np.any(counts[kept] < 2):
        return Region(center, np.full((2, 2), np.nan))
    variances = np.asarray([np.var(sample, ddof=1) / len(sample) if len(sample) > 1 else 0 for sample in samples])
    covariance = (weights * variances) @ weights.T
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    if values.prod() <= SINGULAR * values.sum() ** 2:
        parts = variances * (vectors[:, 1] @ weights) ** 2
        scale = special.stdtrit(_freedom(parts[kept], counts[kept]), (1 + confidence) / 2) ** 2
        return Region(center, vectors * np.sqrt(values * scale * [0, 1]))
    shares = variances * np.einsum("ai,ab,bi->i", weights, np.linalg.inv(covariance), weights)
    freedom = 3 / np.sum(shares[kept] ** 2 / (counts[kept] - 1))
    scale = 2 * freedom / (freedom - 1) * special.fdtri(2, freedom - 1, confidence)
    return Region(center, vectors * np.sqrt(values * scale))


def iqm(values: np.ndarray) -> float:
    """Return the interquartile mean over all values, as rliable does: the mean of the middle half."""
    return float(iqm_of_draws(np.reshape(values, (1, -1, 1)))[0])


def iqm_of_draws(values: np.ndarray) -> np.ndarray:
    """Return the interquartile mean of each of many draws, float[draws, S, E] -> float[draws]."""
    ordered = np.sort(values.reshape(len(values), -1), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[:, cut : ordered.shape[-1] - cut].mean(axis=-1)


def bootstrap(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], draws: int = 2000, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return a percentile bootstrap interval over seeds and over episodes.

    Seeds and episodes are crossed: all seeds play the same starts, so a draw takes the same starts for all of them.
    With few seeds the interval is too narrow, as the module says; with one seed it is over episodes alone.

    Args:
      values: float[S, E], episodes of each seed.
      statistic: float[draws, S, E] -> float[draws].
      draws: samples drawn with replacement, the same in every call.
      confidence: nominal coverage.
    """
    values, random, found = np.asarray(values, float), np.random.default_rng(0), []
    seeds, episodes = values.shape
    for begin in range(0, draws, CHUNK):
        count = min(CHUNK, draws - begin)
        chosen = random.integers(0, seeds, (count, seeds, 1)), random.integers(0, episodes, (count, 1, episodes))
        found.append(statistic(values[chosen]))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def hierarchical(values: Sequence[np.ndarray], draws: int = 2000, confidence: float = CONFIDENCE) -> Interval:
    """Return a percentile bootstrap interval of a mean over seeds of means over episodes, which are nested in seeds.

    A draw takes as many seeds as there are, with replacement, and of each, each time it is taken, as many of its own
    episodes. Other than in `bootstrap`, episodes of different seeds share nothing.

    Where seeds differ and are few, it is too narrow, as `ATTAINED_HIERARCHICAL` states. Student's interval over the
    means of seeds is the one to trust then: those have the noise of their episodes in them, and it attains its 95 % of
    normally distributed ones. Where seeds agree and only episodes differ, the bootstrap covers the mean at least as
    often, and of 3 seeds with two thirds of the width. It does not leave the range of the values, such as [0, 1].

    Args:
      values: float[E_s, ...] of each seed, episodes along the first axis.
      draws: samples drawn with replacement, the same in every call.
      confidence: nominal coverage.

    Returns:
      An `Interval` of float[...]. One seed has a mean and no interval.
    """
    values = [np.asarray(one, float) for one in values]
    seeds, mean = len(values), np.mean([one.mean(0) for one in values], axis=0)
    if seeds < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), seeds)
    random = np.random.default_rng(0)
    chosen, found = random.integers(0, seeds, (draws, seeds)), np.empty((draws, seeds, *mean.shape))
    for number, one in enumerate(values):
        taken = chosen == number
        counts = random.multinomial(len(one), np.full(len(one), 1 / len(one)), int(taken.sum()))
        found[taken] = np.tensordot(counts / len(one), one, axes=1)
    low, high = np.quantile(found.mean(1), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(mean, low, high, seeds)


def note(seeds: int) -> str:
    """Return a line on what the interval over that many seeds is worth."""
    if seeds < 2:
        return "one seed: no interval"
    known = max(count for count in ATTAINED["normal"] if count <= seeds)
    attained = [round(100 * row[known]) for row in ATTAINED.values()]
    more = " or more" if known < seeds else ""
    return (
        f"{round(100 * CONFIDENCE)} % Student t over {seeds} seeds; with {known}{more} it attains {attained[0]} % on "
        f"normally distributed returns, {min(attained)} to {max(attained[1:])} % on skewed and bimodal ones (simulated)"
    )


def coverage(shape: str, seeds: int, draws: int = 100_000, confidence: float = CONFIDENCE) -> float:
    """Return how often the interval holds the true mean of simulated returns.

    Args:
      shape: one of `SHAPES`.
      seeds: sample size.
      draws: simulated samples.
      confidence: nominal coverage.
    """
    draw, mean = SHAPES[shape]
    found = interval(draw(np.random.default_rng(0), (draws, seeds)), confidence)
    return float(np.mean((found.low <= mean) & (mean <= found.high)))
