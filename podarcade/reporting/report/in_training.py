"""The section on diagnostics that runs logged while they trained: `config.diagnostics`."""

from collections.abc import Sequence

import numpy as np

from podarcade.reporting.report import Section, known, metric_curves
from podarcade.reporting.report.curves import thinned
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import paragraph
from podarcade.reporting.report.reading import ReportedRun

PREFIX = "diagnostics/"
MOST = 12  # panels
# Endings of what is drawn first: a number or two of each diagnostic.
FIRST = (
    *("recall_density/occlusion/needed", "recall_density/occlusion/now", "recall_density/occlusion/horizon"),
    *("swap/half_life", "closed_loop/swap/drop", "partial/preference", "partial/remembering"),
    *("memory/linear/accuracy", "untrained/linear/accuracy", "full/now", "partial/now"),
)


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return the curves of diagnostics during training; None where no run logged any."""
    found = [run for run in runs if any(name.startswith(PREFIX) for name in run.metrics)]
    if not found:
        return None
    names = ranked([name for run in found for name in run.metrics if name.startswith(PREFIX)])
    panels = metric_curves.panels_of(found, names)
    chosen = sorted(panels, key=lambda panel: (not _varies(found, panel), names.index(panel[1])))[:MOST]
    chosen = [panel for panel in panels if panel in chosen]  # by task again
    rest = len(panels) - len(chosen)
    figure = metric_curves.figure(
        "in-training",
        "Summaries of diagnostics at the evaluations of training, mean over seeds."
        + (f" {rest} more curves are in the JSON file." if rest else ""),
        f"Curves over frames of {', '.join(dict.fromkeys(metric for _, metric in chosen))}.",
        found,
        chosen,
        looks_of(runs),
        across=3,
    )
    about = paragraph(
        "Measured on the parameters of that time. Docs and the section of a diagnostic say what its numbers mean."
    )
    numbers = {run.name: {name: _curve(run, name) for name in names if name in run.metrics} for run in found}
    return Section("in_training", "Diagnostics during training", [about, figure], {"curves": numbers})


def _varies(runs: Sequence[ReportedRun], panel: metric_curves.Panel) -> bool:
    """Return whether a metric changes in any run on a task: one that does not says little as a curve."""
    task, metric = panel
    own = [run.metrics[metric].values for run in runs if (*run.task, run.twin) == task and metric in run.metrics]
    return any(len(np.unique(column[np.isfinite(column)])) > 1 for values in own for column in values.T)


def ranked(names: Sequence[str]) -> list[str]:
    """Return distinct names of metrics, those that say most first."""
    last = len(FIRST)

    def rank(name: str) -> tuple[int, str]:
        return next((place for place, ending in enumerate(FIRST) if name.endswith(ending)), last), name

    return sorted(set(names), key=rank)


def _curve(run: ReportedRun, name: str) -> dict[str, list]:
    curve = thinned(run.metrics[name], metric_curves.POINTS)
    return {"frames": known(np.round(curve.frames)), "values": known(curve.values)}
