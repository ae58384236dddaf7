"""Markdown tables of recorded results: the helpers that all of them share."""

import json
import math
import pathlib
from collections.abc import Iterable

RESULTS = pathlib.Path(__file__).parent / "results"

Cells = Iterable[object]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def result(name: str) -> dict:
    """Return the recorded result benchmarks/results/NAME.json."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def geometric(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(mean([math.log(value) for value in values]))


def task(row: dict) -> str:
    """Return the task of a run for display, as in `cartpole easy, partial`."""
    return "{game} {level}, {twin}".format(**row["task"])


def seeds(values: list[float]) -> str:
    """Return the value of every seed, in the order of the seeds."""
    return ", ".join(f"{value:.3f}" for value in values)
