"""The first section: what was compared, each run in a row, and the folders that hold no run that can be read."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from podarcade.anakin.evaluate import TWINS
from podarcade.reporting import statistics
from podarcade.reporting.report import Section, known
from podarcade.reporting.report.folders import Broken
from podarcade.reporting.report.looks import known_policies, looks_of
from podarcade.reporting.report.markup import UNKNOWN, Cell, Markup, element, number, paragraph, table
from podarcade.reporting.report.reading import ReportedRun
from podarcade.runtime.console import count

HEADS = (
    *("run", "state", "task", "trained on", "final return, full twin", "final return, partial twin"),
    *("random", "memoryless", "with memory", "memory", "algorithm", "seeds", "frames", "parameters"),
    *("of its memory", "frames/s", "training, s"),
)


def compared(runs: Sequence[ReportedRun]) -> str:
    """Return what a report compares, in one line."""
    parts = [
        _listed([f"{game} {level}" for game, level in (run.task for run in runs)], "tasks"),
        _listed([f"{run.twin} twin" for run in runs], "twins"),
        _listed([run.algorithm for run in runs], "algorithms"),
        _listed([run.memory for run in runs], "memories"),
        _listed([f"{len(run.seeds)} seed{'s'[: len(run.seeds) > 1]}" for run in runs], "numbers of seeds"),
    ]
    return f"{len(runs)} run{'s'[: len(runs) != 1]}: {'; '.join(filter(None, parts))}"


def _listed(names: Sequence[str], plural: str) -> str:
    different = list(dict.fromkeys(names))
    return ", ".join(different) if len(different) <= 8 else f"{len(different)} {plural}"


def section(runs: Sequence[ReportedRun], broken: Sequence[Broken]) -> Section:
    """Return the table of runs, and the folders that could not be read."""
    looks, parts = looks_of(runs), []
    if runs:
        hidden = [looks[run.label].index for run in runs]
        caption = "Each run, and the returns of known policies on its task"
        parts = [table(caption, HEADS, [_row(run) for run in runs], hidden), *_notes(runs)]
    if broken:
        title = f"{len(broken)} folder{'s'[: len(broken) != 1]} without a run that can be read"
        parts.append(table(title, ("folder", "why"), [(str(one.path), one.problem) for one in broken]))
    numbers = {
        "runs": [_numbers(run) for run in runs],
        "unreadable": [{"folder": str(one.path), "why": one.problem} for one in broken],
    }
    return Section("runs", "Runs", parts, numbers)


def _row(run: ReportedRun) -> list[Any]:
    return [
        run.name,
        _state(run),
        f"{run.game} {run.level}",
        run.twin,
        *(_final(run, twin) for twin in TWINS),
        *known_policies(run, "partial").values(),
        run.memory,
        run.algorithm,
        len(run.seeds),
        Cell(count(round(run.frames)), run.frames),
        run.parameters.get("all"),
        run.parameters.get("memory"),
        round(run.frames_per_second) if math.isfinite(run.frames_per_second) else None,
        round(run.seconds),
    ]


def _state(run: ReportedRun) -> Cell:
    remark = element("span", f" {run.remark}", class_="remark") if run.remark else None
    return Cell(element("span", element("b", run.state), remark), kind=run.state)


def _final(run: ReportedRun, twin: str) -> Any:
    """Return mean and interval on a twin, bold on the one that was trained on."""
    if twin not in run.final:
        return None
    mean, low, high, seeds = statistics.interval(run.final[twin])
    shown: Markup = element("b" if twin == run.main_twin else "span", number(float(mean)))
    interval = f" {number(float(low))} to {number(float(high))}" if seeds > 1 and np.isfinite(low) else ""
    return Cell(element("span", shown, element("span", interval, class_="interval")), float(mean), "wide")


def _notes(runs: Sequence[ReportedRun]) -> list[Markup]:
    """Return what the numbers of the table are, and what its intervals are worth."""
    seeds = sorted({len(run.seeds) for run in runs if run.final})
    worth = "; ".join(statistics.note(count) for count in seeds if count > 1)
    about = (
        "Final returns are those of the greedy policy of the final parameters on fresh starts, which nothing was "
        "chosen on and which differ by seed: mean over seeds, and the interval of the mean; bold on the twin that was "
        f"trained on; {UNKNOWN} for a run that has not ended. The columns random, memoryless and with memory are "
        "returns on the partial twin: of the random policy as the run played it, and of the best known scripted "
        "policies, which are lower bounds of the best of their kind. Frames are environment steps per seed; frames/s "
        "are those of all seeds."
    )
    return [paragraph(about, kind="note"), *([paragraph(f"Intervals: {worth}.", kind="note")] if worth else [])]


def _numbers(run: ReportedRun) -> dict[str, Any]:
    """Return the row of a run as report.json has it."""
    fields = ("name", "label", "state", "remark", "game", "level", "twin", "memory", "algorithm", "seeds", "frames")
    more = ("seconds", "frames_per_second", "evaluation_seconds", "parameters")
    found = {name: known(getattr(run, name)) for name in (*fields, *more)}
    found |= {"task": f"{run.game} {run.level}", "folder": str(run.path)}
    for twin, values in run.final.items():
        mean, low, high, _ = statistics.interval(values)
        found[f"final_{twin}"] = {
            "mean": known(mean), "low": known(low), "high": known(high), "seeds": known(values)
        }  # fmt: skip
    return found | {"random": run.random, "bounds": run.bounds._asdict() if run.bounds else None}
