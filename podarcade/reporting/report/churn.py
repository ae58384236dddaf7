"""The section on policy churn: how many greedy decisions training changes, where runs logged it."""

from collections.abc import Sequence

import numpy as np

from podarcade.reporting.figures import FEW_SEEDS
from podarcade.reporting.report import Section, known, metric_curves
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import Cell, element, number, paragraph, table
from podarcade.reporting.report.measured import mean
from podarcade.reporting.report.reading import Curve, ReportedRun

DRAWN = ("train/churn", "train/churn_step")


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return the churn of all runs that logged it; None where none did."""
    found = [run for run in runs if any(name in run.metrics for name in DRAWN)]
    if not found:
        return None
    about = paragraph(
        "The share of greedy actions that one update (churn) and one gradient step (churn_step) change, on the same "
        "states; of continuous actions the mean shift of their mean in standard deviations. Churn follows how far a "
        "policy still has to change: compare runs at equal progress."
    )
    looks = looks_of(runs)
    ends = ", ".join(f"{run.name} {_all(run.metrics[DRAWN[0]]):.3f}" for run in found if DRAWN[0] in run.metrics)
    figure = metric_curves.figure(
        "churn",
        f"Policy churn during training, mean over seeds; from {FEW_SEEDS} seeds on with Student's 95 % interval, "
        "otherwise with a thin line for each.",
        f"Policy churn over frames. Mean over training: {ends}.",
        found,
        metric_curves.panels_of(found, DRAWN),
        looks,
        across=2,
    )
    names = sorted({name for run in found for name in run.metrics if name.startswith(DRAWN[0])})
    rows = [[run.name, *(_cell(run.metrics.get(name)) for name in names)] for run in found]
    heads = ("run", *(name.removeprefix("train/") for name in names))
    hidden = [looks[run.label].index for run in found]
    shown = table("Policy churn: mean over training and seeds, and at the last record", heads, rows, hidden)
    numbers = {
        run.name: {name: known(mean(run.metrics[name].values)) for name in names if name in run.metrics}
        for run in found
    }
    return Section("churn", "Policy churn", [about, figure, shown], {"means_over_training": numbers})


def _all(curve: Curve) -> float:
    return float(mean(curve.values, axis=None))


def _cell(curve: Curve | None) -> Cell | None:
    if curve is None:
        return None
    last = float(mean(curve.values[-1]))
    ends = f" last {number(last)}" if np.isfinite(last) else ""
    return Cell(element("span", number(_all(curve)), element("span", ends, class_="interval")), _all(curve), "wide")
