"""The section on paired twins: how decisions differ between what the two twins show of the same states."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.diagnostics.twins import PATHS
from podarcade.reporting.figures import COLOURS
from podarcade.reporting.report import Columns, Figure, Section, known, records, rows_of
from podarcade.reporting.report.curves import WIDTH, by_task
from podarcade.reporting.report.drawing import INK
from podarcade.reporting.report.looks import Looks, grid, legend, looks_of
from podarcade.reporting.report.markup import Markup, paragraph, spread, table
from podarcade.reporting.report.measured import Measured, collect, mean
from podarcade.reporting.report.reading import ReportedRun

NAME = "twins"
BARS = {"seeing": (COLOURS[5], ""), "remembering": (COLOURS[4], "//"), "preference": (COLOURS[3], "..")}
MEASURES = (*BARS, "flips", "clear_flips", "variation", "kl", "value", "value_size")
DRAWN = "partial"  # the twin that the episodes of the figure are played on
ACROSS = 3  # panels in a row


@dataclasses.dataclass(frozen=True)
class _Differences:
    """Measures of a run: {path: {measure: float[S]}}."""

    run: ReportedRun
    entry: Measured
    values: dict[str, dict[str, np.ndarray]]


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return the differences between the twins in all runs that have them; None where no run has."""
    found, problems = collect(runs, NAME, _differences)
    if not found:
        return Section(NAME, "Paired twins", problems) if problems else None
    about = paragraph(
        "The states of greedy episodes are drawn as both twins, and the agent sees each of the two sequences with its "
        "own memory. Preference is the mean difference of the mean-centred preferences in units of their size: 0 where "
        "they are equal, 2 where they are opposite. Seeing changes only the present observation, remembering only what "
        "was seen before. An agent that was trained on one twin has to generalise to the other."
    )
    looks = looks_of(runs)
    parts = [about, _figure(found), _table(found, looks), *problems]
    numbers = {
        one.run.name: {"updates": one.entry.updates, "options": one.entry.options}
        | {path: {name: known(values) for name, values in measures.items()} for path, measures in one.values.items()}
        for one in found
    }
    return Section(NAME, "Paired twins", parts, {"runs": numbers})


def _differences(run: ReportedRun, entry: Measured) -> _Differences:
    values = {path: {name: entry.numbers(path, name) for name in MEASURES} for path in PATHS}
    if not np.isfinite(mean(values[DRAWN]["preference"])):
        raise ValueError(f"diagnostics.json has no preference of {NAME} on the {DRAWN} twin")
    return _Differences(run, entry, values)


def _figure(found: Sequence[_Differences]) -> Figure:
    tasks = by_task([one.run for one in found])
    ordered = [one for task in tasks for one in found if one.run in tasks[task]]
    most = max(map(len, tasks.values()))
    return Figure(
        name="twins",
        caption="Differences between the twins on episodes that were played on the partial twin, in units of the size "
        "of the preferences: mean over seeds, and from the lowest to the highest seed.",
        alt="Preference gap between the twins: "
        + ", ".join(f"{one.run.name} {mean(one.values[DRAWN]['preference']):.2f}" for one in found),
        columns=records([_row(one) for one in ordered]),
        draw=_draw,
        size=(WIDTH, (0.7 + 0.42 * most) * -(-len(tasks) // ACROSS) + 0.8),
    )


def _row(one: _Differences) -> dict[str, Any]:
    run, row = one.run, {}
    for name in BARS:
        values = one.values[DRAWN][name]
        there = values[np.isfinite(values)]
        row |= {name: mean(values), f"{name}_low": min(there, default=None), f"{name}_high": max(there, default=None)}
    return {"run": run.name, "label": run.label, "game": run.game, "level": run.level, "twin": run.twin} | row


def _task(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["game"], row["level"], row["twin"]


def _draw(figure: Any, columns: Columns) -> None:
    rows = rows_of(columns)
    tasks = list(dict.fromkeys(_task(row) for row in rows))
    most = max(sum(_task(row) == task for row in rows) for task in tasks)
    right = 1.05 * max([row[f"{name}_high"] or 0.0 for row in rows for name in BARS] + [0.1])
    for place, (task, axes) in enumerate(zip(tasks, grid(figure, len(tasks), ACROSS, sharex=True), strict=True)):
        found = [row for row in rows if _task(row) == task][::-1]
        axes.set_title(f"{task[0]} {task[1]},\ntrained on the {task[2]} twin", fontsize=9.5)
        for number, (name, (colour, hatch)) in enumerate(BARS.items()):
            mean_, low, high = (
                np.array([row[key] for row in found], float) for key in (name, f"{name}_low", f"{name}_high")
            )
            at = np.arange(len(found)) - 0.27 * (number - 1)
            axes.barh(at, mean_, 0.25, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name)
            axes.errorbar(
                mean_, at, xerr=np.maximum([mean_ - low, high - mean_], 0), fmt="none", ecolor=INK, elinewidth=1
            )
        axes.set_yticks(range(len(found)), [row["label"] for row in found], fontsize=9)
        axes.set_ylim(len(found) - most - 0.6, len(found) - 0.4)  # bars of one thickness
        axes.set_xlim(0, right)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("difference" if place >= len(tasks) - ACROSS else "")
    legend(figure, figure.get_figwidth())


def _table(found: Sequence[_Differences], looks: Looks) -> Markup:
    entries = [(one, path) for one in found for path in PATHS]
    rows = [
        [one.run.name, one.run.twin, path, *(spread(one.values[path][name]) for name in MEASURES), one.entry.updates]
        for one, path in entries
    ]
    words = {"kl": "KL, nats", "value": "value, full - partial", "value_size": "size of that"}
    heads = (
        "run",
        "trained on",
        "played on",
        *(words.get(name, name.replace("_", " ")) for name in MEASURES),
        "updates",
    )
    hidden = [looks[one.run.label].index for one, _ in entries]
    return table("Paired twins: mean over seeds (lowest to highest)", heads, rows, hidden)
