"""Evaluations of loaded agents, episode by episode: a table, and a tidy file."""

import csv
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from podarcade.anakin.evaluate import TWINS
from podarcade.reporting import statistics
from podarcade.reporting.results import known_bounds
from podarcade.reporting.tables import number

COLUMNS = ("run", "game", "level", "twin", "seed", "episode", "return", "length")


def row(
    run: str, section: dict[str, Any], seeds: Sequence[int], updates: int, played: Sequence[dict]
) -> dict[str, Any]:
    """Return the row of one run on one task.

    Args:
      run: its folder.
      section: the configuration of the environment that was played.
      seeds: the seeds of the agents.
      updates: number of updates of their parameters.
      played: of each seed, as `Agent.play` returns it.
    """
    episodes = {name: [values[name].tolist() for values in played] for name in played[0]}
    return {"run": run, "environment": section, "seeds": list(seeds), "updates": updates} | episodes


def table(rows: Sequence[dict]) -> str:
    """Return rows as a table: per twin the mean and the interquartile mean of the returns, with intervals."""
    runs = max(map(len, ["run", *(item["run"] for item in rows)])) + 2
    tasks = max(len(_task(item)) for item in rows) + 2
    lines = [
        f"{'run':{runs}}{'task':{tasks}}{'twin':9}{'seeds':>5}{'episodes':>10}{'mean':>9}{'95 % interval':>19}"
        f"{'iqm':>9}{'95 % interval':>19}{'length':>9}{'memoryless':>12}{'best':>8}  each seed"
    ]
    for item in rows:
        known = known_bounds(item["environment"])
        for twin in TWINS:
            values = np.asarray(item[f"return_{twin}"])
            memoryless = known.memoryless if known and twin == "partial" else None
            best = known.memory if known else None
            lines.append(
                f"{item['run']:{runs}}{_task(item):{tasks}}{twin:9}{len(values):5}{values.shape[1]:10}"
                f"{values.mean():9.3f}{_interval(values, lambda x: x.mean(axis=(-2, -1))):>19}"
                f"{statistics.iqm(values):9.3f}{_interval(values, statistics.iqm_of_draws):>19}"
                f"{np.mean(item[f'length_{twin}']):9.1f}{number(memoryless):>12}{number(best):>8}"
                f"  {' '.join(f'{value:.3f}' for value in values.mean(axis=1))}"
            )
    return "\n".join([*lines, *_notes(rows)])


def _task(item: dict) -> str:
    return f"{item['environment']['name']}/{item['environment']['level']}"


def _interval(values: np.ndarray, statistic) -> str:
    low, high = statistics.bootstrap(values, statistic)
    return f"{low:.3f} to {high:.3f}"


def _notes(rows: Sequence[dict]) -> list[str]:
    lines = []
    for seeds in sorted({len(item["seeds"]) for item in rows}):
        if seeds == 1:
            lines.append("1 seed: bootstrap over its episodes; the interval says nothing about other seeds")
            continue
        attained = max((count, share) for count, share in statistics.BOOTSTRAP_ATTAINED.items() if count <= seeds)
        lines.append(
            f"{seeds} seeds: bootstrap over seeds and episodes; over {attained[0]} seeds its nominal 95 % attain about "
            f"{round(100 * attained[1])} %"
        )
    return lines


def write_csv(rows: Sequence[dict], path: pathlib.Path) -> None:
    """Write one line for each episode, with the columns `COLUMNS`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_records(rows))


def _records(rows: Sequence[dict]) -> Iterator[tuple]:
    for item in rows:
        place = item["run"], item["environment"]["name"], item["environment"]["level"]
        for twin in TWINS:
            for seed, returns, lengths in zip(
                item["seeds"], item[f"return_{twin}"], item[f"length_{twin}"], strict=True
            ):
                for episode, (value, length) in enumerate(zip(returns, lengths, strict=True)):
                    yield *place, twin, seed, episode, value, int(length)
