"""POPGym Arcade's estimators of returns, Gap and Bias, kept beside ours for comparison.

A run is worth the running maximum of its smoothed training return (`run_return`); tasks and memories are averaged as
`of_tasks` says, and differences have the sum of squares of their errors (`difference`). A maximum of a noisy curve is
biased upwards, the more the noisier it is, and 1.96 standard errors of three or five seeds are too few.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.run_files import comparable

POINTS = 1000  # of the grid that a training curve is interpolated on
SPAN = 100  # points of the exponentially weighted mean
NORMAL = 1.96  # standard errors to the end of an interval
TRAINING = ("train/return_held", "train/return")  # the released trainers' metric, else our mean over ended episodes


class Estimate(NamedTuple):
    """A value and half the width of its interval, NaN for one seed."""

    value: float
    half: float


def run_return(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the published value of each seed of a run, its highest smoothed training return.

    The curve is interpolated linearly on `POINTS` points from 0 to the last frames, smoothed by the recursion
    y_i = (1 - a) y_{i-1} + a x_i with y_0 = x_0 and a = 2 / (SPAN + 1), and the highest y is taken.

    Args:
      frames: float[n], increasing.
      values: float[n, S]; NaN where no episode ended.

    Returns:
      float[S]; NaN for a seed without values.
    """
    grid, weight = np.linspace(0, frames[-1], POINTS), 2 / (SPAN + 1)
    found = np.full(values.shape[1], np.nan)
    for seed, column in enumerate(values.T):
        known = np.isfinite(column)
        if not known.any():
            continue
        curve = np.interp(grid, frames[known], column[known])
        smoothed = best = curve[0]
        for value in curve[1:]:
            smoothed = (1 - weight) * smoothed + weight * value
            best = max(best, smoothed)
        found[seed] = best
    return found


def of_tasks(samples: Sequence[np.ndarray]) -> Estimate:
    """Return the mean over tasks of means over seeds, ± 1.96 · (mean of standard deviations) / √(number of runs).

    Args:
      samples: float[n_i] of each task.
    """
    if min(map(len, samples)) < 2:
        return Estimate(float(np.mean([np.mean(sample) for sample in samples])), np.nan)
    deviation = np.mean([np.std(sample, ddof=1) for sample in samples])
    return Estimate(
        float(np.mean([np.mean(sample) for sample in samples])),
        float(NORMAL * deviation / np.sqrt(sum(map(len, samples)))),
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return one minus other, with the errors added in quadrature."""
    return Estimate(one.value - other.value, float(np.hypot(one.half, other.half)))


def training_curves(folder: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the training returns of the runs in a folder of a comparison.

    Args:
      folder: holds FOLDER/TASK/VARIANT/config.json and metrics.jsonl.

    Returns:
      {`identity` of the configuration: (frames [n], returns [n, S])}; runs that cannot be read are left out.
    """
    found = {}
    for path in sorted(folder.glob("*/*/config.json")):
        try:
            config, records = json.loads(path.read_text(encoding="utf-8")), read_metrics(path.with_name(METRICS))
        except (OSError, ValueError):
            continue
        for key in TRAINING:
            if kept := [record for record in records if key in record]:
                frames = np.asarray([np.mean(record["frames"]) for record in kept])
                values = np.asarray([np.atleast_1d(np.asarray(record[key], float)) for record in kept])
                found[identity(config)] = frames, values
                break
    return found


def identity(config: dict) -> str:
    """Return a text that is the same for configurations of the same run."""
    return json.dumps(comparable(config), sort_keys=True)
