"""The section on diagnostics that have none of their own: every number of their summaries, in a table."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from podarcade.reporting.report import Section, known
from podarcade.reporting.report.looks import looks_of
from podarcade.reporting.report.markup import paragraph, spread, table
from podarcade.reporting.report.measured import Measured, measured
from podarcade.reporting.report.reading import ReportedRun

LONGEST = 8  # numbers of a list that become columns; a longer one is a curve, which stays in diagnostics.json


def section(runs: Sequence[ReportedRun], but: Collection[str] = ()) -> Section | None:
    """Return the numbers of all diagnostics but some, mean over seeds and range; None where there are none."""
    names = sorted({name for run in runs for name in run.diagnostics} - set(but))
    found = {name: [(run, entry) for run in runs if (entry := measured(run, name))] for name in names}
    found = {name: entries for name, entries in found.items() if entries}
    if not found:
        return None
    looks, parts, numbers = looks_of(runs), [], {}
    for name, entries in found.items():
        values = {run.name: _by_path(entry) for run, entry in entries}
        paths = list(dict.fromkeys(path for one in values.values() for path in one))
        rows = [
            [run.name, entry.updates, len(entry.seeds), *(spread(values[run.name].get(path)) for path in paths)]
            for run, entry in entries
        ]
        hidden = [looks[run.label].index for run, _ in entries]
        heads = ("run", "updates", "seeds", *paths)
        parts.append(table(f"{name}: mean over seeds (lowest to highest)", heads, rows, hidden))
        numbers[name] = {
            run.name: {"updates": entry.updates, "options": entry.options, "seeds": values[run.name]}
            for run, entry in entries
        }
    about = paragraph("Numbers that podarcade diagnose found in the agents of the runs.")
    return Section("diagnostics", "Other diagnostics", [about, *parts], {"diagnostics": numbers})


def _by_path(entry: Measured) -> dict[str, list[float | None]]:
    """Return {path in the summaries: the number of each seed, None where it is unknown}."""
    flat = [dict(_flat(summary)) for summary in entry.seeds.values()]
    return {path: [one.get(path) for one in flat] for path in dict.fromkeys(path for one in flat for path in one)}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and len(value) <= LONGEST:
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    elif value is None or isinstance(value, int | float):
        yield path, known(value)
