"""Markdown tables of recorded results: the helpers that all of them share."""

import json
import math
import pathlib

from podarcade.reporting.markdown import table as table

RESULTS = pathlib.Path(__file__).parent / "results"


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
