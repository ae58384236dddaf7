"""Sections on returns: learning curves on both twins, and final returns."""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from podarcade.anakin.evaluate import TWINS
from podarcade.reporting import statistics
from podarcade.reporting.figures import FEW_SEEDS, MAX_POINTS, REFERENCES
from podarcade.reporting.report import Columns, Figure, Section, drawing, records, rows_of
from podarcade.reporting.report.looks import Looks, draw_policies, grid, known_policies, legend, looks_of
from podarcade.reporting.report.markup import paragraph
from podarcade.reporting.report.reading import Curve, ReportedRun

WIDTH = 9.6  # inches of a figure as wide as the text
AXES = {"frames": "frames (environment steps per seed)", "return": "greedy return"}


def by_task(runs: Sequence[ReportedRun]) -> dict[tuple[str, str, str], list[ReportedRun]]:
    """Return runs by game, level and the twin that was trained on."""
    found: dict[tuple[str, str, str], list[ReportedRun]] = {}
    for run in runs:
        found.setdefault((*run.task, run.twin), []).append(run)
    return dict(sorted(found.items(), key=lambda item: (item[0][:2], item[0][2] != "partial")))


def task_name(task: tuple[str, str, str]) -> str:
    """Return a task for display: "tmaze easy, partial twin"."""
    return f"{task[0]} {task[1]}, {task[2]} twin"


def learning(runs: Sequence[ReportedRun]) -> Section:
    """Return the learning curves: a figure for each task, a panel for each twin that is played."""
    looks = looks_of(runs)
    drawn = [_learning(f"learning-{k}", task, found, looks) for k, (task, found) in enumerate(by_task(runs).items(), 1)]
    explained = paragraph(
        "Greedy returns of the evaluations during training, mean over seeds. From ",
        f"{FEW_SEEDS} seeds on the band is Student's {statistics.CONFIDENCE:.0%} interval of the mean; of fewer seeds "
        "each is a thin line. Every evaluation plays the same starts. Grey lines are returns of a random policy and of "
        "the best known policies without and with memory: a task is evidence about memory where these two differ.",
    )
    return Section("learning", "Learning curves", [explained, *drawn])


def _learning(name: str, task: tuple[str, str, str], runs: Sequence[ReportedRun], looks: Looks) -> Figure:
    rows = [row for twin in TWINS for row in _twin_rows(runs, twin)]
    ends = ", ".join(f"{run.label} {_end(run):.3f}" for run in runs if len(run.greedy[run.main_twin].frames))
    about = f"Last evaluation on the {runs[0].main_twin} twin: {ends or 'none'}."
    return Figure(
        name=name,
        caption=about,
        alt=f"Learning curves on {task_name(task)}. {about}",
        columns=records(rows),
        draw=functools.partial(_draw_learning, looks=looks, task=task),
        size=(WIDTH, 4.2 + 0.22 * (len(runs) // 6)),
    )


def _end(run: ReportedRun) -> float:
    return float(np.mean(run.greedy[run.main_twin].values[-1]))


def _twin_rows(runs: Sequence[ReportedRun], twin: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each evaluation on a twin, and a row for each known policy, which has no frames."""
    for run in runs:
        yield from curve_rows(run, run.greedy[twin], kind="run", played=twin)
    for policy, value in known_policies(runs[0], twin).items():
        yield {"kind": "policy", "run": None, "label": policy, "played": twin, "frames": None, "mean": value}


def curve_rows(run: ReportedRun, curve: Curve, points: int = MAX_POINTS, **about: Any) -> Iterator[dict[str, Any]]:
    """Yield a row for each point of a curve, thinned: frames, mean, interval from `FEW_SEEDS` seeds on, each seed."""
    curve = thinned(curve, points)
    mean, low, high, seeds = statistics.interval(curve.values)
    has_band = seeds >= FEW_SEEDS
    about = {"run": run.name, "label": run.label} | about
    for place, frames in enumerate(curve.frames):
        band = {"low": low[place], "high": high[place]} if has_band else {"low": None, "high": None}
        by_seed = {f"seed_{seed}": curve.values[place, k] for k, seed in enumerate(run.seeds)}
        yield about | {"frames": frames, "mean": mean[place]} | band | by_seed


def thinned(curve: Curve, points: int = MAX_POINTS) -> Curve:
    """Return a curve with at most `points` points, means of groups of evaluations; NaN where all of a group are."""
    count = len(curve.frames)
    if count <= points:
        return curve
    starts = np.array([group[0] for group in np.array_split(np.arange(count), points)])
    known = np.isfinite(curve.values)
    sizes = np.add.reduceat(known, starts, axis=0, dtype=int)
    sums = np.add.reduceat(np.where(known, curve.values, 0), starts, axis=0)
    frames = np.add.reduceat(curve.frames, starts) / np.diff([*starts, count])
    return Curve(frames, np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan))


def _draw_learning(figure: Any, columns: Columns, looks: Looks, task: tuple[str, str, str]) -> None:
    rows = rows_of(columns)
    for number, (twin, axes) in enumerate(zip(TWINS, figure.subplots(1, 2, sharey=True, sharex=True), strict=True)):
        axes.set_title(f"played on the {twin} twin" + (", as trained" if twin == task[2] else ""))
        found = [row for row in rows if row["played"] == twin]
        for name in dict.fromkeys(row["run"] for row in found if row["kind"] == "run"):
            draw_run(axes, [row for row in found if row["run"] == name], looks)
        draw_policies(axes, {row["label"]: row["mean"] for row in found if row["kind"] == "policy"})
        axes.set_xlabel(AXES["frames"])
        axes.set_ylabel("" if number else AXES["return"])
        drawing.use_prefixes(axes.xaxis)
        axes.set_xlim(left=0)
    title = f"{task[0]} {task[1]}, trained on the {task[2]} twin"
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    legend(figure, figure.get_figwidth())


def draw_run(axes: Any, rows: list[dict[str, Any]], looks: Looks) -> None:
    """Draw the curve of a run from rows of `curve_rows`: the mean, with a band or a thin line for each seed."""
    label, look = rows[0]["label"], looks[rows[0]["label"]]
    frames, mean, low, high = (np.array([row[key] for row in rows], float) for key in ("frames", "mean", "low", "high"))
    style = {"color": look.colour, "linestyle": look.style, "gid": look.gid}
    marks = {"marker": look.marker, "markevery": max(len(frames) // 5, 1), "markersize": 4.5}
    axes.plot(frames, mean, linewidth=1.9, label=label, **style, **marks)
    if np.isfinite(low).any():
        axes.fill_between(frames, low, high, color=look.colour, alpha=0.15, linewidth=0, gid=look.gid)
        return
    seeds = [key for key in rows[0] if key.startswith("seed_") and rows[0][key] is not None]
    for key in seeds if len(seeds) > 1 else ():
        axes.plot(frames, np.array([row[key] for row in rows], float), linewidth=0.7, alpha=0.5, **style)


def final(runs: Sequence[ReportedRun]) -> Section:
    """Return the final returns: a panel for each task, a line for each run."""
    ended = [run for run in runs if run.main_twin in run.final]
    if not ended:
        return Section("final", "Final returns", [paragraph("No run is complete.")])
    rows = [_final_row(run) for run in ended]
    looks = looks_of(runs)
    tasks = len(by_task(ended))
    labels = {run.label for run in ended}
    figure = Figure(
        name="final",
        caption="Greedy returns of the final parameters, on fresh starts of the twin that was trained on. Circles are "
        f"seeds, diamonds their mean, bars Student's {statistics.CONFIDENCE:.0%} interval, cut at the edge.",
        alt="Final returns. " + "; ".join(f"{row['run']} {row['mean']:.3f}" for row in rows) + ".",
        columns=records(rows),
        draw=functools.partial(_draw_final, looks=looks),
        size=(WIDTH, (0.95 + 0.25 * len(labels)) * -(-tasks // _panels_in_a_row(labels)) + 0.9),
    )
    return Section("final", "Final returns", [figure])


def _panels_in_a_row(labels: Collection[str]) -> int:
    return 3 if max(map(len, labels)) < 24 else 2


def _final_row(run: ReportedRun) -> dict[str, Any]:
    values = run.final[run.main_twin]
    mean, low, high, _ = statistics.interval(values)
    about = {"run": run.name, "label": run.label, "game": run.game, "level": run.level, "twin": run.twin}
    by_seed = {f"seed_{seed}": value for seed, value in zip(run.seeds, values, strict=True)}
    return about | {"mean": mean, "low": low, "high": high} | known_policies(run, run.main_twin) | by_seed


def _draw_final(figure: Any, columns: Columns, looks: Looks) -> None:
    rows = rows_of(columns)
    names = [name for name in looks if name in columns["label"]][::-1]
    tasks = list(dict.fromkeys((row["game"], row["level"], row["twin"]) for row in rows))
    wide = _panels_in_a_row(names)
    for place, (task, axes) in enumerate(zip(tasks, grid(figure, len(tasks), wide, sharey=True), strict=True)):
        found = [row for row in rows if (row["game"], row["level"], row["twin"]) == task]
        axes.set_title(task_name(task), fontsize=9.5)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        draw_policies(axes, {name: found[0][name] for name in REFERENCES}, vertical=True)
        shown = [value for row in found for key, value in row.items() if key in REFERENCES or key.startswith("seed_")]
        shown = [value for value in shown if value is not None]
        margin = 0.1 * max(max(shown) - min(shown), 0.1) if shown else 1
        axes.set_xlim(min(shown, default=0) - margin, max(shown, default=0) + margin)
        for row in found:
            _draw_seeds(axes, row, names.index(row["label"]), looks)
        if place >= len(tasks) - wide:
            axes.set_xlabel(AXES["return"])
    legend(figure, figure.get_figwidth())


def _draw_seeds(axes: Any, row: dict[str, Any], place: int, looks: Looks) -> None:
    look = looks[row["label"]]
    seeds = [value for key, value in row.items() if key.startswith("seed_") and value is not None]
    style = {"color": look.colour, "gid": look.gid}
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [place, place], linewidth=2.5, alpha=0.5, **style)
    axes.plot(seeds, [place] * len(seeds), "o", markersize=5, fillstyle="none", **style)
    if row["mean"] is not None:
        axes.plot([row["mean"]], [place], "D", markersize=6, **style)
