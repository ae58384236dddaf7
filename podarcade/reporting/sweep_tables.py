"""What a sweep ends in: one tidy table of all evaluations, and the scores of its complete runs.

sweep.csv and sweep.parquet have a row for each run, seed and evaluation:

| column | meaning |
|---|---|
| `run` | folder of the run, relative to that of the sweep |
| `task`, `game`, `level`, `twin` | what it trains on: the name of all three, and each |
| `agent` | name of the variant |
| `config.x.y` | each option that has several values among the runs of a task, but for the task's own and the seeds |
| `seed`, `complete` | number of the seed; whether its run has trained to the end |
| `updates`, `frames` | when the evaluation was: updates, and environment steps of this seed |
| `return` | greedy return on the twin that is trained on, mean over the starts of the evaluation |
| `return_full`, `return_partial` | the same on each twin |
| `final`, `final_full`, `final_partial` | of the final parameters on fresh starts: in the last row of a seed only |

So `table.dropna(subset=["final"])` has one row for each seed that has finished.
"""

import collections
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from podarcade.anakin.evaluate import TWINS
from podarcade.reporting import frames, results, scores
from podarcade.runtime import starts
from podarcade.runtime.differences import flatten
from podarcade.runtime.run_files import ADDED

NAMES = ("sweep.csv", "sweep.parquet")
OF_THE_TASK = ("config.environment.name", "config.environment.level", "config.environment.observability")
SEEDS = ("config.seed", "config.seeds", "config.preset_asked")
RETURNS = {"return": "eval/return", "final": "final/return"}  # columns -> metrics, of each twin


class Run(Protocol):
    """A run of a sweep, as `sweeps.jobs.Job` is one.

    Attributes:
      task: named tuple of game, level and twin, with a `name`.
      variant: name of the agent.
      workdir: folder of the run.
      arguments: `--config=... --config.x=y` of `podarcade.launch`.
      config: the whole configuration.
    """

    task: Any
    variant: str
    workdir: pathlib.Path
    arguments: tuple[str, ...]
    config: dict

    def records(self) -> list[dict]:
        """Return the records of metrics.jsonl so far."""

    def is_complete(self) -> bool:
        """Return whether the run has trained to its end."""


def write(runs: Sequence[Run], folder: pathlib.Path, name: str, last: float) -> list[str]:
    """Write sweep.csv, sweep.parquet and scores/NAME.json into the folder of a sweep; return lines on them.

    Args:
      runs: of the sweep, complete or not.
      folder: of the sweep.
      name: of the scores.
      last: as of `results.final_statistics`.
    """
    columns = tidy(runs, folder)
    lines = []
    for file in NAMES:
        try:
            frames.write(columns, folder / file)
            lines.append(f"{len(columns['run']):,} evaluations: {folder / file}")
        except ModuleNotFoundError:
            lines.append(f"{file} is not written: it needs pyarrow (pip install 'podarcade[export]')")
    rows, refused = score_rows(runs, last)
    if rows:
        path = folder / "scores" / f"{name}.json"
        scores.write(path, rows)
        lines.append(f"scores of {len(rows)} of {len(runs)} runs: {path}")
    return lines + refused


def tidy(runs: Sequence[Run], folder: pathlib.Path) -> dict[str, list]:
    """Return the columns of the table, of equal length; None is a missing value.

    Args:
      runs: of the sweep; those without an evaluation have no rows.
      folder: which `run` is relative to.
    """
    configs = [_flat(run.config) for run in runs]
    options = differing(runs)
    names = ("run", "task", "game", "level", "twin", "agent", *options, "seed", "complete", "updates", "frames")
    returns = [f"{column}{twin}" for column in RETURNS for twin in ("", *(f"_{twin}" for twin in TWINS))]
    columns: dict[str, list] = {column: [] for column in (*names, *returns)}
    for run, config in zip(runs, configs, strict=True):
        about = {"run": _relative(run.workdir, folder), "task": run.task.name, **run.task._asdict()}
        about |= {"agent": run.variant, "complete": run.is_complete()}
        about |= {option: config.get(option) for option in options}
        for point in _points(run):
            for column, values in columns.items():
                values.append((about | point)[column])
    return columns


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _flat(config: dict) -> dict[str, Any]:
    return {f"config.{name}": value for name, value in (ADDED | dict(flatten(config))).items()}


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the options, as "config.x.y", in which runs of one task differ, but for their seeds.

    An option that only some plug-ins have differs if it has several values among these.
    """
    values = collections.defaultdict(set)
    for run in runs:
        for option, value in _flat(run.config).items():
            values[run.task, option].add(json.dumps(value))
    found = {option for (_, option), texts in values.items() if len(texts) > 1}
    return sorted(found.difference(OF_THE_TASK, SEEDS))


def _points(run: Run) -> Iterator[dict[str, Any]]:
    """Yield seed, updates, frames and returns of every evaluation, seed by seed."""
    records = [record for record in run.records() if f"eval/return_{TWINS[0]}" in record]
    for index, seed in enumerate(results.seeds_of(run.config)):
        for record in records:
            count = results.per_seed(record["frames"])
            point = {"seed": seed, "updates": record["updates"], "frames": count[min(index, len(count) - 1)]}
            for column, metric in RETURNS.items():
                values = {f"{column}_{twin}": _of_seed(record, f"{metric}_{twin}", index) for twin in TWINS}
                point |= values | {column: values[f"{column}_{run.task.twin}"]}
            yield point


def _of_seed(record: dict, metric: str, index: int) -> float | None:
    return results.per_seed(record[metric])[index] if metric in record else None


def score_rows(runs: Sequence[Run], last: float) -> tuple[list[dict], list[str]]:
    """Return the scores of the runs that are complete, and a line for each of them that `scores.row` refuses.

    Runs of one task and variant that differ in options are agents of different names, as in "gru, learning_rate=0.001",
    whether the others are complete or not: an agent keeps its name while others train.
    """
    found, refused = [], []
    for run, agent in zip(runs, agents(runs), strict=True):
        if not run.is_complete():
            continue
        try:
            result = results.row(run.task._asdict(), agent, run.config, run.records(), last)
            origin = scores.origin_of(starts.read(run.workdir))
            found.append(scores.row(result, scores.command(run.arguments, run.config), origin))
        except ValueError as error:
            refused.append(f"WARNING: no scores of a run, {error}")
    return found, refused


def agents(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: its variant, with the options in which runs of the variant differ on a task."""
    variants = collections.defaultdict(list)
    for run in runs:
        variants[run.variant].append(run)
    options = {name: [x for x in differing(same) if _is_of_agent(x)] for name, same in variants.items()}
    names = []
    for run in runs:
        config = _flat(run.config)
        values = (f"{path.rpartition('.')[2]}={config.get(path)}" for path in options[run.variant])
        names.append(", ".join([run.variant, *values]))
    return names


def _is_of_agent(option: str) -> bool:
    return not option.startswith(("config.environment.", "config.mesh.", "config.checkpoint.")) and option not in (
        "config.max_skipped", "config.frames",
    )  # fmt: skip
