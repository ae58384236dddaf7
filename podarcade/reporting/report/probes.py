"""The section on state probes: which quantities of the game can be read out of the recurrent state."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.probes import PROBES, SOURCES
from podarcade.reporting.figures import COLOURS
from podarcade.reporting.report import Columns, Figure, Section, known, records, rows_of
from podarcade.reporting.report.curves import WIDTH, by_task, task_name
from podarcade.reporting.report.drawing import INK, MUTED
from podarcade.reporting.report.looks import Looks, grid, legend, looks_of, panel_title
from podarcade.reporting.report.markup import Markup, details, paragraph, spread, table
from podarcade.reporting.report.measured import Measured, collect, mean
from podarcade.reporting.report.reading import ReportedRun

NAME = "probes"
NEEDED = "needed."  # before the names of what the task says that an action takes
BARS = {
    "memory": (COLOURS[0], ""), "untrained": (COLOURS[5], "//"), "present": (COLOURS[4], ".."),
    "observation": (COLOURS[7], ""),
}  # fmt: skip
SCORES = {"accuracy": "accuracy", "r2": "R²"}
ACROSS = 3  # panels in a row


@dataclasses.dataclass(frozen=True)
class _Read:
    """What can be read in a run: {quantity: its score, "accuracy" or "r2"}, and the arrays of all seeds."""

    run: ReportedRun
    entry: Measured
    scores: dict[str, str]
    arrays: dict[str, np.ndarray]

    def values(self, quantity: str, source: str, probe: str = "linear", ending: str = "") -> np.ndarray:
        """Return a score, float[S], or its curve with the ending "_at", float[S, T]."""
        middle = source if source == "chance" else f"{source}/{probe}"
        name = f"{quantity}/{middle}/{self.scores[quantity]}{ending}"
        return self.arrays.get(name, np.full((len(self.run.seeds), *[1] * bool(ending)), np.nan))


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return what probes read in all runs that have them; None where no run has."""
    found, problems = collect(runs, NAME, _read)
    if not found:
        return Section(NAME, "State probes", problems) if problems else None
    about = paragraph(
        "Probes are fitted on half of the greedy episodes and scored on the other half. What can be read from memory "
        "was learnt only as far as it is above untrained, the same network with new parameters on the same episodes; "
        "what the present observation or the previous action give away needs no memory. Chance is the most frequent "
        "value of each time. Being readable does not mean being used."
    )
    looks, needed = looks_of(runs), _needed(found)
    figures = [_bars(needed), _over_time(needed, looks)] if needed else []
    figures = [figure for figure in figures if figure]
    parts = [about, *figures, *_tables(found, looks), *problems]
    return Section(NAME, "State probes", parts, _numbers(found))


def _read(run: ReportedRun, entry: Measured) -> _Read:
    arrays = {name: np.asarray(array, float) for name, array in entry.arrays().items()}
    quantities = dict.fromkeys(name.split("/")[0] for name in arrays)
    scores = {name: _score(arrays, name) for name in quantities}
    lacking = [name for name in scores if f"{name}/observation/linear/r2" not in arrays]
    if lacking or not scores or any(array.shape[:1] != (len(run.seeds),) for array in arrays.values()):
        raise ValueError(f"{entry.path} has not the scores of {len(run.seeds)} seeds")
    return _Read(run, entry, scores, arrays)


def _score(arrays: dict[str, np.ndarray], quantity: str) -> str:
    """Return what a quantity is scored by: accuracy where its values are few, R² otherwise."""
    found = arrays.get(f"{quantity}/observation/linear/accuracy")
    return "accuracy" if found is not None and np.isfinite(found).any() else "r2"


Needed = list[tuple[tuple[str, str, str], str, _Read]]


def _needed(found: Sequence[_Read]) -> Needed:
    """Return (task, quantity, run) of all that the tasks need, by task."""
    tasks = by_task([one.run for one in found])
    return [
        (task, quantity, one)
        for task, members in tasks.items()
        for one in found
        if one.run in members
        for quantity in one.scores
        if quantity.startswith(NEEDED)
    ]


def _about(task: tuple[str, str, str], quantity: str, one: _Read) -> dict[str, Any]:
    about = {"run": one.run.name, "label": one.run.label, "game": task[0], "level": task[1], "twin": task[2]}
    return about | {"quantity": quantity, "score": one.scores[quantity]}


def _panel(row: dict[str, Any]) -> tuple[str, ...]:
    return row["game"], row["level"], row["twin"], row["quantity"]


def _title(panel: tuple[str, ...], score: str) -> str:
    return f"{panel_title(task_name(panel[:3]))}\n{panel[3]}: {SCORES[score]}"


def _bars(needed: Needed) -> Figure:
    rows = []
    for task, quantity, one in needed:
        row = _about(task, quantity, one) | {"chance": mean(one.values(quantity, "chance"))}
        for source in BARS:
            row |= {f"{source}_{probe}": mean(one.values(quantity, source, probe)) for probe in PROBES}
        rows.append(row)
    panels = list(dict.fromkeys(map(_panel, rows)))
    most = max(sum(_panel(row) == panel for row in rows) for panel in panels)
    return Figure(
        name="probes-needed",
        caption="How well what the next action takes can be read, mean over seeds: bars are linear probes, diamonds "
        "networks with a hidden layer, the grey line chance. Scores below 0 are drawn as 0. A network without memory "
        "has neither memory nor untrained.",
        alt="Read from memory by linear probes: "
        + ", ".join(f"{row['run']} {row['quantity']} {row['memory_linear']:.2f}" for row in rows),
        columns=records(rows),
        draw=_draw_bars,
        size=(WIDTH, (0.85 + 0.5 * most) * -(-len(panels) // ACROSS) + 0.8),
    )


def _draw_bars(figure: Any, columns: Columns) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys(map(_panel, rows)))
    most = max(sum(_panel(row) == panel for row in rows) for panel in panels)
    for panel, axes in zip(panels, grid(figure, len(panels), ACROSS), strict=True):
        found = [row for row in rows if _panel(row) == panel][::-1]
        axes.set_title(_title(panel, found[0]["score"]), fontsize=9.5)
        for number, (source, (colour, hatch)) in enumerate(BARS.items()):
            linear, network = (
                np.maximum(np.array([row[f"{source}_{probe}"] for row in found], float), 0) for probe in PROBES
            )
            at = np.arange(len(found)) - 0.21 * (number - 1.5)
            axes.barh(at, linear, 0.19, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=source)
            axes.plot(network, at, "D", color=INK, markersize=3, fillstyle="none", label="network probe")
        for place, row in enumerate(found):
            if row["chance"] is not None:
                axes.plot([row["chance"]] * 2, [place - 0.42, place + 0.42], color=MUTED, linewidth=1.6, label="chance")
        axes.set_yticks(range(len(found)), [row["label"] for row in found], fontsize=9)
        axes.set_ylim(len(found) - most - 0.6, len(found) - 0.4)  # bars of one thickness
        axes.set_xlim(0, 1.04)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.grid(axis="y", visible=False)
    legend(figure, figure.get_figwidth())


def _over_time(needed: Needed, looks: Looks) -> Figure | None:
    rows = []
    for task, quantity, one in needed:
        curves = {name: mean(one.values(quantity, name, ending="_at")) for name in ("memory", "untrained", "chance")}
        if not np.isfinite(curves["memory"]).any():
            continue  # a network without memory
        length = max(map(len, curves.values()))
        curves = {name: np.broadcast_to(values, length) for name, values in curves.items()}
        for time in np.flatnonzero(np.isfinite(list(curves.values())).any(axis=0)):
            row = _about(task, quantity, one) | {"time": int(time)}
            rows.append(row | {name: values[time] for name, values in curves.items()})
    if not rows:
        return None
    panels = len(set(map(_panel, rows)))
    return Figure(
        name="probes-time",
        caption="The same by linear probes over the time in the episode: read from memory, dashed from that of the "
        "untrained network, and the chance of each time dotted. Scores below 0 are drawn as 0; late times have few "
        "episodes where these end early.",
        alt="Scores of linear probes over the time in the episode; means over time are in the table below.",
        columns=records(rows),
        draw=functools.partial(_draw_time, looks=looks),
        size=(WIDTH, 2.35 * -(-panels // ACROSS) + 0.75),
    )


def _draw_time(figure: Any, columns: Columns, looks: Looks) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys(map(_panel, rows)))
    for place, (panel, axes) in enumerate(zip(panels, grid(figure, len(panels), ACROSS, sharey=True), strict=True)):
        found = [row for row in rows if _panel(row) == panel]
        axes.set_title(_title(panel, found[0]["score"]), fontsize=9.5)
        for name in dict.fromkeys(row["run"] for row in found):
            _draw_run(axes, [row for row in found if row["run"] == name], looks)
        axes.set_ylim(-0.03, 1.05)
        axes.set_xlabel("time, steps" if place >= len(panels) - ACROSS else "")
    legend(figure, figure.get_figwidth())


def _draw_run(axes: Any, rows: list[dict[str, Any]], looks: Looks) -> None:
    label, look = rows[0]["label"], looks[rows[0]["label"]]
    keys = ("time", "memory", "untrained", "chance")
    time, memory, untrained, chance = (np.array([row[key] for row in rows], float) for key in keys)
    style = {"color": look.colour, "gid": look.gid}
    marks = {"marker": look.marker, "markevery": max(len(time) // 6, 1), "markersize": 4}
    axes.plot(time, chance, color=MUTED, linestyle=":", linewidth=1, label="chance")
    axes.plot(time, np.maximum(memory, 0), linewidth=1.7, label=label, **style, **marks)
    axes.plot(time, np.maximum(untrained, 0), linewidth=1.1, linestyle="--", alpha=0.7, **style)


def _tables(found: Sequence[_Read], looks: Looks) -> list[Markup]:
    """Return a table of what the tasks need, and one of all other quantities, folded up."""
    parts = []
    for is_needed in (True, False):
        chosen = [(one, name) for one in found for name in one.scores if name.startswith(NEEDED) == is_needed]
        if not chosen:
            continue
        rows = [_table_row(one, quantity) for one, quantity in chosen]
        heads = (
            "run",
            "quantity",
            "score",
            "chance",
            *(f"{source}, {probe}" for source in SOURCES for probe in PROBES),
        )
        hidden = [looks[one.run.label].index for one, _ in chosen]
        what = "What the next action takes" if is_needed else "All other quantities of the state"
        shown = table(f"{what}: mean over seeds (lowest to highest)", (*heads, "updates"), rows, hidden)
        parts.append(shown if is_needed else details(f"{len(rows)} scores of other quantities", shown))
    return parts


def _table_row(one: _Read, quantity: str) -> list[Any]:
    scores = [spread(one.values(quantity, source, probe)) for source in SOURCES for probe in PROBES]
    chance = spread(one.values(quantity, "chance"))
    return [one.run.name, quantity, SCORES[one.scores[quantity]], chance, *scores, one.entry.updates]


def _numbers(found: Sequence[_Read]) -> dict[str, Any]:
    """Return every score of each seed that is no curve."""
    return {
        "runs": {
            one.run.name: {"updates": one.entry.updates, "options": one.entry.options}
            | {"scores": {name: known(array) for name, array in one.arrays.items() if array.ndim == 1}}
            for one in found
        }
    }
