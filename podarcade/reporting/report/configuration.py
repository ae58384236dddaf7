"""Sections on what runs were made of: options that differ, versions and machines, commands."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from podarcade.reporting.report import Section
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import Cell, Markup, details, element, paragraph, table
from podarcade.reporting.report.reading import ReportedRun
from podarcade.runtime.differences import ABSENT, flatten
from podarcade.runtime.run_files import ADDED

NOT_OF_A_MACHINE = ("arguments", "updates", "series", "init_from", "extended")  # fields of a start


def options(runs: Sequence[ReportedRun]) -> Section:
    """Return the options in which the configurations of the runs differ, and those that all share."""
    found = {run.name: dict(ADDED) | dict(flatten(run.config)) for run in runs}
    parts, numbers = _compared(runs, found, "option")
    return Section("options", "Differences between configurations", parts, numbers)


def machines(runs: Sequence[ReportedRun]) -> Section:
    """Return versions, source code and machine of the last start of each run."""
    found = {run.name: _machine(run) for run in runs}
    parts, numbers = _compared(runs, found, "fact")
    about = paragraph("Recorded by each run when it was last started.")
    return Section("machines", "Versions and machines", [about, *parts], numbers)


def commands(runs: Sequence[ReportedRun]) -> Section:
    """Return the command of every start of every run."""
    looks = looks_of(runs)
    starts = [
        {"run": run.name, "started": str(start.get("started", "")), "command": command(start.get("arguments"))}
        for run in runs
        for start in run.starts
    ]
    indices = {run.name: looks[run.label].index for run in runs}
    rows = [(one["run"], Cell(one["started"], kind="when"), Cell(element("code", one["command"]))) for one in starts]
    shown = table("Every start", ("run", "started", "command"), rows, [indices[one["run"]] for one in starts])
    parts = [shown] if starts else [paragraph("No run recorded its command.")]
    return Section("commands", "Commands", parts, {"starts": starts})


def command(arguments: Any) -> str:
    """Return the command line of a start, quoted for a shell."""
    words = [str(word) for word in arguments] if isinstance(arguments, list) else []
    return shlex.join(["python", "-m", "podarcade.launch", *words])


def _machine(run: ReportedRun) -> dict[str, Any]:
    """Return the provenance of the last start, flat, with the number of starts."""
    if not run.starts:
        return {"starts": 0}
    kept = {name: value for name, value in run.starts[-1].items() if name not in NOT_OF_A_MACHINE}
    return {"starts": len(run.starts)} | dict(flatten(kept))


def _compared(
    runs: Sequence[ReportedRun], found: Mapping[str, dict[str, Any]], what: str
) -> tuple[list[Markup], dict[str, Any]]:
    """Return a table of what differs between runs, a folded one of what they share, and both as numbers.

    Args:
      runs: to compare.
      found: {name of the run: {name: value}}.
      what: word for a name.
    """
    names = sorted({name for values in found.values() for name in values})
    texts = {name: [_text(values.get(name, ABSENT)) for values in found.values()] for name in names}
    differing = [name for name in names if len(set(texts[name])) > 1]
    shared = {name: texts[name][0] for name in names if name not in differing}
    looks = looks_of(runs)
    parts = []
    if differing:
        rows = [(run.name, *(_cell(texts[name][place]) for name in differing)) for place, run in enumerate(runs)]
        hidden = [looks[run.label].index for run in runs]
        parts.append(table(f"Each {what} that differs between the runs", ("run", *differing), rows, hidden))
    else:
        parts.append(paragraph(f"No {what} differs between the runs." if len(runs) > 1 else "There is one run."))
    if shared:
        folded = table(f"Each {what} that all runs share", (what, "value"), list(shared.items()))
        parts.append(details(f"{len(shared)} {what}s that all runs share", folded))
    numbers = {run.name: {name: found[run.name].get(name) for name in differing} for run in runs}
    return parts, {"differing": numbers, "shared": {name: next(iter(found.values()))[name] for name in shared}}


def _cell(text: str) -> Cell:
    return Cell(text, kind="absent" if text == ABSENT else "")


def _text(value: Any) -> str:
    """Return an option as text: words as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
