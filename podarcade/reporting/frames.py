"""The metrics of many runs as one tidy table: a row for each number."""

import csv
import importlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from podarcade.runtime.differences import flatten
from podarcade.runtime.metrics import METRICS, read_metrics
from podarcade.runtime.run_files import ADDED

NOT_METRICS = ("updates", "frames")


def tidy(runs: Sequence[pathlib.Path]) -> dict[str, list]:
    """Return columns of equal length: run, the options that differ, seed, updates, frames, metric, value.

    Args:
      runs: folders of runs, which may still be training.

    Returns:
      Column -> values. `seed` is None for a metric that all seeds of a run share, and numbers that were not finite are
      None. An option is a column, as "config.algorithm.learning_rate", where it differs between the runs; a run without
      it has None.

    Raises:
      ValueError: a folder without config.json or metrics.jsonl.
    """
    configs = {run: _config(run) for run in runs}
    options = sorted({name for config in configs.values() for name in config})
    differing = [name for name in options if len({json.dumps(config.get(name)) for config in configs.values()}) > 1]
    columns: dict[str, list] = {
        name: [] for name in ("run", *differing, "seed", "updates", "frames", "metric", "value")
    }
    for run, config in configs.items():
        fixed = {"run": str(run)} | {name: config.get(name) for name in differing}
        for point in _points(_records(run), config["config.seed"], config["config.seeds"]):
            for name, item in (fixed | point).items():
                columns[name].append(item)
    return columns


def write(columns: dict[str, list], path: pathlib.Path) -> None:
    """Write columns as CSV, or as Parquet where the file is called so.

    Raises:
      ModuleNotFoundError: Parquet without pyarrow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = importlib.import_module("pyarrow").table({name: _uniform(values) for name, values in columns.items()})
        importlib.import_module("pyarrow.parquet").write_table(table, path)
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _config(run: pathlib.Path) -> dict[str, Any]:
    try:
        config = dict(flatten({"config": json.loads((run / "config.json").read_text(encoding="utf-8"))}))
    except (OSError, ValueError) as error:
        raise ValueError(f"{run} holds no run: config.json cannot be read ({error})") from None
    if not {"config.seed", "config.seeds"} <= config.keys():
        raise ValueError(f"{run} holds no run: config.json is not the configuration of one")
    return {f"config.{name}": value for name, value in ADDED.items()} | config


def _records(run: pathlib.Path) -> list[dict]:
    try:
        return read_metrics(run / METRICS)
    except OSError as error:
        raise ValueError(f"{run} has no metrics yet ({error})") from None


def _points(records: list[dict], first: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield seed, updates, frames, metric and value of every number; the seeds of a run count from `first`."""
    for record in records:
        for metric in sorted(record.keys() - set(NOT_METRICS)):
            value, frames = record[metric], record["frames"]
            frames = frames if isinstance(frames, list) else [frames]
            if isinstance(value, list):
                found = [(first + k, frames[k], number) for k, number in enumerate(value)]
            else:
                found = [(first if seeds == 1 else None, sum(frames) / len(frames), value)]
            for seed, count, number in found:
                point = {"seed": seed, "updates": record["updates"], "frames": count}
                yield point | {"metric": metric, "value": number}


def _uniform(values: list) -> list:
    """Return a column of one type, which Parquet needs: text where options are of several."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return values if kinds == {int} else [None if value is None else float(value) for value in values]
    return values if len(kinds) == 1 else [None if value is None else str(value) for value in values]
