"""Figures of Observability Gap and Memory Bias, and of returns over the size of the memory."""

import itertools
import math
import os
from collections.abc import Sequence

import numpy as np

from podarcade.reporting import results, statistics
from podarcade.reporting.figures import COLOURS, saved, size_axis
from podarcade.reporting.gap_bias import Report
from podarcade.reporting.gap_entries import Aggregate

BARS = (("J(f, partial)", "#0072b2", ""), ("Gap", "#e69f00", "//"), ("Bias", "#009e73", ".."))
MARKERS = "osD^vP*X"
INK, GREY = "#202124", "#5f6368"
SHARED_ERROR = (
    "region: joint 95 %; Gap and Bias share +J(f, full), whose error moves a point along the dashed slope of 1:\n"
    "a trend in that direction may be noise. On the dashed line a memory earns on the partial twin what its control "
    "earns on the full one"
)


def gap_bias(report: Report, path: str | os.PathLike) -> None:
    """Draw Gap and Bias: over tasks, then each task; left as bars, right as a scatter with joint regions.

    Args:
      report: of a comparison, with a complete entry at least.
      path: PNG or SVG to write.

    Raises:
      ValueError: no entry is complete.
    """
    panels = report.panels()
    if not panels:
        raise ValueError("no Gap and Bias to draw: no memory has runs on both twins and a control on the full twin")
    looks = _looks([one.variant for _, found in panels for one in found])
    beside = max(1, int(120 // (6 + max(map(len, looks)))))
    with saved(path, 9.0, 2.9 * len(panels) + 1.0 + 0.2 * -(-len(looks) // beside)) as figure:
        grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(1.35, 1))
        for (title, found), (left, right) in zip(panels, grid, strict=True):
            bars(left, found)
            scatter(right, found, looks)
            left.set_title(title, fontsize=9, loc="left")
        handles = {label: handle for axes in grid[:, 1] for handle, label in zip(*_legend(axes), strict=True)}
        grid[0, 0].legend(fontsize=8, ncols=3, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.1))
        figure.legend(
            handles.values(), handles, loc="outside lower center", ncols=beside, frameon=False, fontsize=8
        )  # fmt: skip
        figure.suptitle(f"bars: 95 % interval over seeds; {SHARED_ERROR}", fontsize=8, color=GREY)


def _legend(axes) -> tuple[list, list]:
    return axes.get_legend_handles_labels()


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each name."""
    return {
        name: (COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)])
        for index, name in enumerate(dict.fromkeys(names))
    }


def triple_bars(axes, values: np.ndarray) -> None:
    """Draw the bars of `BARS` of n memories side by side with their intervals, where these are known.

    Args:
      axes: to draw on.
      values: float[3, 3, n], of each of `BARS` the mean and the ends of its interval.
    """
    for number, ((label, colour, hatch), (mean, low, high)) in enumerate(zip(BARS, values, strict=True)):
        place = np.arange(len(mean)) + 0.27 * (number - 1)
        axes.bar(place, mean, 0.25, color=colour, label=label, hatch=hatch, edgecolor="white", linewidth=0)
        ends = np.stack([mean - low, high - mean])
        if np.isfinite(ends).any():
            axes.errorbar(place, mean, np.maximum(ends, 0), fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(visible=False, axis="x")


def frame_scatter(axes) -> None:
    """Draw the axes of Bias over Gap, and the dashed line Bias = Gap."""
    axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_aspect("equal", adjustable="datalim")  # the slope of 1 has to look like one


def draw_region(axes, region: statistics.Region, colour: str, gid: str) -> None:
    """Fill a joint region and draw its edge, unless it is unknown; `gid` is the name of both in an SVG."""
    if np.isfinite(region.axes).all():
        outline = region.outline()
        axes.fill(*outline.T, facecolor=colour, alpha=0.12, linewidth=0, gid=gid)
        axes.plot(*outline.T, color=colour, linewidth=1, gid=gid)


def bars(axes, found: Sequence[Aggregate]) -> None:
    """Draw return on the partial twin, Gap and Bias of each memory as three bars with their intervals."""
    places = np.arange(len(found))
    triple_bars(axes, np.array([[one.mean[k][:3] for one in found] for k in range(len(BARS))], float).swapaxes(1, 2))
    axes.set_axisbelow(True)
    many = sum(len(one.variant) + 2 for one in found) > 48
    axes.set_xticks(places, [one.variant for one in found], fontsize=8, rotation=25 if many else 0)
    axes.tick_params(axis="y", labelsize=8)


def scatter(axes, found: Sequence[Aggregate], looks: dict[str, tuple[str, str]]) -> None:
    """Draw Bias over Gap with joint confidence regions; the dashed line is Bias = Gap."""
    for one in found:
        colour, marker = looks[one.variant]
        x, y = one.region.center
        axes.plot([x], [y], marker, color=colour, markersize=6, label=one.variant, gid=one.variant)
        draw_region(axes, one.region, colour, gid=f"{one.variant}/region")
    frame_scatter(axes)
    axes.set_xlabel("Observability Gap", fontsize=8)
    axes.set_ylabel("Memory Bias", fontsize=8)
    axes.tick_params(labelsize=8)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of points (cost, return) that no other beats in one and equals in the other, by cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    kept, best = [], -math.inf
    for index in order:
        if points[index][1] > best:
            kept.append(index)
            best = points[index][1]
    return kept


def varies_in_size(rows: list[dict]) -> bool:
    """Return whether rows differ in depth or width of the network."""
    return len({(row["config"]["network"].get("layers"), row["config"]["network"]["width"]) for row in rows}) > 1


def pareto(rows: list[dict], path: str | os.PathLike) -> None:
    """Draw returns over parameters of the memory, with the Pareto front: a panel per task.

    A point is a variant, labelled depth x width, at the parameters of all its memory layers; the front holds those
    that no smaller one equals.

    Args:
      rows: as `results` makes them, which differ in network.layers or network.width.
      path: PNG or SVG to write.
    """
    tasks = list(dict.fromkeys(map(results.task_name, rows)))
    looks = _looks([row["config"]["memory"]["name"] for row in rows])
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    with saved(path, max(3.4 * columns, 5.2), 3.0 * lines + 0.8) as figure:
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, task in itertools.zip_longest(grid, tasks):
            if task is None:
                axes.set_visible(False)
                continue
            _draw_front(axes, [row for row in rows if results.task_name(row) == task], looks)
            axes.set_title(task, fontsize=9)
        handles = {label: handle for axes in grid for handle, label in zip(*_legend(axes), strict=True)}
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        note = "label: layers x width; bar: 95 % Student t; line: Pareto front of the means"
        figure.suptitle(note, fontsize=8, color=GREY)


def _draw_front(axes, rows: list[dict], looks: dict[str, tuple[str, str]]) -> None:
    points, names = [], list(looks)
    for row in rows:
        network, memory = row["config"]["network"], row["config"]["memory"]["name"]
        layers = network.get("layers", 1)
        colour, marker = looks[memory]
        mean, low, high, seeds = statistics.interval(row.get("fresh", row["end"]))
        points.append((layers * row["memory_parameters"], float(mean)))
        error = [[mean - low], [high - mean]] if seeds > 1 else None
        axes.errorbar(*points[-1], error, fmt=marker, color=colour, markersize=5, elinewidth=1, capsize=2, label=memory)
        place = (5, 4) if names.index(memory) % 2 else (-5, -9)
        axes.annotate(
            f"{layers}x{network['width']}", points[-1], place, textcoords="offset points", fontsize=7, color=colour,
            ha="left" if names.index(memory) % 2 else "right",
        )  # fmt: skip
    kept = np.asarray([points[index] for index in front(points)])
    axes.plot(*kept.T, color=GREY, linewidth=1, drawstyle="steps-post", gid="front")
    size_axis(axes, [size for size, _ in points])
    axes.margins(x=0.16)
    axes.set_xlabel("parameters of the memory layers", fontsize=8)
    axes.set_ylabel("greedy return", fontsize=8)
    axes.tick_params(labelsize=8)
