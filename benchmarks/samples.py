"""Samples of episodes, and the distance between two samples."""

import numpy as np


def episodes(played: dict[str, np.ndarray], limit: int) -> dict[str, np.ndarray]:
    """Summarise the first episode of each environment.

    Args:
      played: reward float[T, B] and done bool[T, B].
      limit: step at which episodes are truncated.

    Returns:
      Arrays [B]: "return", "length" and "end": 3 at the limit and else 0, plus 0, 1 or 2 for a negative, zero or
      positive last reward.
    """
    done = played["done"].astype(bool)
    assert done.any(0).all(), "an episode did not end"
    last = done.argmax(0)
    within = np.arange(len(done))[:, None] <= last
    final = np.sign(np.round(np.take_along_axis(played["reward"], last[None], 0)[0], 5)).astype(int)
    returns = (played["reward"] * within).sum(0, dtype=np.float64)
    return {"return": returns, "length": last + 1.0, "end": 3 * (last + 1 >= limit) + final + 1}


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Compare two samples: means, their distance in standard errors and as Cohen's d, the largest gap of their CDFs."""
    error = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    pooled = np.sqrt((ours.var() + theirs.var()) / 2)
    apart = ours.mean() - theirs.mean()
    # Rounded, so that sums of equal rewards in another order are equal.
    ours, theirs = np.round(ours, 4), np.round(theirs, 4)
    places = np.union1d(ours, theirs)
    gap = np.abs(
        np.searchsorted(np.sort(ours), places, "right") / len(ours)
        - np.searchsorted(np.sort(theirs), places, "right") / len(theirs)
    ).max()
    equal = abs(apart) < 1e-5
    return {
        "ours": ours.mean(),
        "theirs": theirs.mean(),
        "standard_errors": 0.0 if equal else apart / max(error, 1e-9),
        "cohens_d": 0.0 if equal else apart / max(pooled, 1e-9),
        "gap": gap,
        # The gap that is exceeded by chance once in twenty thousand comparisons.
        "max_gap": np.sqrt(-np.log(1e-4 / 4) / 2 * (1 / len(ours) + 1 / len(theirs))),
    }
