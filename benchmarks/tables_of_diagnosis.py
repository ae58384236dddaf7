"""Tables of what the memory of trained agents does, from benchmarks.diagnosis. Cells are means over seeds."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.diagnosis import Reader, early, needed
from benchmarks.tables_of_tasks import HEADLINE
from podarcade.reporting import gap_tables, statistics, switch
from podarcade.runtime.console import count

MEASURES = {"l1": "gradient, L1", "integrated": "integrated", "occlusion": "occlusion", "attention": "attention"}
LAGS = (1, 4, 16)


def rows(diagnostic: str, twin: str) -> Iterator[tuple[list[str], dict[str, Any], dict[str, Any]]]:
    """Yield the first cells of a line, the row and its diagnostic, task by task."""
    found = [row for row in markdown.result("diagnosis-cpu")["rows"] if row["task"]["twin"] == twin]
    for row in sorted(found, key=lambda row: HEADLINE.index(row["task"]["game"])):
        if entry := row["diagnostics"].get(diagnostic):
            first = [f"`{row['task']['game']}`", row["variant"], f"{np.mean(row['returns']):.2f}"]
            yield first, row, entry


HEAD = ("task", "agent", "return")


def mean(entry: dict[str, Any], read: Reader, kind: str = "seeds", digits: int = 2) -> str:
    """Return the mean over seeds of what `read` finds in their summaries, "-" where it is unknown."""
    known = [value for value in map(read, entry.get(kind, {}).values()) if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"


def both(entry: dict[str, Any], read: Reader, digits: int = 2) -> str:
    """Return the mean of trained agents and, in parentheses, that of untrained networks."""
    return f"{mean(entry, read, digits=digits)} ({mean(entry, read, 'untrained', digits)})"


def recall_partial() -> str:
    """Return, on partial twins, the density at the time when the answer was shown."""
    lines = []
    for first, _, entry in rows("recall_density", "partial"):
        cells = [both(entry, needed(name)) for name in MEASURES]
        if cells[0] != "- (-)":
            agreement = mean(entry, lambda one: one["l1"]["agreement"])
            lines.append([*first, *cells, agreement])
    return markdown.table([*HEAD, *MEASURES.values(), "rank correlation of gradient and occlusion"], lines)


def recall_full() -> str:
    """Return, on full twins, the density before the last third of the episode, where nothing has to be remembered."""
    lines = [
        [*first, *(both(entry, early(name)) for name in MEASURES), both(entry, lambda one: one["l1"]["now"])]
        for first, _, entry in rows("recall_density", "full")
    ]
    return markdown.table([*HEAD, *MEASURES.values(), "gradient at the present"], lines)


def contamination(twin: str) -> str:
    """Return the effect of one swapped observation by lag, its half-life, and what it costs."""

    def effect(lag: int) -> Reader:
        return lambda one: dict(zip(one["swap"]["lags"], one["swap"]["effect"], strict=True)).get(lag)

    def flips(one: dict[str, Any]) -> float | None:
        return dict(zip(one["swap"]["lags"], one["swap"]["flips"], strict=True)).get(LAGS[1])

    lines = [
        [
            *first,
            *(both(entry, effect(lag)) for lag in LAGS),
            both(entry, lambda one: one["swap"]["half_life"], 0),
            mean(entry, flips),
            mean(entry, lambda one: one["closed_loop"]["swap"]["drop"], digits=3),
        ]
        for first, _, entry in rows("contamination", twin)
    ]
    heads = *(f"e({lag})" for lag in LAGS), "half-life", f"flips at lag {LAGS[1]}", "return lost"
    return markdown.table([*HEAD, *heads], lines)


def probes() -> str:
    """Return the accuracy of what the next action needs, read from each source by the linear probe."""
    sources = "memory", "untrained", "observation", "present"
    lines = []
    for first, _, entry in rows("probes", "partial"):
        name = next((key for one in entry["seeds"].values() for key in one if key.startswith("needed.")), None)
        if name is None:
            continue
        cells = [mean(entry, _accuracy(name, source)) for source in sources]
        lines.append([*first, mean(entry, lambda one, name=name: one[name]["chance"]), *cells])
    return markdown.table([*HEAD, "chance", *sources], lines)


def _accuracy(name: str, source: str) -> Reader:
    return lambda one: one[name].get(source, {}).get("linear", {}).get("accuracy")


def twins() -> str:
    """Return how far outputs differ between the twins of the same states, on episodes of the twin trained on."""
    lines: list[Sequence[str]] = []
    for twin in ("partial", "full"):
        for first, _, entry in rows("twins", twin):
            names = "preference", "seeing", "remembering", "flips"
            cells = [mean(entry, lambda one, name=name, twin=twin: one[twin][name]) for name in names]
            lines.append([first[0], twin, *first[1:], *cells])
    return markdown.table(["task", "trained on", *HEAD[1:], "preference", "seeing", "remembering", "flips"], lines)


def switches() -> str:
    """Return what agents do after training switched to the other twin, from the runs of `switch-cpu`."""
    content = markdown.result("switch-cpu")
    lines = []
    for one in switch.analyse(content["runs"], content["last"])[0]:
        drop, difference = (gap_tables.value(statistics.interval(found)) for found in (one.drop, one.difference))
        name = f"`{one.task}`, {one.old} to {one.new} at {count(one.frames)}"
        lines.append([name, str(len(one.seeds)), drop, switch.recovered(one), difference])
    return markdown.table(["switch", "seeds", "drop", "recovery to 95 % of the control", "final difference"], lines)
