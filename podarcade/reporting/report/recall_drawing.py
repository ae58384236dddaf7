"""Figures of Recall Density: along the episode, in thirds, and at the needed against the present observation."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.recall_density import CURVE
from podarcade.reporting import statistics
from podarcade.reporting.figures import COLOURS, FEW_SEEDS
from podarcade.reporting.report import Columns, Figure, records, rows_of
from podarcade.reporting.report.curves import WIDTH
from podarcade.reporting.report.drawing import MUTED
from podarcade.reporting.report.looks import Looks, folded, grid, legend
from podarcade.reporting.report.reading import ReportedRun

MEASURES = {"l1": ("gradient, L1", COLOURS[1], "--"), "occlusion": ("occlusion", COLOURS[0], "-")}
CONTROLS = {"trained": "", "untrained": "untrained/"}  # prefixes of the arrays
THIRDS = ("first third", "middle third", "last third")
SHADES, HATCHES = (COLOURS[4], COLOURS[7], COLOURS[0]), ("", "//", "")
COLUMNS = 4  # panels in a row


@dataclasses.dataclass(frozen=True)
class Density:
    """Densities of a run.

    Attributes:
      run: the run.
      updates: of the agents that were measured.
      means: {(control, measure): {"now": [S], "thirds": [S, 3], "curve": [S, K], "needed": [S], ...}}, over episodes.
      resampled: {(control, measure): {"thirds": ..., "needed": ..., "curve": ...}}, intervals of the bootstrap over
        seeds and their episodes, None where nothing is known; of `MEASURES`.
      position: of the needed observation in normalised time; NaN where it is unknown.
    """

    run: ReportedRun
    updates: int
    means: dict[tuple[str, str], dict[str, np.ndarray]]
    resampled: dict[tuple[str, str], dict[str, statistics.Interval | None]]
    position: float

    def over_seeds(self, control: str, measure: str, key: str) -> Any:
        """Return the mean over seeds that have a density."""
        return mean(self.means[control, measure][key])


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over those of the first axis of which all values are known; NaN where there is none."""
    there = are_known(values)
    return values[there].mean(axis=0) if there.any() else np.full(values.shape[1:], np.nan)


def are_known(values: np.ndarray) -> np.ndarray:
    """Return which of the first axis have numbers only, bool[n]."""
    return np.isfinite(values).all(axis=tuple(range(1, values.ndim)))


def figures(found: Sequence[Density], looks: Looks) -> list[Figure]:
    """Return the figures that have something to show."""
    needed = _needed(found, looks)
    return [_curves(found), _thirds(found), *([needed] if needed else [])]


def _drawn(one: Density) -> list[tuple[str, str]]:
    """Return what is drawn of a run: both measures of the agent, and those of the control."""
    return [(control, measure) for control, measure in one.means if measure in MEASURES]


def _curves(found: Sequence[Density]) -> Figure:
    rows = [row for one in found for pair in _drawn(one) for row in _curve_rows(one, *pair)]
    return Figure(
        name="recall-curves",
        caption=f"Share of the last decision along normalised time, in {CURVE} bins or one for each step of shorter "
        f"episodes: mean over seeds, from {FEW_SEEDS} seeds on with Student's {statistics.CONFIDENCE:.0%} interval, "
        "otherwise with a thin line for each. Pale: untrained networks. Dotted: the observation that the task needs, "
        "where it is known.",
        alt=f"Recall Density over normalised time of {', '.join(one.run.name for one in found)}; see the table below.",
        columns=records(rows),
        draw=_draw_curves,
        size=(WIDTH, 2.1 * -(-len(found) // COLUMNS) + 0.8),
    )


def _curve_rows(one: Density, control: str, measure: str) -> list[dict[str, Any]]:
    shares = one.means[control, measure]["curve"]
    average, low, high, seeds = statistics.interval(shares.T)
    rows, bins = [], shares.shape[1]
    for place in range(bins):
        band = {"low": low[place], "high": high[place]} if seeds >= FEW_SEEDS else {"low": None, "high": None}
        about = {"run": one.run.name, "twin": one.run.twin, "agent": control, "measure": measure}
        about |= {"time": (place + 0.5) / bins, "needed": one.position}
        by_seed = {f"seed_{seed}": shares[k, place] for k, seed in enumerate(one.run.seeds)}
        rows.append(about | {"mean": average[place]} | band | by_seed)
    return rows


def _draw_curves(figure: Any, columns: Columns) -> None:
    rows = rows_of(columns)
    names = list(dict.fromkeys(columns["run"]))
    for number, (name, axes) in enumerate(zip(names, grid(figure, len(names), COLUMNS, sharey=True), strict=True)):
        found = [row for row in rows if row["run"] == name]
        axes.set_title(f"{folded(name)}\non the {found[0]['twin']} twin", fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        if found[0]["needed"] is not None:
            axes.axvline(found[0]["needed"], color=MUTED, linestyle=":", linewidth=1.4, label="needed observation")
        for pair in dict.fromkeys((row["agent"], row["measure"]) for row in found):
            _draw_curve(axes, [row for row in found if (row["agent"], row["measure"]) == pair], *pair)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(labelsize=9)
        if number >= len(names) - COLUMNS:
            axes.set_xlabel("normalised time", fontsize=9.5)
    figure.supylabel("share of the decision per bin", fontsize=10)
    legend(figure, figure.get_figwidth())


def _draw_curve(axes: Any, rows: list[dict[str, Any]], control: str, measure: str) -> None:
    label, colour, style = MEASURES[measure]
    time, average, low, high = (np.array([row[key] for row in rows], float) for key in ("time", "mean", "low", "high"))
    if control == "untrained":
        line = {"color": colour, "linestyle": style, "linewidth": 1.3, "alpha": 0.45}
        axes.plot(time, average, label=f"{label}, untrained", **line)
        return
    axes.plot(time, average, color=colour, linestyle=style, linewidth=1.8, label=label)
    if np.isfinite(low).any():
        axes.fill_between(time, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    for key in [key for key in rows[0] if key.startswith("seed_")]:
        axes.plot(time, np.array([row[key] for row in rows], float), color=colour, linewidth=0.6, alpha=0.5)


def _thirds(found: Sequence[Density]) -> Figure:
    rows = []
    for one in found:
        for control, measure in _drawn(one):
            if control == "trained":
                shares = dict(zip(THIRDS, one.over_seeds(control, measure, "thirds"), strict=True))
                rows.append({"run": one.run.name, "measure": measure} | shares)
    return Figure(
        name="recall-thirds",
        caption="Share of the last decision in each third of the episode, mean over seeds. A run without a bar makes "
        "decisions that no observation changes.",
        alt=f"Thirds of the Recall Density of {', '.join(one.run.name for one in found)}; see the table below.",
        columns=records(rows),
        draw=_draw_thirds,
        size=(WIDTH, 0.32 * len(found) + 1.3),
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
        axes.set_yticks(range(len(names)), [folded(name) for name in names], fontsize=8)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set_xlabel("share of the decision")
        axes.grid(axis="y", visible=False)
    legend(figure, figure.get_figwidth())


def _needed(found: Sequence[Density], looks: Looks) -> Figure | None:
    """Return mass at the needed observation against mass at the present one; None where no task has a needed time."""
    rows = [
        {
            "run": one.run.name, "label": one.run.label, "game": one.run.game, "level": one.run.level,
            "twin": one.run.twin, "agent": control, "measure": measure,
            "now": one.over_seeds(control, measure, "now"), "needed": one.over_seeds(control, measure, "needed"),
        }
        for one in found
        if np.isfinite(one.position)
        for control, measure in _drawn(one)
    ]  # fmt: skip
    if not rows:
        return None
    panels = len({_panel(row) for row in rows})
    return Figure(
        name="recall-needed",
        caption="Share of the last decision at the observation that the task needs, against its share at the present "
        "observation, mean over seeds. An agent that remembers the right observation is at the top left by occlusion; "
        "one without memory at the bottom right. Small and filled: untrained networks.",
        alt="Share at the needed observation by occlusion: "
        + ", ".join(
            f"{row['run']} {_text(row['needed'])}"
            for row in rows
            if (row["agent"], row["measure"]) == ("trained", "occlusion")
        ),
        columns=records(rows),
        draw=functools.partial(_draw_needed, looks=looks),
        size=(WIDTH, 2.75 * -(-panels // COLUMNS) + 0.7),
    )


def _text(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "unknown"


def _panel(row: dict[str, Any]) -> tuple[str, ...]:
    return row["game"], row["level"], row["twin"], row["measure"]


def _draw_needed(figure: Any, columns: Columns, looks: Looks) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys(_panel(row) for row in rows))
    for number, (panel, axes) in enumerate(zip(panels, grid(figure, len(panels), COLUMNS, sharey=True), strict=True)):
        axes.set_title(f"{panel[0]} {panel[1]},\n{panel[2]} twin\n{MEASURES[panel[3]][0]}", fontsize=9.5)
        axes.set_xlim(-0.05, 1.05)
        axes.set_ylim(-0.05, 1.05)
        for row in rows:
            if _panel(row) == panel and None not in (row["now"], row["needed"]):
                look = looks[row["label"]]
                style = {"color": look.colour, "gid": look.gid}
                if row["agent"] == "trained":
                    style |= {"fillstyle": "none", "markeredgewidth": 2, "markersize": 9, "label": row["label"]}
                else:
                    style |= {"markersize": 5, "alpha": 0.6, "markeredgewidth": 0}
                axes.plot([row["now"]], [row["needed"]], look.marker, **style)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_ylabel("share at needed time" if number % COLUMNS == 0 else "")
        axes.set_xlabel("share at present" if number >= len(panels) - COLUMNS else "")
    legend(figure, figure.get_figwidth())
