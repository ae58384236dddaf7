"""The section on Recall Density: which observations the last decision of an episode depends on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.recall_density import ATTENTION, CURVE, summary
from podarcade.reporting import statistics
from podarcade.reporting.report import Section, known, recall_drawing
from podarcade.reporting.report.looks import Looks, looks_of
from podarcade.reporting.report.markup import Markup, details, paragraph, table
from podarcade.reporting.report.measured import Measured, collect
from podarcade.reporting.report.reading import ReportedRun
from podarcade.reporting.report.recall_drawing import CONTROLS, MEASURES, THIRDS, Density

NAME = "recall_density"
ROWS = MEASURES | {"integrated": ("integrated gradients", "", ""), ATTENTION: ("attention roll-out", "", "")}
KEYS = ("thirds", "now", "needed", "shuffled", "chance", "horizon", "agreement")
RESAMPLED = ("thirds", "needed", "curve")  # quantities with intervals


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
        "depends on; agreement is the rank correlation over time with occlusion. The share at the needed time has two "
        "nulls: shuffled targets, the share at the needed times of other episodes, which is the same share where all "
        "need the same time; and chance, that of an even density."
    )
    looks = looks_of(runs)
    parts = [about, *recall_drawing.figures(found, looks), _table(found, looks), _intervals(found, looks), *problems]
    return Section(NAME, "Recall Density", parts, _numbers(found))


def _density(run: ReportedRun, entry: Measured) -> Density:
    """Return the means over episodes of each seed; episodes in which nothing changes the decision have no density."""
    arrays, means, resampled = entry.arrays(), {}, {}
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
                _by_episode({key: array[k] for key, array in own.items()}, measure, bins) for k in range(len(run.seeds))
            ]
            means[control, measure] = {
                key: np.stack([recall_drawing.mean(one[key]) for one in seeds]) for key in seeds[0]
            }
            if measure in MEASURES:
                resampled[control, measure] = {key: _resampled([one[key] for one in seeds]) for key in RESAMPLED}
    is_known = needed >= 0
    position = np.mean((needed[is_known] + 0.5) / (last[is_known] + 1.0)) if is_known.any() else np.nan
    return Density(run, entry.updates, means, resampled, float(position))


def _by_episode(found: dict[str, np.ndarray], measure: str, bins: int) -> dict[str, np.ndarray]:
    """Return what is known of each episode that has a density, float[b, ...]."""
    summed = summary(found, measure)
    there = np.isfinite(summed["now"])
    values = {key: np.asarray(summed[key], float)[there] for key in KEYS}
    return values | {"curve": curve(found[measure], found["last"], bins)[there]}


def _resampled(values: Sequence[np.ndarray]) -> statistics.Interval | None:
    """Return the bootstrap over seeds and their episodes, of those that are known; None where no seed has any."""
    known = [one[recall_drawing.are_known(one)] for one in values]
    known = [one for one in known if len(one)]
    return statistics.hierarchical(known) if known else None


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
        "at shuffled targets",
        "by chance",
        "horizon, steps",
        "agreement with occlusion",
    )
    hidden = [looks[one.run.label].index for one, _, _ in entries]
    about = "Recall Density: shares of the last decision, mean over seeds"
    return table(about, (*heads, "updates", "seeds"), rows, hidden)


def _intervals(found: Sequence[Density], looks: Looks) -> Markup:
    rows, hidden = [], []
    for one in found:
        for control, measure in one.resampled:
            for cells in _interval_cells(one, control, measure):
                rows.append([one.run.name, control, ROWS[measure][0], *cells])
                hidden.append(looks[one.run.label].index)
    heads = (
        "run",
        "agent",
        "measure",
        "quantity",
        "mean",
        "t, low",
        "t, high",
        "bootstrap, low",
        "bootstrap, high",
        "seeds",
    )
    few, many = (statistics.ATTAINED_HIERARCHICAL["seeds"][seeds] for seeds in (3, 10))
    about = paragraph(
        f"Intervals of {statistics.CONFIDENCE:.0%}: Student's t over the means of seeds, and a bootstrap of seeds and "
        f"then of their episodes. Where seeds differ, the bootstrap of 3 seeds holds the true mean {few:.0%} of the "
        f"time, and that of 10 seeds {many:.0%}: trust Student's. Where seeds agree and only episodes differ, the "
        "bootstrap is as safe, and narrower."
    )
    return details("Intervals of these shares", about, table("Intervals of shares", heads, rows, hidden))


def _interval_cells(one: Density, control: str, measure: str) -> Iterator[list[Any]]:
    """Yield name, mean and both intervals of each third and of the share at the needed time, where they are known."""
    for key, names in (("thirds", THIRDS), ("needed", ("at needed time",))):
        values, bootstrap = one.means[control, measure][key], one.resampled[control, measure][key]
        if bootstrap is None:
            continue
        student = statistics.interval(values[recall_drawing.are_known(values)].T)
        ends = student.mean, student.low, student.high, bootstrap.low, bootstrap.high
        columns = np.stack([np.reshape(end, -1) for end in ends], axis=1)
        yield from ([name, *known(row), student.seeds] for name, row in zip(names, columns, strict=True))


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
            if (control, measure) in one.resampled:
                group[measure]["bootstrap"] = {
                    key: known([found.low, found.high])
                    for key, found in one.resampled[control, measure].items()
                    if found is not None
                }
    return {"runs": runs}
