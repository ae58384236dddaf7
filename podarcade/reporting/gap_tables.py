"""The tables of Observability Gap and Memory Bias, as text."""

import math
from collections.abc import Callable

from podarcade.reporting import aggregates, published, statistics
from podarcade.reporting.gap_bias import Report
from podarcade.reporting.gap_entries import SCALES, Cell, Entry

CELL = 25  # columns of a value with its interval
DEFINED = "0 by definition"  # the Bias of a control


def table(report: Report) -> str:
    """Return Gap and Bias by task, over tasks, what is missing, and what the numbers are worth."""
    lines = ["Observability Gap = J(f, full) - J(f, partial); Memory Bias = J(f, full) - J(control, full)"]
    lines += _by_task(report.entries)
    for name, scale in SCALES.items():
        lines += ["", *_over_tasks(report, name, scale)]
    lines += ["", *_effects(report)] if report.effects else []
    return "\n".join([*lines, "", *(f"MISSING: {line}" for line in report.missing), *notes(report)])


def value(found: statistics.Interval | None) -> str:
    """Return a value with its interval, "-" where there is none."""
    if found is None:
        return "-"
    if math.isnan(found.low):
        return f"{found.mean:z.3f}"
    return f"{found.mean:z.3f} [{found.low:z.3f}, {found.high:z.3f}]"


def estimate(found: published.Estimate) -> str:
    """Return a published value ± half its interval."""
    return f"{found.value:z.3f}" + ("" if math.isnan(found.half) else f" ±{found.half:.3f}")


def _widths(names: list[str], title: str) -> int:
    return max(map(len, [title, *names])) + 2


def _by_task(entries: list[Entry]) -> list[str]:
    task = _widths([entry.task for entry in entries], "task")
    memory = _widths([entry.variant for entry in entries], "memory f")
    control = _widths([entry.control for entry in entries], "control")
    heads = "".join(f"{title:>{CELL}}" for title in ("J(f, partial)", "J(f, full)", "Gap", "Bias"))
    lines = [f"{'task':{task}}{'memory f':{memory}}{'control':{control}}{'seeds':>7}{heads}   published: J, Gap, Bias"]
    for entry in entries:
        if entry.partial is None and entry.full is None:
            continue
        cells = [*map(_return, (entry.partial, entry.full)), value(entry.gap())]
        cells.append(DEFINED if entry.is_control else value(entry.bias()))
        theirs = "  ".join(map(estimate, entry.as_published())) if entry.is_complete else "-"
        lines.append(
            f"{entry.task:{task}}{entry.variant:{memory}}{entry.control or '-':{control}}{_seeds(entry):>7}"
            f"{''.join(f'{cell:>{CELL}}' for cell in cells)}   {theirs}"
        )
    return lines


def _return(cell: Cell | None) -> str:
    return "-" if cell is None else value(statistics.interval(cell.values))


def _seeds(entry: Entry) -> str:
    found = [len(cell.values) for cell in (entry.partial, entry.full, entry.control_full) if cell]
    return str(found[0]) if len(set(found)) == 1 else "/".join(map(str, found))


def _over_tasks(report: Report, name: str, scale: Callable) -> list[str]:
    found = report.over_tasks(scale)
    if not found:
        return [f"over tasks, {name}: no task on which every memory is complete and the scale is known"]
    tasks, memory = found[0].tasks, _widths([one.variant for one in found], "memory f")
    titles = ("J(f, partial)", "Gap", "Bias", "P(f > control), partial", "P(f > control), full")
    heads = "".join(f"{title:>{CELL}}" for title in titles)
    count = f"{len(tasks)} task{'s' * (len(tasks) > 1)}"
    lines = [f"over {count}, {name}: {', '.join(tasks)}", f"{'memory f':{memory}}{'':6}{heads}"]
    for one in found:
        biases = [DEFINED if one.is_control else value(found[2]) for found in (one.mean, one.iqm)]
        lines.append(f"{one.variant:{memory}}{'mean':6}{_row(one.mean[:2], biases[0], one.improvement)}")
        lines.append(f"{'':{memory}}{'IQM':6}{_row(one.iqm[:2], biases[1], ())}")
        if scale is SCALES["on POPGym Arcade's scale"]:
            lines.append(f"{'':{memory}}{'publ.':6}{''.join(f'{estimate(item):>{CELL}}' for item in one.published)}")
    return lines


def _row(first, bias: str, rest) -> str:
    cells = [*map(value, first), bias, *map(value, rest)]
    return "".join(f"{cell:>{CELL}}" for cell in cells)


def _effects(report: Report) -> list[str]:
    lines = ["algorithm effect on the full twin: J(control, full) - J(control of another trainer, full)"]
    return lines + [f"  {task}: {one} - {other}: {value(found)}" for task, one, other, found in report.effects]


def notes(report: Report) -> list[str]:
    """Return lines on where the returns are from and on what their intervals are worth."""
    cells = [cell for entry in report.entries for cell in (entry.partial, entry.full) if cell]
    seeds = min((len(cell.values) for cell in cells), default=1)
    lines = list(report.sources)
    if seeds < 2:
        return [*lines, "one seed: no interval"]
    known = max(count for count in statistics.ATTAINED_DIFFERENCE["normal"] if count <= seeds)
    differences = [round(100 * row[known]) for row in statistics.ATTAINED_DIFFERENCE.values()]
    lines.append(
        f"intervals of Gap, Bias and means: 95 % Welch and Satterthwaite; with {known} seeds differences attain "
        f"{min(differences)} to {max(differences)} % on normal, skewed and bimodal returns (simulated); where all "
        "seeds agree an interval has no width, which is more certainty than a few seeds give"
    )
    attained = aggregates.ATTAINED[known]
    lines.append(
        f"IQM and P(f > control): stratified bootstrap; with {known} seeds it attains {attained:.0%} (ten tasks)"
    )
    return lines
