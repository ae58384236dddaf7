"""The table of a comparison, as text."""

import math

import numpy as np

from podarcade.reporting import results, statistics
from podarcade.runtime.console import count


def table(rows: list[dict], last: float) -> str:
    """Return the rows as a table, with what its numbers are and are not worth below it.

    Args:
      rows: as `results` makes them.
      last: share of the frames whose evaluations are averaged.
    """
    task, variant = (
        max(map(len, [title, *names])) + 2
        for title, names in (("task", map(results.task_name, rows)), ("variant", (row["variant"] for row in rows)))
    )
    heads = (
        f"{'parameters':>12}{'seeds':>7}{'mean':>9}{'95 % interval':>19}{'fresh':>9}{'random':>9}"
        f"{'memoryless':>12}{'best':>8}{'share':>8}{'other twin':>12}"
    )
    lines = [
        f"greedy return on the twin trained on, mean over the last {last:.0%} of the frames",
        f"{'task':{task}}{'variant':{variant}}{heads}{'frames':>8}{'frames/s':>10}  each seed",
    ]
    for row in rows:
        low, high = row["interval"] or (math.nan, math.nan)
        interval = "-" if row["interval"] is None else f"{low:.3f} to {high:.3f}"
        fresh = f"{np.mean(row['fresh']):.3f}" if "fresh" in row else "-"
        seeds = " ".join(f"{value:.3f}" for value in row["end"])
        known = results.bounds_of(row)
        memoryless, best, share = (known.memoryless, known.memory, _share(row, row["mean"])) if known else [None] * 3
        lines.append(
            f"{results.task_name(row):{task}}{row['variant']:{variant}}{row['memory_parameters']:12,}"
            f"{len(row['seeds']):7}{row['mean']:9.3f}{interval:>19}{fresh:>9}{row['random']:9.3f}"
            f"{number(memoryless):>12}{number(best):>8}{number(share):>8}{row['other_twin']:12.3f}"
            f"{count(row['frames']):>8}{row['frames_per_second']:10,.0f}  {seeds}"
        )
    return "\n".join([*lines, "", *over_tasks(rows), "", *notes(rows)])


def _share(row: dict, value: float) -> float | None:
    """Return the share of the way from the best known memoryless policy to the best known one, on the partial twin."""
    known = results.bounds_of(row) if row["task"]["twin"] == "partial" else None
    return known.share(value) if known else None


def number(value: float | None) -> str:
    """Return a value with three decimals, "-" for none."""
    return "-" if value is None else f"{value:.3f}"


def over_tasks(rows: list[dict]) -> list[str]:
    """Return a table of means over tasks: raw, as shares of what memory is worth, and on POPGym Arcade's scale.

    A share is 0 at the return of the best known memoryless policy and 1 at that of the best known one, over the partial
    twins for which both are known and differ. On POPGym Arcade's scale a return of 0 is worth up to 0.625 and a random
    policy's return is not 0 either, so both stand beside the mean and the interquartile mean (over tasks and seeds).
    """
    groups = list(dict.fromkeys((row["variant"], row["task"]["twin"]) for row in rows))
    width = max(len(f"{name}, {twin} twin") for name, twin in groups) + 2
    lines = [
        f"{'':{width}}{'':6}{'greedy return':>16}{'share of':>12}{'':4}on POPGym Arcade's scale",
        f"{'over tasks':{width}}{'tasks':>6}{'mean':>8}{'random':>8}{'memory':>12}{'':4}"
        f"{'mean':>8}{'iqm':>8}{'random':>8}{'of 0':>8}",
    ]
    for name, twin in groups:
        found = [row for row in rows if (row["variant"], row["task"]["twin"]) == (name, twin)]
        mean, random = ([row[key] for row in found] for key in ("mean", "random"))
        scaled, scaled_random, zero = (_scaled(found, values) for values in (mean, random, [0] * len(found)))
        shares = [share for row in found if (share := _share(row, row["mean"])) is not None]
        seeds = np.concatenate(_scaled(found, [np.asarray(row["end"]) for row in found]))
        lines.append(
            f"{f'{name}, {twin} twin':{width}}{len(found):6}{np.mean(mean):8.3f}{np.mean(random):8.3f}"
            f"{number(np.mean(shares) if shares else None):>12}{'':4}"
            f"{np.mean(scaled):8.3f}{statistics.iqm(seeds):8.3f}{np.mean(scaled_random):8.3f}{np.mean(zero):8.3f}"
        )
    return lines


def _scaled(rows: list[dict], values: list) -> list:
    return [results.normalised(value, row["task"]["game"]) for row, value in zip(rows, values, strict=True)]


def notes(rows: list[dict]) -> list[str]:
    """Return lines on the intervals, the evaluation's noise, unequal and repeated seeds."""
    lines = [f"interval: {statistics.note(count)}" for count in sorted({len(row["seeds"]) for row in rows})]
    episodes = sorted({row["config"]["evaluation"]["episodes"] for row in rows})
    lines.append(
        f"evaluation: mean of {' or '.join(map(str, episodes))} episodes on starts that all seeds and runs share; the "
        f"interval leaves out their sampling error (standard deviation of the returns / {min(episodes) ** 0.5:.2g})"
    )
    lines.append("fresh: the final parameters, on starts that nothing was chosen on and that differ by seed")
    unequal: dict[str, list[str]] = {}
    for task in dict.fromkeys(map(results.task_name, rows)):
        seeds = {row["variant"]: len(row["seeds"]) for row in rows if results.task_name(row) == task}
        if len(set(seeds.values())) > 1:
            unequal.setdefault(", ".join(f"{name}: {count}" for name, count in seeds.items()), []).append(task)
    for counted, tasks in unequal.items():
        lines.append(f"WARNING: unequal numbers of seeds ({counted}) on {', '.join(tasks)}: no ranking")
    return lines + [f"WARNING: {line}" for line in results.repeated(rows)]
