"""The section on diagnostics that have none of their own: every number of their summaries, in a table."""

from collections.abc import Collection, Sequence

from podarcade.diagnostics import numbers
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
    looks, parts, content = looks_of(runs), [], {}
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
        content[name] = {
            run.name: {"updates": entry.updates, "options": entry.options, "seeds": values[run.name]}
            for run, entry in entries
        }
    about = paragraph("Numbers that podarcade diagnose found in the agents of the runs.")
    return Section("diagnostics", "Other diagnostics", [about, *parts], {"diagnostics": content})


def _by_path(entry: Measured) -> dict[str, list[float | None]]:
    """Return {path in the summaries: the number of each seed, None where it is unknown}."""
    flat = [{path: known(x) for path, x in numbers(summary, LONGEST)} for summary in entry.seeds.values()]
    return {path: [one.get(path) for one in flat] for path in dict.fromkeys(path for one in flat for path in one)}
