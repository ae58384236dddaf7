"""The section on speed."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from podarcade.reporting.report import Columns, Figure, Section, drawing, records, rows_of
from podarcade.reporting.report.curves import WIDTH
from podarcade.reporting.report.looks import Looks, looks_of
from podarcade.reporting.report.markup import paragraph
from podarcade.reporting.report.reading import ReportedRun


def section(runs: Sequence[ReportedRun]) -> Section:
    """Return frames per second of training, by label."""
    rows = [
        {
            "run": run.name, "label": run.label, "frames_per_second": run.frames_per_second, "seconds": run.seconds,
            "evaluation_seconds": run.evaluation_seconds, "device": _device(run),
        }
        for run in runs
        if np.isfinite(run.frames_per_second)
    ]  # fmt: skip
    if not rows:
        return Section("throughput", "Throughput", [paragraph("No run has trained yet.")])
    labels = list(dict.fromkeys(row["label"] for row in rows))
    medians = {label: _median(row["frames_per_second"] for row in rows if row["label"] == label) for label in labels}
    devices = sorted({row["device"] for row in rows})
    figure = Figure(
        name="throughput",
        caption="Environment frames per second of training, over all seeds of a run, evaluations left out; a point is "
        f"a run, a line the median of a label. Devices: {', '.join(devices)}. Runs may have shared their machine.",
        alt=f"Median frames per second: {', '.join(f'{label} {value:,.0f}' for label, value in medians.items())}.",
        columns=records(rows),
        draw=functools.partial(_draw, looks=looks_of(runs)),
        size=(WIDTH, 1.2 + 0.32 * len(labels)),
    )
    return Section("throughput", "Throughput", [figure])


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _device(run: ReportedRun) -> str:
    """Return the devices of the last start, as "4 x NVIDIA H200"; "unknown device" without a record."""
    devices = run.starts[-1].get("devices") if run.starts else None
    if not isinstance(devices, list) or not devices:
        return "unknown device"
    kinds = {str(kind): devices.count(kind) for kind in devices if isinstance(kind, str)}
    named = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    is_cpu = set(kinds) == {"cpu"}
    return f"{named} ({run.starts[-1].get('processor', 'unknown processor')})" if is_cpu else named or "unknown device"


def _draw(figure: Any, columns: Columns, looks: Looks) -> None:
    rows, axes = rows_of(columns), figure.subplots()
    names = [name for name in looks if name in columns["label"]][::-1]
    for place, name in enumerate(names):
        values, look = [row["frames_per_second"] for row in rows if row["label"] == name], looks[name]
        style = {"color": look.colour, "gid": look.gid}
        axes.plot(values, [place] * len(values), "o", markersize=6, alpha=0.7, **style)
        axes.plot([_median(values)] * 2, [place - 0.32, place + 0.32], linewidth=2.5, **style)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("frames per second, all seeds of a run")
    drawing.use_prefixes(axes.xaxis)
