"""Figures of Observability Gap and Memory Bias: triple bars, and Bias over Gap with joint regions."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.reporting import statistics
from podarcade.reporting.gap_bias import Report
from podarcade.reporting.gap_entries import Aggregate
from podarcade.reporting.gap_figures import draw_region, frame_scatter, triple_bars
from podarcade.reporting.report import Columns, Figure, records, rows_of
from podarcade.reporting.report.curves import WIDTH
from podarcade.reporting.report.looks import Looks, grid, legend

KEYS = ("partial", "gap", "bias")
ACROSS = 3  # panels of the scatter in a row


def figures(report: Report, looks: Looks) -> list[Figure]:
    """Return the bars and the scatter of all complete entries; none where nothing is complete."""
    rows = [_row(title, one) for title, found in report.panels() for one in found]
    if not rows:
        return []
    columns, panels = records(rows), len({row["panel"] for row in rows})
    summary = "; ".join(
        f"{row['panel']}, {row['variant']}: Gap {row['gap']:.3f}, Bias {row['bias']:.3f}" for row in rows[:12]
    )
    wide = _in_a_row(columns)
    bars = Figure(
        name="gap-bars",
        caption="Return on the partial twin, Gap and Bias of each memory, mean over seeds, with 95 % intervals. "
        "J(f, partial) = J(control, full) + Bias - Gap.",
        alt=f"Bars of return, Gap and Bias. {summary}.",
        columns=columns,
        draw=_draw_bars,
        size=(WIDTH, 2.5 * -(-panels // wide) + 0.6),
    )
    scatter = Figure(
        name="gap-scatter",
        caption="Bias over Gap, with joint 95 % regions. Both share +J(f, full), whose error moves a point along the "
        "dashed slope of 1: a trend in that direction may be noise. On the dashed line a memory earns on the partial "
        "twin what its control earns on the full one; below it less.",
        alt=f"Memory Bias over Observability Gap. {summary}.",
        columns=columns,
        draw=functools.partial(_draw_scatter, looks=looks),
        size=(WIDTH, 3.1 * -(-panels // ACROSS) + 0.7),
    )
    return [bars, scatter]


def _row(title: str, one: Aggregate) -> dict[str, Any]:
    row: dict[str, Any] = {"panel": title, "variant": one.variant}
    for key, found in zip(KEYS, one.mean, strict=True):
        row |= {key: float(found.mean), f"{key}_low": float(found.low), f"{key}_high": float(found.high)}
    axes = {f"region_{i}{j}": float(one.region.axes[i, j]) for i in range(2) for j in range(2)}
    return row | axes


def _in_a_row(columns: Columns) -> int:
    """Return how many panels of bars are side by side: two while the names of the memories fit."""
    names = dict.fromkeys(columns["variant"])
    return 2 if sum(max(len(name), 7) + 2 for name in names) <= 58 else 1


def _draw_bars(figure: Any, columns: Columns) -> None:
    rows, titles = rows_of(columns), list(dict.fromkeys(columns["panel"]))
    wide = _in_a_row(columns)
    for title, axes in zip(titles, grid(figure, len(titles), wide), strict=True):
        found = [row for row in rows if row["panel"] == title]
        axes.set_title(title, fontsize=9.5)
        triple_bars(axes, np.array([[[row[name] for row in found] for name in _names(key)] for key in KEYS], float))
        axes.set_xlim(-0.6, max(len(found), 4) - 0.4)  # so that a few bars are no wider than those of others
        names = [row["variant"] for row in found]
        many = sum(len(name) + 2 for name in names) > 110 / wide
        turned = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if many else {}
        axes.set_xticks(range(len(found)), names, fontsize=9, **turned)
    legend(figure, figure.get_figwidth())


def _names(key: str) -> Sequence[str]:
    return key, f"{key}_low", f"{key}_high"


def _draw_scatter(figure: Any, columns: Columns, looks: Looks) -> None:
    rows, titles = rows_of(columns), list(dict.fromkeys(columns["panel"]))
    for place, (title, axes) in enumerate(zip(titles, grid(figure, len(titles), ACROSS), strict=True)):
        axes.set_title(title.replace(", ", ",\n", 1) if len(title) > 34 else title, fontsize=9.5)
        for row in (row for row in rows if row["panel"] == title):
            _draw_point(axes, row, looks)
        frame_scatter(axes)
        axes.set_xlabel("Observability Gap" if place >= len(titles) - ACROSS else "", fontsize=9.5)
        axes.set_ylabel("" if place % ACROSS else "Memory Bias", fontsize=9.5)
    legend(figure, figure.get_figwidth())


def _draw_point(axes: Any, row: dict[str, Any], looks: Looks) -> None:
    look, center = looks[row["variant"]], np.array([row["gap"], row["bias"]], float)
    style = {"color": look.colour, "fillstyle": "none", "markeredgewidth": 1.8, "markersize": 7.5}
    axes.plot(*center[:, None], look.marker, label=row["variant"], gid=look.gid, **style)
    spans = np.array([[row[f"region_{i}{j}"] for j in range(2)] for i in range(2)], float)
    draw_region(axes, statistics.Region(center, spans), look.colour, gid=look.gid)
