"""Figures of runs, by matplotlib: the learning curve of one run, and the curves and returns of a comparison.

Colours are Okabe and Ito's, which colour-blind readers tell apart. matplotlib is imported when something is drawn: it
takes half a second that a run should not wait for.
"""

import contextlib
import itertools
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from podarcade.reporting import results, statistics

CURVE = "learning_curve.svg"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8f98")
STYLES = ("-", "--", "-.", ":")
REFERENCES = {"random policy": ":", "best known memoryless": "-.", "best known with memory": "--"}
FEW_SEEDS = 5  # below that each seed is drawn; a band from so few would not cover what it says
FEW_VARIANTS = 4
MAX_POINTS = 300


class _Series(NamedTuple):
    """A line of the learning curve: the metric, its name in the legend, colour and line width."""

    key: str
    name: str
    colour: str
    width: float


_SERIES = (
    _Series("train/return", "training episodes, exploring", "#8a8f98", 1.2),
    _Series("eval/sampled_return_partial", "sampled, partially observable", "#e69f00", 1.2),
    _Series("eval/sampled_return_full", "sampled, fully observable", "#56b4e9", 1.2),
    _Series("eval/return_partial", "greedy, partially observable", "#d55e00", 2.0),
    _Series("eval/return_full", "greedy, fully observable", "#0072b2", 2.0),
)


@contextlib.contextmanager
def saved(path: str | os.PathLike, width: float, height: float) -> Iterator:
    """Yield an empty matplotlib figure and save it; SVG keeps text as text and repeats to the last byte."""
    import matplotlib
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": "podarcade", "text.parse_math": False, "font.size": 9}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e8eb"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        is_svg = pathlib.Path(path).suffix == ".svg"
        figure.savefig(path, dpi=120, metadata={"Date": None} if is_svg else None)


def _points(records: Sequence[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return frames [n] and values [n, S] of a metric; more than `MAX_POINTS` are averaged in groups."""
    frames, values = [], []
    for record in records:
        value = np.atleast_1d(np.array(record.get(key), float))
        count = np.mean(np.array(record.get("frames"), float))
        if np.isfinite(value).any() and np.isfinite(count):
            frames.append(count)
            values.append(np.where(np.isfinite(value), value, np.nan))
    if not frames:
        return np.zeros(0), np.zeros((0, 1))
    seeds = max(map(len, values))
    table = np.stack([np.pad(value, (0, seeds - len(value)), constant_values=np.nan) for value in values])
    groups = np.array_split(np.arange(len(frames)), min(MAX_POINTS, len(frames)))
    means = [np.ma.masked_invalid(table[group]).mean(0).filled(np.nan) for group in groups]
    return np.array([np.mean(np.array(frames)[group]) for group in groups]), np.stack(means)


def learning_curve(
    records: Sequence[dict], path: str | os.PathLike, title: str, baselines: dict[str, float] | None = None
) -> None:
    """Draw the returns of a run over its frames.

    Several seeds are drawn as their mean within the range from the lowest to the highest seed; one seed is a line.

    Args:
      records: lines of metrics.jsonl; null or missing values are not drawn.
      path: SVG or PNG to write.
      title: heading.
      baselines: names and returns of dashed horizontal lines, such as the random policy's.

    Raises:
      OSError: the file cannot be written.
    """
    drawn = [(series, *_points(records, series.key)) for series in _SERIES]
    drawn = [(series, frames, values) for series, frames, values in drawn if len(frames)]
    seeds = max((values.shape[1] for _, _, values in drawn), default=1)
    note = f"mean of {seeds} seeds; band: lowest to highest seed" if seeds > 1 else "one seed"
    with saved(path, 7.2, 4.4) as figure:
        figure.suptitle(_printable(title), fontweight="bold", x=0.01, ha="left")
        axes = figure.subplots()
        axes.set_title(note if drawn else "no returns yet", fontsize=8, loc="left", color="#5f6368")
        for series, frames, values in drawn:
            _draw_series(axes, series, frames, values)
        for style, (name, value) in zip(itertools.cycle(("--", ":", "-.")), (baselines or {}).items()):
            if value is not None and math.isfinite(value):
                label = f"{_printable(name)}: {value:.4g}"
                axes.axhline(value, color="#202124", linewidth=1, linestyle=style, label=label, gid=f"baseline/{name}")
        _label(axes, "undiscounted return")
        if axes.lines:
            figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)


def _draw_series(axes, series: _Series, frames: np.ndarray, values: np.ndarray) -> None:
    mean = np.nanmean(values, 1)
    axes.plot(
        frames, mean, color=series.colour, linewidth=series.width, gid=series.key,
        marker="o" if len(frames) <= 30 else None, markersize=2 * series.width,
        label=f"{series.name}: {mean[-1]:.4g}",
    )  # fmt: skip
    if values.shape[1] > 1:
        low, high = np.nanmin(values, 1), np.nanmax(values, 1)
        axes.fill_between(
            frames, low, high, color=series.colour, alpha=0.16, linewidth=0, gid=f"{series.key}/range"
        )  # fmt: skip


def _label(axes, what: str, size: float = 9) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel("frames (environment steps)", fontsize=size)
    axes.set_ylabel(what, fontsize=size)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)


def size_axis(axes, sizes: Sequence[float]) -> None:
    """Label the horizontal axis with sizes such as 20k, logarithmic unless one of them is 0."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    if min(sizes) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())  # the rest is not XML


def _looks(rows: list[dict]) -> dict[str, tuple[str, str]]:
    """Return colour and line style of each variant."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    return {name: (COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]) for i, name in enumerate(names)}


def _panels(figure, rows: list[dict], columns: int, **options) -> list[tuple]:
    """Return (axes, rows of one task) for each task, titled; the grid's empty places are hidden."""
    tasks = list(dict.fromkeys(tuple(row["task"].values()) for row in rows))
    grid = figure.subplots(-(-len(tasks) // columns), columns, squeeze=False, **options).ravel()
    for axes in grid[len(tasks) :]:
        axes.set_visible(False)
    found = []
    for axes, task in zip(grid, tasks, strict=False):
        axes.set_title(f"{task[0]} {task[1]}, {task[2]} twin", fontsize=9)
        found.append((axes, [row for row in rows if tuple(row["task"].values()) == task]))
    return found


def _grid(rows: list[dict], max_columns: int) -> tuple[int, int]:
    """Return the rows and columns of a grid with a panel for each task."""
    tasks = len({tuple(row["task"].values()) for row in rows})
    lines = -(-tasks // max_columns)
    return lines, -(-tasks // lines)


def comparison_curves(rows: list[dict], path: str | os.PathLike) -> None:
    """Draw greedy returns over frames: a panel per task, a line per variant, returns of known policies in grey.

    The line is the mean over seeds. From `FEW_SEEDS` seeds on, the band is Student's interval (`statistics.interval`);
    fewer seeds are drawn as thin lines, unless many variants would clutter the panel.

    Args:
      rows: results of runs, as `results.row` makes them.
      path: PNG or SVG to write.
    """
    looks = _looks(rows)
    lines, columns = _grid(rows, 4)
    width = max(3.4 * columns, 6.8)
    beside = int(width // (0.6 + 0.075 * max(map(len, [*looks, *REFERENCES]))))  # legend entries in a line
    thin = len(looks) <= FEW_VARIANTS
    with saved(path, width, 2.7 * lines + 0.35 + 0.2 * -(-(len(looks) + len(REFERENCES)) // beside)) as figure:
        handles = {}
        for number, (axes, found) in enumerate(_panels(figure, rows, columns)):
            for row in found:
                frames, returns = np.asarray(row["curve"]["frames"]), np.asarray(row["curve"][row["task"]["twin"]])
                _draw_variant(axes, frames, returns, row["variant"], *looks[row["variant"]], thin)
            for label, (value, style) in _references(found[0]).items():
                axes.axhline(value, color="#5f6368", linestyle=style, linewidth=1, label=label)
            _label(axes, "" if number % columns else "greedy return", 8)
            axes.tick_params(labelsize=8)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        order = [*looks, *(name for name in REFERENCES if name in handles)]
        drawn = [handles[name] for name in order]
        figure.legend(drawn, order, loc="outside lower center", ncols=beside, frameon=False, fontsize=8)
        figure.suptitle(_seeds_drawn(rows, thin), fontsize=8, color="#5f6368")


def _references(row: dict) -> dict[str, tuple[float, str]]:
    """Return value and line style of the policies that a task's returns are compared with."""
    known = results.bounds_of(row)
    values = row["random"], *((known.memoryless, known.memory) if known else ())
    return {name: (value, style) for (name, style), value in zip(REFERENCES.items(), values, strict=False)}


def _draw_variant(axes, frames, returns, name: str, colour: str, style: str, thin: bool) -> None:
    seeds = returns.shape[1]
    axes.plot(frames, returns.mean(1), color=colour, linestyle=style, linewidth=1.6, label=name, gid=name)
    if seeds >= FEW_SEEDS:
        _, low, high, _ = statistics.interval(returns)
        axes.fill_between(frames, low, high, color=colour, alpha=0.15, linewidth=0, gid=f"{name}/interval")
    elif seeds > 1 and thin:
        axes.plot(frames, returns, color=colour, linestyle=style, linewidth=0.6, alpha=0.45)


def _seeds_drawn(rows: list[dict], thin: bool) -> str:
    seeds = {len(row["end"]) for row in rows}
    count = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds)}"
    text = "one seed" if seeds == {1} else f"mean of {count} seeds"
    text += "; thin lines: each seed" if thin and any(1 < one < FEW_SEEDS for one in seeds) else ""
    return text + (f"; band: {100 * statistics.CONFIDENCE:.0f} % Student t" if max(seeds) >= FEW_SEEDS else "")


def comparison_returns(rows: list[dict], path: str | os.PathLike) -> None:
    """Draw the final returns: a panel per task, a line per variant with its seeds, mean and Student's interval.

    Args:
      rows: results of runs, as `results.row` makes them.
      path: PNG or SVG to write.
    """
    looks = _looks(rows)
    names = list(looks)[::-1]
    lines, columns = _grid(rows, 3)
    size = max(2.9 * columns + 0.075 * max(map(len, names)), 5.8), (0.75 + 0.24 * len(names)) * lines + 0.5
    with saved(path, *size) as figure:
        for axes, found in _panels(figure, rows, columns, sharey=True):
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.set_ylim(-0.6, len(names) - 0.4)
            for row in found:
                _draw_returns(axes, row, names.index(row["variant"]), looks[row["variant"]][0])
            references = _references(found[0])
            shown = [value for value, _ in references.values()] + [value for row in found for value in row["end"]]
            for value, line in references.values():
                axes.axvline(value, color="#5f6368", linestyle=line, linewidth=1)
            margin = 0.12 * max(max(shown) - min(shown), 0.1)
            axes.set_xlim(min(shown) - margin, max(shown) + margin)
            axes.tick_params(axis="x", labelsize=8)
        figure.supxlabel("greedy return at the end of training", fontsize=8)
        interval = f"bar: {100 * statistics.CONFIDENCE:.0f} % Student t, cut at the edge"
        grey = "grey: random policy dotted, best known memoryless dash-dotted, with memory dashed"
        figure.suptitle(f"circle: seed; diamond: mean; {interval}\n{grey}", fontsize=8, color="#5f6368")


def _draw_returns(axes, row: dict, place: float, colour: str) -> None:
    """Draw the final return of each seed, their mean and its interval at the height `place`."""
    mean, low, high, seeds = statistics.interval(row["end"])
    if seeds > 1:
        axes.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.5)
    axes.plot(row["end"], [place] * seeds, "o", color=colour, markersize=4, fillstyle="none")
    axes.plot([mean], [place], "D", color=colour, markersize=5, gid=row["variant"])


def heat_maps(panels: dict[str, np.ndarray], path: str | os.PathLike, across: str, down: str, what: str) -> None:
    """Draw heat maps side by side, on one scale from 0.

    Args:
      panels: title -> values [rows, columns].
      path: PNG or SVG to write.
      across: what the columns are.
      down: what the rows are.
      what: what the values are.
    """
    tallest = max(len(values) for values in panels.values())
    with saved(path, 4.2 * len(panels) + 0.8, min(1.4 + 0.1 * tallest, 9)) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        top = max(float(np.max(values, initial=0)) for values in panels.values())
        for axes, (title, values) in zip(grid, panels.items(), strict=True):
            image = axes.imshow(values, vmin=0, vmax=top or 1, cmap="inferno", aspect="auto", interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.set_xlabel(across, fontsize=8)
            axes.set_ylabel(down, fontsize=8)
            axes.grid(visible=False)
        figure.colorbar(image, ax=list(grid), label=what)
