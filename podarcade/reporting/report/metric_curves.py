"""Small multiples of metrics that were logged while training: a panel for each metric on each task."""

import functools
from collections.abc import Sequence
from typing import Any

from podarcade.reporting.report import Columns, Figure, drawing, records, rows_of
from podarcade.reporting.report.curves import AXES, WIDTH, by_task, curve_rows, draw_run, task_name
from podarcade.reporting.report.looks import Looks, grid, legend, panel_title
from podarcade.reporting.report.reading import ReportedRun

POINTS = 100  # of a curve: panels are small
Panel = tuple[tuple[str, str, str], str]  # game, level and twin; metric


def panels_of(runs: Sequence[ReportedRun], metrics: Sequence[str]) -> list[Panel]:
    """Return the panels that have something to show, by task."""
    return [
        (task, metric)
        for task, members in by_task(runs).items()
        for metric in metrics
        if any(metric in run.metrics for run in members)
    ]


def figure(
    name: str, caption: str, alt: str, runs: Sequence[ReportedRun], panels: Sequence[Panel], looks: Looks, across: int
) -> Figure:
    """Return a figure with the curves of all runs.

    Args:
      name, caption, alt: of the figure.
      runs: the runs.
      panels: what is drawn.
      looks: of the labels.
      across: panels in a row.
    """
    rows = [row for panel in panels for run in runs for row in _rows(run, panel)]
    draw = functools.partial(_draw, looks=looks, across=across)
    return Figure(name, caption, alt, records(rows), draw, (WIDTH, 2.3 * -(-len(panels) // across) + 0.8))


def _rows(run: ReportedRun, panel: Panel) -> list[dict[str, Any]]:
    task, metric = panel
    if (*run.task, run.twin) != task or metric not in run.metrics:
        return []
    return list(curve_rows(run, run.metrics[metric], POINTS, game=task[0], level=task[1], twin=task[2], metric=metric))


def _draw(figure: Any, columns: Columns, looks: Looks, across: int) -> None:
    rows = rows_of(columns)
    panels = list(dict.fromkeys(map(_panel, rows)))
    if is_one := len({panel[:3] for panel in panels}) == 1:
        figure.suptitle(task_name(panels[0][:3]), x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    for place, (panel, axes) in enumerate(zip(panels, grid(figure, len(panels), across), strict=True)):
        found = [row for row in rows if _panel(row) == panel]
        for name in dict.fromkeys(row["run"] for row in found):
            draw_run(axes, [row for row in found if row["run"] == name], looks)
        metric = panel[3].split("/", 1)[1]
        axes.set_title(metric if is_one else f"{panel_title(task_name(panel[:3]), 30)}\n{metric}", fontsize=9.5)
        axes.set_xlabel(AXES["frames"] if place >= len(panels) - across else "", fontsize=9)
        drawing.use_prefixes(axes.xaxis)
        axes.set_xlim(left=0)
        if all(row["mean"] is None or row["mean"] >= 0 for row in found):
            axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=9)
    legend(figure, figure.get_figwidth())


def _panel(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["game"], row["level"], row["twin"], row["metric"]
