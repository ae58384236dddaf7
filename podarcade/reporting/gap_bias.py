"""Observability Gap and Memory Bias: what a memory loses to partial observability, and what it costs on its own.

With J(f, X) the return of a policy on top of memory f that was trained and evaluated on twin X, full or partial,

    Gap  = J(f, full) - J(f, partial)          cost of inferring the state
    Bias = J(f, full) - J(none, full)          negative: the memory itself costs return
    J(f, partial) = J(none, full) + Bias - Gap

(POPGym Arcade, section 3). The control `none` is a network without memory in the same trainer: same algorithm, trunk,
preset and frames. A control of another trainer adds an algorithm effect, which `Report.effects` lists apart.

Gap and Bias share the term +J(f, full), whose error moves both: a scatter of them has a slope of noise, and their joint
region is an inclined ellipse. Seeds of different runs are independent.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from podarcade.envs import observability
from podarcade.reporting import published, results, statistics
from podarcade.reporting.gap_entries import SCALES, Aggregate, Cell, Entry, aggregate, difference, raw
from podarcade.runtime.differences import differences
from podarcade.runtime.run_files import comparable

SIZES = ("match", "inputs", "init")  # of the network section: what may differ between a memory and its control


@dataclasses.dataclass(frozen=True)
class Report:
    """Gap and Bias of a comparison.

    Attributes:
      entries: of each memory on each task, complete or not.
      missing: lines on what is missing, and why.
      effects: lines of controls of another trainer, (task, clean control, other, difference on the full twin).
      sources: where values and published values are from, for the notes.
    """

    entries: list[Entry]
    missing: list[str]
    effects: list[tuple[str, str, str, statistics.Interval]]
    sources: list[str]

    def over_tasks(self, scale: Callable) -> list[Aggregate]:
        """Return an aggregate of each memory with a complete task, over the tasks that all of those have in common."""
        entries = [entry for entry in self.entries if entry.is_complete and entry.partial.on(scale) is not None]
        tasks = common_tasks(entries)
        names = dict.fromkeys(entry.variant for entry in entries)
        chosen = [[entry for entry in entries if entry.variant == name and entry.task in tasks] for name in names]
        return [aggregate(found, scale) for found in chosen if found]

    def panels(self) -> list[tuple[str, list[Aggregate]]]:
        """Return what figures show: title and memories, over tasks if there are several, then of each task."""
        name, scale = next(iter(SCALES.items()))
        whole = self.over_tasks(scale)
        several = bool(whole) and len(whole[0].tasks) > 1
        found = [(f"mean over {len(whole[0].tasks)} tasks, {name}", whole)] if several else []
        complete = [entry for entry in self.entries if entry.is_complete]
        for task in dict.fromkeys(entry.task for entry in complete):
            found.append((task, [aggregate([entry], raw) for entry in complete if entry.task == task]))
        return found


def left_out(entries: list[Entry]) -> list[str]:
    """Return lines on complete entries that are not in the aggregates, because a memory lacks their task."""
    complete = [entry for entry in entries if entry.is_complete]
    tasks, names = common_tasks(complete), dict.fromkeys(entry.variant for entry in complete)
    lines = []
    for task in dict.fromkeys(entry.task for entry in complete):
        have = {entry.variant for entry in complete if entry.task == task}
        if task not in tasks:
            lacking = ", ".join(name for name in names if name not in have)
            lines.append(f"{task} is not in the figures over tasks: not complete for {lacking}")
    return lines


def common_tasks(entries: list[Entry]) -> list[str]:
    """Return the tasks that every variant has."""
    names: dict[str, set[str]] = {}
    for entry in entries:
        names.setdefault(entry.variant, set()).add(entry.task)
    return [task for task in dict.fromkeys(entry.task for entry in entries) if all(task in n for n in names.values())]


def trainer(config: dict) -> dict:
    """Return the part of a configuration that a memory and its clean control share."""
    kept = {key: value for key, value in comparable(config).items() if key not in ("seed", "seeds", "memory")}
    for section, names in (("network", SIZES), ("environment", ("observability",))):
        kept[section] = {name: value for name, value in config.get(section, {}).items() if name not in names}
    return kept


def analyse(rows: list[dict], training: dict | None = None) -> Report:
    """Return Gap and Bias of every variant on every task of a comparison.

    Args:
      rows: as `results` makes them, with distinct task and variant.
      training: training returns of runs, as `published.training_curves` returns them. POPGym Arcade's estimator takes
        the curve of a run from there, else the curve of its greedy evaluations.
    """
    usable = [row for row in rows if _one_twin(row)]
    missing = [
        f"{results.level_name(row)} {row['variant']}: not trained on one twin" for row in rows if not _one_twin(row)
    ]
    found, entries, effects = _cells(usable, training or {}), [], []
    for task in dict.fromkeys(map(results.level_name, usable)):
        for variant in dict.fromkeys(row["variant"] for row in usable):
            entries.append(_entry(found, task, variant, missing))
        effects += _effects([entry for entry in entries if entry.task == task], found)
    return Report(entries, missing + _lacking(entries) + left_out(entries), effects, _sources(list(found.values())))


def applies(rows: list[dict]) -> bool:
    """Return whether rows have both twins and a network without memory."""
    twins = {row["task"]["twin"] for row in rows}
    return len(twins) == 2 and any(row["config"]["memory"]["name"] == "none" for row in rows)


def _one_twin(row: dict) -> bool:
    twin = row["task"]["twin"]
    text = row["config"].get("environment", {}).get("observability", twin)
    return observability.parse(text).shares == (observability.NAMES[twin],)


def _cells(rows: list[dict], training: dict) -> dict[tuple[str, str, str], Cell]:
    """Return {(task, variant, twin): cell}; a task has fresh starts if all its runs do."""
    without = {results.level_name(row) for row in rows if "fresh" not in row}
    found = {}
    for row in rows:
        twin, task = row["task"]["twin"], results.level_name(row)
        trained = training.get(published.identity(row["config"]))
        if trained and trained[1].shape[1] != len(row["seeds"]):  # pooled with other seeds since
            trained = None
        frames, values = trained or (np.asarray(row["curve"]["frames"]), np.asarray(row["curve"][twin]))
        chosen = np.asarray(row["end" if task in without else "fresh"], float)
        run = published.run_return(frames, values)
        found[task, row["variant"], twin] = Cell(row, chosen, run, task not in without, bool(trained))
    return found


def _entry(found: dict, task: str, variant: str, missing: list[str]) -> Entry:
    partial, full = (found.get((task, variant, twin)) for twin in ("partial", "full"))
    if partial and full:
        one, other = (
            {**trainer(cell.row["config"]), "memory": cell.row["config"]["memory"]} for cell in (full, partial)
        )
        if different := differences(one, other):
            missing.append(f"{task} {variant}: full and partial twin differ ({different.replace('saved', 'full')})")
            partial = None
    present = full or partial
    control = _control(found, task, present.row) if present else ""
    own = [found.get((task, control, twin)) for twin in ("partial", "full")]
    if control == variant:
        own = [partial, full]
    return Entry(task, variant, control, partial, full, *own)


def _control(found: dict, task: str, row: dict) -> str:
    """Return the name of the clean control of a row on a task, "" if there is none.

    Of several, one with a run on the full twin, and one whose sizes, inputs and initialisation differ least.
    """
    config = row["config"]
    if config["memory"]["name"] == "none":
        return row["variant"]
    best, least = "", math.inf
    for (other_task, name, twin), cell in found.items():
        other = cell.row["config"]
        if other_task != task or other["memory"]["name"] != "none" or trainer(other) != trainer(config):
            continue
        sizes = sum(other["network"].get(key) != config["network"].get(key) for key in SIZES)
        if (distance := sizes + len(SIZES) * (twin == "partial")) < least:
            best, least = name, distance
    return best


def _lacking(entries: list[Entry]) -> list[str]:
    """Return lines on runs that are missing, by task."""
    lines: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        twins = [twin for twin in ("partial", "full") if getattr(entry, twin) is None]
        lost = "Gap" if twins == ["partial"] else "Gap, no Bias"
        if twins:
            lines.setdefault((entry.task, f"on the {' and the '.join(twins)} twin: no {lost}"), []).append(
                entry.variant
            )
        if entry.full and entry.control_full is None:
            lines.setdefault((entry.task, "of a clean control on the full twin: no Bias"), []).append(entry.variant)
    return [f"{task}: {', '.join(names)} without a run {what}" for (task, what), names in lines.items()]


def _effects(entries: list[Entry], found: dict) -> list[tuple[str, str, str, statistics.Interval]]:
    """Return differences on the full twin between the controls that memories have and those of other trainers."""
    used = dict.fromkeys(entry.control for entry in entries if entry.control_full and not entry.is_control)
    lines, seen = [], set()
    for clean in used:
        one = found[entries[0].task, clean, "full"]
        for entry in entries:
            other = entry.full if entry.is_control else None
            if other is None or trainer(other.row["config"]) == trainer(one.row["config"]):
                continue
            if (entry.variant, clean) not in seen:
                lines.append((entry.task, clean, entry.variant, difference(one, other)))
            seen.add((clean, entry.variant))
    return lines


def _sources(cells: list[Cell]) -> list[str]:
    lines = []
    if any(cell.is_fresh for cell in cells):
        lines.append("returns: greedy, of the final parameters on starts that chose nothing and differ by seed")
    if ended := sorted({results.level_name(cell.row) for cell in cells if not cell.is_fresh}):
        lines.append(
            f"returns on {', '.join(ended)}: greedy, means over the last evaluations, on starts that runs share"
        )
    trained = sum(cell.is_trained for cell in cells)
    kinds = [f"training returns of {trained} runs"] * bool(trained)
    if rest := len(cells) - trained:
        kinds.append(f"greedy evaluations of {rest} runs whose training returns are not at hand")
    return [*lines, f"published: highest smoothed return, as POPGym Arcade has it, of {' and '.join(kinds)}"]
