"""The section on Recall Density: which observations the last decision of an episode depends on."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.recall_density import CURVE, summary
from podarcade.reporting import statistics
from podarcade.reporting.figures import COLOURS, FEW_SEEDS
from podarcade.reporting.report import Columns, Figure, Section, known, records, rows_of
from podarcade.reporting.report.curves import WIDTH
from podarcade.reporting.report.drawing import MUTED
from podarcade.reporting.report.looks import Looks, grid, legend, looks_of
from podarcade.reporting.report.markup import Markup, paragraph, table
from podarcade.reporting.report.measured import measured
from podarcade.reporting.report.reading import ReportedRun

NAME = "recall_density"
MEASURES = {"l1": ("gradient, L1", COLOURS[1], "--"), "occlusion": ("occlusion", COLOURS[0], "-")}
THIRDS = ("first third", "middle third", "last third")
SHADES, HATCHES = (COLOURS[4], COLOURS[7], COLOURS[0]), ("", "//", "")
COLUMNS = 4  # panels in a row


@dataclasses.dataclass(frozen=True)
class _Density:
    """Densities of a run: {measure: {"now": [S], "thirds": [S, 3], "curve": [S, K], "needed": [S]}}, over episodes."""

    run: ReportedRun
    updates: int
    means: dict[str, dict[str, np.ndarray]]
    position: float  # of the needed observation in normalised time; NaN where it is unknown


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return the densities of all runs that have them; None where no run has."""
    found, problems = [], []
    for run in runs:
        if (entry := measured(run, NAME)) is None:
            continue
        try:
            found.append(_density(run, entry.updates, entry.arrays()))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            problems.append(paragraph(f"{run.name}: {error}", kind="note"))
    if not found:
        return Section(NAME, "Recall Density", problems) if problems else None
    about = paragraph(
        "The share of each observation in the last decision of greedy episodes on the partial twin, by the gradient of "
        "the decision (L1), and by occlusion: how much the decision changes when the observation is replaced by that "
        "of another episode. Only occlusion says that an observation made a difference. Time is normalised in each "
        "episode: 0 is its start, 1 the decision. An untrained network with memory spreads its gradient too."
    )
    looks = looks_of(runs)
    needed = _needed(found, looks)
    figures = [_curves(found), _thirds(found), *([needed] if needed else [])]
    return Section(NAME, "Recall Density", [about, *figures, _table(found, looks), *problems], _numbers(found))


def _density(run: ReportedRun, updates: int, arrays: dict[str, np.ndarray]) -> _Density:
    """Return the means over episodes of each seed; episodes in which nothing changes the decision have no density."""
    last, needed = arrays["last"], arrays["needed"]
    bins = min(CURVE, int(last.max()) + 1)
    means: dict[str, dict[str, np.ndarray]] = {}
    for measure in MEASURES:
        seeds = [
            _seed_means({key: array[k] for key, array in arrays.items()}, measure, bins) for k in range(len(run.seeds))
        ]
        means[measure] = {key: np.stack([one[key] for one in seeds]) for key in seeds[0]}
    is_known = needed >= 0
    position = np.mean((needed[is_known] + 0.5) / (last[is_known] + 1.0)) if is_known.any() else np.nan
    return _Density(run, updates, means, float(position))


def _seed_means(found: dict[str, np.ndarray], measure: str, bins: int) -> dict[str, np.ndarray]:
    summed = summary(found, measure) | {"curve": curve(found[measure], found["last"], bins)}
    return {key: _mean(np.asarray(summed[key], float)) for key in ("now", "thirds", "curve", "needed")}


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


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the episodes, along the first axis, in which all values are known; NaN where none is."""
    there = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return values[there].mean(axis=0) if there.any() else np.full(values.shape[1:], np.nan)


def _curves(found: Sequence[_Density]) -> Figure:
    rows = [row for one in found for measure in MEASURES for row in _curve_rows(one, measure)]
    return Figure(
        name="recall-curves",
        caption=f"Share of the last decision along normalised time, in {CURVE} bins or one for each step of shorter "
        f"episodes: mean over seeds, from {FEW_SEEDS} seeds on with Student's {statistics.CONFIDENCE:.0%} interval, "
        "otherwise with a thin line for each. Dotted: the observation that the task needs, where it is known.",
        alt=f"Recall Density over normalised time of {', '.join(one.run.name for one in found)}; see the table below.",
        columns=records(rows),
        draw=_draw_curves,
        size=(WIDTH, 1.95 * -(-len(found) // COLUMNS) + 0.8),
    )


def _curve_rows(one: _Density, measure: str) -> list[dict[str, Any]]:
    shares = one.means[measure]["curve"]
    mean, low, high, seeds = statistics.interval(shares.T)
    rows, bins = [], shares.shape[1]
    for place in range(bins):
        band = {"low": low[place], "high": high[place]} if seeds >= FEW_SEEDS else {"low": None, "high": None}
        about = {"run": one.run.name, "measure": measure, "time": (place + 0.5) / bins, "needed": one.position}
        by_seed = {f"seed_{seed}": shares[k, place] for k, seed in enumerate(one.run.seeds)}
        rows.append(about | {"mean": mean[place]} | band | by_seed)
    return rows


def _draw_curves(figure: Any, columns: Columns) -> None:
    rows = rows_of(columns)
    names = list(dict.fromkeys(columns["run"]))
    for number, (name, axes) in enumerate(zip(names, grid(figure, len(names), COLUMNS, sharey=True), strict=True)):
        axes.set_title(_folded(name), fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        found = [row for row in rows if row["run"] == name]
        if found[0]["needed"] is not None:
            axes.axvline(found[0]["needed"], color=MUTED, linestyle=":", linewidth=1.4, label="needed observation")
        for measure in MEASURES:
            _draw_curve(axes, [row for row in found if row["measure"] == measure], measure)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(labelsize=9)
        if number >= len(names) - COLUMNS:
            axes.set_xlabel("normalised time", fontsize=9.5)
    figure.supylabel("share of the decision per bin", fontsize=10)
    legend(figure, figure.get_figwidth())


def _folded(name: str, width: int = 30) -> str:
    """Return the name of a run in two lines where it is long."""
    head, slash, tail = name.rpartition("/")
    return f"{head}/\n{tail}" if slash and len(name) > width else name


def _draw_curve(axes: Any, rows: list[dict[str, Any]], measure: str) -> None:
    label, colour, style = MEASURES[measure]
    time, mean, low, high = (np.array([row[key] for row in rows], float) for key in ("time", "mean", "low", "high"))
    axes.plot(time, mean, color=colour, linestyle=style, linewidth=1.8, label=label)
    if np.isfinite(low).any():
        axes.fill_between(time, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    for key in [key for key in rows[0] if key.startswith("seed_")]:
        axes.plot(time, np.array([row[key] for row in rows], float), color=colour, linewidth=0.6, alpha=0.5)


def _thirds(found: Sequence[_Density]) -> Figure:
    rows = [
        {"run": one.run.name, "measure": measure} | dict(zip(THIRDS, _over_seeds(one, measure, "thirds"), strict=True))
        for one in found
        for measure in MEASURES
    ]
    return Figure(
        name="recall-thirds",
        caption="Share of the last decision in each third of the episode, mean over seeds. A run without a bar makes "
        "decisions that no observation changes.",
        alt=f"Thirds of the Recall Density of {', '.join(one.run.name for one in found)}; see the table below.",
        columns=records(rows),
        draw=_draw_thirds,
        size=(WIDTH, 0.27 * len(found) + 1.3),
    )


def _draw_thirds(figure: Any, columns: Columns) -> None:
    rows, names = rows_of(columns), list(dict.fromkeys(columns["run"]))[::-1]
    for measure, axes in zip(MEASURES, figure.subplots(1, len(MEASURES), sharey=True), strict=True):
        begin = np.zeros(len(names))
        by_name = {row["run"]: row for row in rows if row["measure"] == measure}
        for third, shade, hatch in zip(THIRDS, SHADES, HATCHES, strict=True):
            width = np.array([by_name[name][third] or 0.0 for name in names])
            axes.barh(
                range(len(names)), width, left=begin, color=shade, hatch=hatch, label=third, edgecolor="white",
                linewidth=0.8,
            )  # fmt: skip
            begin = begin + width
        axes.set_title(MEASURES[measure][0])
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set_xlabel("share of the decision")
        axes.grid(axis="y", visible=False)
    legend(figure, figure.get_figwidth())


def _needed(found: Sequence[_Density], looks: Looks) -> Figure | None:
    """Return mass at the needed observation against mass at the present one; None where no task has a needed time."""
    rows = [
        {
            "run": one.run.name, "label": one.run.label, "game": one.run.game, "level": one.run.level,
            "measure": measure, "now": _over_seeds(one, measure, "now"), "needed": _over_seeds(one, measure, "needed"),
        }
        for one in found
        if np.isfinite(one.position)
        for measure in MEASURES
    ]  # fmt: skip
    if not rows:
        return None
    tasks = len({(row["game"], row["level"]) for row in rows})
    return Figure(
        name="recall-needed",
        caption="Share of the last decision at the observation that the task needs, against its share at the present "
        "observation, mean over seeds. An agent that remembers the right observation is at the top left by occlusion; "
        "one without memory at the bottom right.",
        alt="Share at the needed observation by occlusion: "
        + ", ".join(f"{row['run']} {_text(row['needed'])}" for row in rows if row["measure"] == "occlusion"),
        columns=records(rows),
        draw=functools.partial(_draw_needed, looks=looks),
        size=(WIDTH, 2.6 * -(-tasks * len(MEASURES) // COLUMNS) + 0.7),
    )


def _text(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "unknown"


def _draw_needed(figure: Any, columns: Columns, looks: Looks) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys((row["game"], row["level"], row["measure"]) for row in rows))
    for number, (panel, axes) in enumerate(zip(panels, grid(figure, len(panels), COLUMNS, sharey=True), strict=True)):
        axes.set_title(f"{panel[0]} {panel[1]}\n{MEASURES[panel[2]][0]}", fontsize=9.5)
        axes.set_xlim(-0.05, 1.05)
        axes.set_ylim(-0.05, 1.05)
        for row in rows:
            if (row["game"], row["level"], row["measure"]) == panel and None not in (row["now"], row["needed"]):
                look = looks[row["label"]]
                style = {"color": look.colour, "fillstyle": "none", "markeredgewidth": 2, "markersize": 9}
                axes.plot([row["now"]], [row["needed"]], look.marker, label=row["label"], gid=look.gid, **style)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_ylabel("share at needed time" if number % COLUMNS == 0 else "")
        axes.set_xlabel("share at present" if number >= len(panels) - COLUMNS else "")
    legend(figure, figure.get_figwidth())


def _over_seeds(one: _Density, measure: str, key: str) -> Any:
    """Return the mean over seeds that have a density."""
    return _mean(one.means[measure][key])


def _table(found: Sequence[_Density], looks: Looks) -> Markup:
    entries = [(one, measure) for one in found for measure in MEASURES]
    rows = [
        [one.run.name, MEASURES[measure][0], *known(_shares(one, measure)), one.updates, len(one.run.seeds)]
        for one, measure in entries
    ]
    heads = ("run", "measure", *THIRDS, "at present", "at needed time", "updates", "seeds")
    hidden = [looks[one.run.label].index for one, _ in entries]
    return table("Recall Density: shares of the last decision, mean over seeds", heads, rows, hidden)


def _shares(one: _Density, measure: str) -> list[float]:
    shares = [*_over_seeds(one, measure, "thirds"), *(_over_seeds(one, measure, key) for key in ("now", "needed"))]
    return [float(value) for value in shares]


def _numbers(found: Sequence[_Density]) -> dict[str, Any]:
    """Return each share of each seed."""
    keys = ("thirds", "now", "needed")
    return {
        "runs": {
            one.run.name: {"updates": one.updates}
            | {measure: {key: known(one.means[measure][key]) for key in keys} for measure in MEASURES}
            for one in found
        }
    }
