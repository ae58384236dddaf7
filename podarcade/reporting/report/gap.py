"""The section on Observability Gap and Memory Bias: tables, and what is missing; `gap_drawing` has the figures."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from podarcade.anakin.evaluate import TWINS
from podarcade.reporting import gap_bias, gap_tables, published, results, statistics
from podarcade.reporting.gap_entries import SCALES, Aggregate, Cell, Entry
from podarcade.reporting.report import Section, gap_drawing, known
from podarcade.reporting.report.looks import Looks, looks_of
from podarcade.reporting.report.markup import Cell as TableCell
from podarcade.reporting.report.markup import Markup, element, listed, number, paragraph, table
from podarcade.reporting.report.names import printable
from podarcade.reporting.report.reading import Curve, ReportedRun
from podarcade.runtime.differences import ABSENT, flatten
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import comparable

NAME, TITLE = "gap_bias", "Observability Gap and Memory Bias"
LAST = 0.25  # share of the frames whose evaluations are averaged, of runs without returns on fresh starts
BY_TASK = ("task", "memory f", "control", "seeds", "J(f, partial)", "J(f, full)", "Gap", "Bias")
OVER_TASKS = (
    *("memory f", "scale", "estimate", "J(f, partial)", "Gap", "Bias"),
    *("P(f > control), partial", "P(f > control), full"),
)


def section(runs: Sequence[ReportedRun]) -> Section | None:
    """Return Gap and Bias of the complete runs; one line where a control or a twin is missing, None where both are."""
    ended = [run for run in runs if run.state == "complete" and run.twin in TWINS]
    problems = {run.name: problem for run in ended if (problem := _problem(run))}
    complete = [run for run in ended if run.name not in problems]
    twins = {run.twin for run in complete}
    has_control = any(run.memory == "none" for run in complete)
    if len(twins) < 2 or not has_control:
        lacking = ["runs on both twins"] * (len(twins) < 2) + ["a control without memory (`none`)"] * (not has_control)
        needs = paragraph(f"Gap and Bias need {lacking[0]}, which is not among the complete runs of this report.")
        return Section(NAME, TITLE, [needs]) if len(lacking) == 1 and len(complete) > 1 else None
    rows, dropped = _rows(complete)
    report = gap_bias.analyse(rows, _training(complete))
    looks = _looks(complete, rows, looks_of(runs))
    hidden = {name: look.index for name, look in looks.items()}
    parts = [_about(), *gap_drawing.figures(report, looks), _by_task(report.entries, hidden)]
    found = {name: report.over_tasks(scale) for name, scale in SCALES.items()}
    found = {name: aggregates for name, aggregates in found.items() if aggregates and len(aggregates[0].tasks) > 1}
    parts += [_over_tasks(found, hidden)] if found else []
    missing = [*dropped, *(f"{name}: {problem}" for name, problem in problems.items()), *report.missing]
    parts += [paragraph("Missing:"), listed(missing)] if missing else []
    parts += [paragraph(line[0].upper() + line[1:] + ".", kind="note") for line in _notes(report)]
    return Section(NAME, TITLE, parts, _numbers(report, missing, found))


def _about() -> Markup:
    return paragraph(
        "J(f, X) is the return of memory f, trained and evaluated on twin X. Gap = J(f, full) - J(f, partial) is what "
        "inferring the state costs; Bias = J(f, full) - J(control, full) is negative where the memory itself costs "
        "return. The control is a network without memory in the same trainer. Below a number: its 95 % interval."
    )


def _problem(run: ReportedRun) -> str:
    """Return why Gap and Bias leave out a complete run; empty if they do not."""
    values = [run.greedy[twin].values for twin in TWINS] + [run.final.get(run.twin, np.zeros(1))]
    if len({len(run.greedy[twin].frames) for twin in TWINS} - {0}) != 1 or not all(
        np.isfinite(x).all() for x in values
    ):
        return "returns of some seeds or evaluations are missing"
    if not isinstance(run.config.get("network"), dict):
        return "its configuration has no network"
    try:
        results.known_bounds(run.config["environment"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # a task of another version
        return one_line(error)
    return ""


def _rows(runs: Sequence[ReportedRun]) -> tuple[list[dict], list[str]]:
    """Return rows as `results` has them, seeds of one experiment pooled, and lines on what was dropped."""
    rows = [_row(run, name) for run, name in zip(runs, variants(runs), strict=True)]
    try:
        return results.pooled(rows, LAST)
    except ValueError as error:
        first = {(results.task_name(row), row["variant"]): row for row in reversed(rows)}
        return list(first.values())[::-1], [f"{error}: of several runs of one name the first is shown"]


def _row(run: ReportedRun, variant: str) -> dict[str, Any]:
    kept = {"frames": run.greedy["full"].frames.tolist()}
    kept |= {twin: run.greedy[twin].values.tolist() for twin in TWINS}
    with np.errstate(invalid="ignore", divide="ignore"):  # the mean over a run with a single evaluation
        found = results.from_curve(kept, run.twin, LAST)
    task = {"game": run.game, "level": run.level, "twin": run.twin}
    about = {"task": task, "variant": variant, "seeds": list(run.seeds), "config": run.config}
    about |= {"random": run.random.get(run.twin, float("nan")), "seconds": run.seconds}
    fresh = {"fresh": run.final[run.twin].tolist()} if run.twin in run.final else {}
    return about | found | fresh


def variants(runs: Sequence[ReportedRun]) -> list[str]:
    """Return names that runs of one memory share across tasks, twins and seeds, and different experiments do not.

    The memory, or else algorithm and memory, or else these with the options in which runs of the same memory differ.
    """
    plain = [run.memory for run in runs]
    longer = [f"{run.algorithm} {run.memory}" for run in runs]
    for names in (plain, longer):
        if _are_clear(runs, names):
            return names
    options = [dict(flatten(_experiment(run))) for run in runs]
    differing: dict[str, set[str]] = {}
    for (name, one), (other_name, other) in itertools.combinations(zip(longer, options, strict=True), 2):
        if name == other_name:
            changed = {key for key in one.keys() | other.keys() if one.get(key, ABSENT) != other.get(key, ABSENT)}
            differing.setdefault(name, set()).update(changed)
    return [
        printable(" ".join([name, *(f"{key}={one.get(key, ABSENT)}" for key in sorted(differing.get(name, ())))]))
        for name, one in zip(longer, options, strict=True)
    ]


def _are_clear(runs: Sequence[ReportedRun], names: Sequence[str]) -> bool:
    """Return whether runs of one name on one twin of a task are one experiment."""
    seen: dict[tuple, str] = {}
    texts = [json.dumps(_experiment(run), sort_keys=True) for run in runs]
    keys = [(run.task, run.twin, name) for run, name in zip(runs, names, strict=True)]
    return all(seen.setdefault(key, text) == text for key, text in zip(keys, texts, strict=True))


def _experiment(run: ReportedRun) -> dict[str, Any]:
    """Return the configuration without seeds and task."""
    return {key: value for key, value in comparable(run.config).items() if key not in ("seed", "seeds", "environment")}


def _training(runs: Sequence[ReportedRun]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the training returns of runs as `published.training_curves` does."""
    found: dict[str, Curve] = {}
    for run in runs:
        curves = [run.metrics[name] for name in published.TRAINING if name in run.metrics]
        if curves:
            found[published.identity(run.config)] = curves[0]
    return {identity: (curve.frames, curve.values) for identity, curve in found.items()}


def _looks(runs: Sequence[ReportedRun], rows: Sequence[dict], looks: Looks) -> Looks:
    """Return the look of each variant: that of its first run."""
    found: Looks = {}
    for run, name in zip(runs, variants(runs), strict=True):
        found.setdefault(name, looks[run.label])
    return {row["variant"]: found[row["variant"]] for row in rows}


def _notes(report: gap_bias.Report) -> list[str]:
    effects = [
        f"algorithm effect on the full twin of {task}, J({one}) - J({other}): {gap_tables.value(found)}"
        for task, one, other, found in report.effects
    ]
    return [*effects, *gap_tables.notes(report)]


def _cell(found: statistics.Interval | None) -> Any:
    if found is None:
        return None
    ends = f" {number(float(found.low))} to {number(float(found.high))}" if np.isfinite(found.low) else ""
    shown = element("span", number(float(found.mean)), element("span", ends, class_="interval"))
    return TableCell(shown, float(found.mean), "wide")


def _by_task(entries: Sequence[Entry], hidden: dict[str, int]) -> Markup:
    there = [entry for entry in entries if entry.partial or entry.full]
    rows = [
        [
            entry.task, entry.variant, entry.control or None, _seeds(entry), _return(entry.partial),
            _return(entry.full), _cell(entry.gap()),
            gap_tables.DEFINED if entry.is_control else _cell(entry.bias()),
        ]
        for entry in there
    ]  # fmt: skip
    labels = [hidden[entry.variant] for entry in there]
    return table("Gap and Bias of each memory on each task", BY_TASK, rows, labels)


def _return(cell: Cell | None) -> Any:
    return _cell(statistics.interval(cell.values)) if cell else None


def _seeds(entry: Entry) -> str:
    counts = [len(cell.values) for cell in (entry.partial, entry.full, entry.control_full) if cell]
    return "/".join(map(str, dict.fromkeys(counts)))


def _over_tasks(found: dict[str, list[Aggregate]], hidden: dict[str, int]) -> Markup:
    rows, labels = [], []
    for scale, aggregates in found.items():
        for one in aggregates:
            better = [_cell(interval) for interval in one.improvement]
            for estimate, values in (("mean", one.mean), ("interquartile mean", one.iqm)):
                bias = gap_tables.DEFINED if one.is_control else _cell(values[2])
                rows.append([one.variant, scale, estimate, _cell(values[0]), _cell(values[1]), bias, *better])
                labels.append(hidden[one.variant])
                better = [None, None]
            rows.append([one.variant, scale, "as published", *map(gap_tables.estimate, one.published), None, None])
            labels.append(hidden[one.variant])
    tasks = ", ".join(next(iter(found.values()))[0].tasks)
    return table(f"Over the tasks that all memories have: {tasks}", OVER_TASKS, rows, labels)


def _numbers(report: gap_bias.Report, missing: Sequence[str], found: dict[str, list[Aggregate]]) -> dict[str, Any]:
    entries = [
        {"task": entry.task, "variant": entry.variant, "control": entry.control or None}
        | {twin: _values(getattr(entry, twin)) for twin in TWINS}
        | {"gap": _interval(entry.gap()), "bias": _interval(entry.bias())}
        for entry in report.entries
        if entry.partial or entry.full
    ]
    names: tuple[tuple[str, Callable], ...] = (("mean", lambda one: one.mean), ("iqm", lambda one: one.iqm))
    over = {
        scale: {
            one.variant: {
                name: dict(zip(("partial", "gap", "bias"), map(_interval, take(one)), strict=True))
                for name, take in names
            }
            | {"published": [known(list(estimate)) for estimate in one.published]}
            | {"improvement": dict(zip(("partial", "full"), map(_interval, one.improvement), strict=True))}
            for one in aggregates
        }
        for scale, aggregates in found.items()
    }
    return {"entries": entries, "over_tasks": over, "missing": list(missing), "notes": _notes(report)}


def _values(cell: Cell | None) -> list[float] | None:
    return known(cell.values.tolist()) if cell else None


def _interval(found: statistics.Interval | None) -> dict[str, Any] | None:
    return {name: known(float(getattr(found, name))) for name in ("mean", "low", "high")} if found else None
