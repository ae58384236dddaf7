"""The section on Recall Density: which observations the last decision of an episode depends on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.recall_density import ATTENTION, CURVE, summary
from podarcade.reporting.report import Section, known, recall_drawing
from podarcade.reporting.report.looks import Looks, looks_of
from podarcade.reporting.report.markup import Markup, paragraph, table
from podarcade.reporting.report.measured import Measured, collect
from podarcade.reporting.report.reading import ReportedRun
from podarcade.reporting.report.recall_drawing import CONTROLS, MEASURES, THIRDS, Density

NAME = "recall_density"
ROWS = MEASURES | {"integrated": ("integrated gradients", "", ""), ATTENTION: ("attention roll-out", "", "")}
KEYS = ("thirds", "now", "needed", "horizon", "agreement")


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return the densities of all runs that have them; None where no run has."""
    found, problems = collect(runs, NAME, _density)
    if not found:
        return Section(NAME, "Recall Density", problems) if problems else None
    about = paragraph(
        "The share of each observation in the last decision of greedy episodes, on the twin that the agent was trained "
        "on: by the gradient of the decision (L1), and by occlusion, how much the decision changes when the "
        "observation is replaced by that of another episode. Only occlusion says that an observation made a "
        "difference. Time is normalised in each episode: 0 is its start, 1 the decision. An untrained network with "
        "memory spreads its density too, so that it is the control. The horizon is the mean age of what the decision "
        "depends on; agreement is the rank correlation over time with occlusion."
    )
    looks = looks_of(runs)
    parts = [about, *recall_drawing.figures(found, looks), _table(found, looks), *problems]
    return Section(NAME, "Recall Density", parts, _numbers(found))


def _density(run: ReportedRun, entry: Measured) -> Density:
    """Return the means over episodes of each seed; episodes in which nothing changes the decision have no density."""
    arrays, means = entry.arrays(), {}
    last, needed = arrays["last"], arrays["needed"]
    bins = min(CURVE, int(last.max()) + 1)
    for control, prefix in CONTROLS.items():
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for measure in ROWS:
            if measure not in own or "occlusion" not in own:
                if not prefix and measure in MEASURES:
                    raise ValueError(f"{entry.path} lacks {measure!r}")
                continue  # of networks without attention, and of earlier versions
            seeds = [
                _seed_means({key: array[k] for key, array in own.items()}, measure, bins) for k in range(len(run.seeds))
            ]
            means[control, measure] = {key: np.stack([one[key] for one in seeds]) for key in seeds[0]}
    is_known = needed >= 0
    position = np.mean((needed[is_known] + 0.5) / (last[is_known] + 1.0)) if is_known.any() else np.nan
    return Density(run, entry.updates, means, float(position))


def _seed_means(found: dict[str, np.ndarray], measure: str, bins: int) -> dict[str, np.ndarray]:
    summed = summary(found, measure)
    there = np.isfinite(summed["now"])
    means = {key: recall_drawing.mean(np.asarray(summed[key], float)[there]) for key in KEYS}
    return means | {"curve": recall_drawing.mean(curve(found[measure], found["last"], bins)[there])}


def curve(density: np.ndarray, last: np.ndarray, bins: int) -> np.ndarray:
    """Return the mass in equal bins of normalised time, each observation spread evenly over its part of the time.

    Unlike the curve of `recall_density.summary`, which puts an observation into one bin, this one has no gaps where
    episodes are shorter than the number of bins.

    Args:
      density: float[B, T], 0 after `last`.
      last: int[B], time of the decision.
      bins: K.

    Returns:
      float[B, K].
    """
    edges, found = np.linspace(0, 1, bins + 1), []
    for one, end in zip(np.asarray(density, float), last, strict=True):
        total = np.concatenate([[0.0], np.cumsum(one[: end + 1])])
        found.append(np.diff(np.interp(edges, np.linspace(0, 1, end + 2), total)))
    return np.stack(found)


def _table(found: Sequence[Density], looks: Looks) -> Markup:
    entries = [(one, control, measure) for one in found for control, measure in one.means]
    rows = [
        [
            one.run.name,
            control,
            ROWS[measure][0],
            *known(_shares(one, control, measure)),
            one.updates,
            len(one.run.seeds),
        ]
        for one, control, measure in entries
    ]
    heads = (
        "run",
        "agent",
        "measure",
        *THIRDS,
        "at present",
        "at needed time",
        "horizon, steps",
        "agreement with occlusion",
    )
    hidden = [looks[one.run.label].index for one, _, _ in entries]
    about = "Recall Density: shares of the last decision, mean over seeds"
    return table(about, (*heads, "updates", "seeds"), rows, hidden)


def _shares(one: Density, control: str, measure: str) -> list[float]:
    thirds, *others = (one.over_seeds(control, measure, key) for key in KEYS)
    return [float(value) for value in (*np.reshape(thirds, -1), *others)]


def _numbers(found: Sequence[Density]) -> dict[str, Any]:
    """Return each share of each seed, those of the control under "untrained"."""
    runs: dict[str, Any] = {}
    for one in found:
        runs[one.run.name] = numbers = {"updates": one.updates}
        for (control, measure), values in one.means.items():
            group = numbers if control == "trained" else numbers.setdefault(control, {})
            group[measure] = {key: known(values[key]) for key in KEYS}
    return {"runs": runs}
