"""Tasks, variants of a configuration, and the runs they make."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from podarcade import configuration
from podarcade.configuration import command_line, validation
from podarcade.runtime import run_files
from podarcade.runtime.metrics import METRICS, read_last, read_metrics, seed_mean


class Task(NamedTuple):
    """One level of a game, and the twin that is trained on."""

    game: str
    level: str
    twin: str

    @property
    def name(self) -> str:
        """Name for lines and folders, "minesweeper-easy-partial"."""
        return "-".join((pathlib.PurePath(self.game).name.removesuffix(".py"), self.level, self.twin))


class Variant(NamedTuple):
    """A configuration that is compared: a file, its arguments, and overrides `config.x=y`."""

    name: str
    file: str
    arguments: tuple[str, ...]
    overrides: tuple[str, ...]


def read_task(text: str) -> Task:
    """Read "minesweeper/partial", "minesweeper/hard/partial" or "my/games/tmaze.py/partial".

    Raises:
      ValueError: the text has another form.
    """
    found = re.fullmatch(r"(.+\.py|[^/]+)(?:/([^/]+))?/(full|partial)", text)
    if found is None:
        expected = "GAME/TWIN or GAME/LEVEL/TWIN, where TWIN is full or partial and + joins several of each"
        raise ValueError(f"task {text!r}; expected {expected}")
    game, level, twin = found.groups()
    return Task(game, level or "easy", twin)


def read_tasks(text: str) -> list[Task]:
    """Read "cartpole+tetris/easy+hard/full+partial": every combination of games, levels and twins, in this order.

    Raises:
      ValueError: a task has another form than `read_task` reads.
    """
    return [read_task("/".join(parts)) for parts in itertools.product(*(part.split("+") for part in text.split("/")))]


def read_variant(text: str, config: str) -> Variant:
    """Read "NAME:ITEM,ITEM", where an ITEM is `file=FILE.py`, an argument of the file, or an override `config.x=y`.

    A value may contain commas, as a schedule of twins does.

    Args:
      text: what to read; the name alone stands for the plain configuration.
      config: FILE.py or FILE.py:ARGUMENTS, to which the items are added; another file takes none of its arguments.

    Raises:
      ValueError: the name is empty, or an item has no value.
    """
    name, _, items = text.partition(":")
    if not name:
        raise ValueError(f"variant {text!r} has no name; expected NAME:x=y,config.x.y=z")
    file, _, plain = config.partition(":")
    arguments, overrides = list(filter(None, plain.split(","))), []
    for item in filter(None, re.split(r",(?=[\w.]+=)", items)):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"variant {text!r}: {item!r} has no value; expected memory=gru or config.num_envs=8")
        if key == "file":
            file, arguments = value, []
        elif key.startswith("config."):
            overrides.append(item)
        else:
            arguments.append(item)
    return Variant(name, file, tuple(arguments), tuple(overrides))


def check_overrides(overrides: Iterable[str]) -> None:
    """Raise ValueError unless every override is spelled `config.x=y`."""
    for item in overrides:
        if not item.startswith("config.") or "=" not in item:
            raise ValueError(f"override {item!r}; expected config.x=y, as in --override=config.num_envs=8")


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep.

    Attributes:
      task: what is trained on.
      variant: name of the variant.
      workdir: folder of the run.
      arguments: `--config=... --config.x=y` of `podarcade.launch`.
      config: the whole configuration, as config.json holds it.
      total_updates: updates of the complete run.
      values: options in which it differs from runs of the same variant on the same task, by path.
    """

    task: Task
    variant: str
    workdir: pathlib.Path
    arguments: tuple[str, ...]
    config: dict
    total_updates: int
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the variant in tables, with the values in which it differs: "gru, learning_rate=0.0003"."""
        values = [f"{path.rpartition('.')[2]}={value!r}" for path, value in self.values.items()]
        return ", ".join([self.variant, *values])

    @property
    def name(self) -> str:
        """Name in lines about the run."""
        part = [self.workdir.name] if self.workdir.name.startswith("seeds=") else []
        return " ".join([self.task.name, self.label, *part])

    @property
    def seeds(self) -> int:
        """Number of agents that are trained side by side."""
        return self.config["seeds"]

    @property
    def frames(self) -> int:
        """Environment steps of all seeds together."""
        return self.seeds * run_files.planned_frames(self.config)

    def records(self) -> list[dict]:
        """Return the records of metrics.jsonl so far."""
        path = self.workdir / METRICS
        return read_metrics(path) if path.exists() else []

    def latest(self) -> list[dict]:
        """Return the last records of metrics.jsonl so far."""
        return read_last(self.workdir / METRICS)

    def is_complete(self) -> bool:
        """Return whether the run trained to its end and drew its learning curve, the last thing that is needed."""
        records = self.latest() if (self.workdir / "learning_curve.svg").exists() else []
        return bool(records) and records[-1]["updates"] >= self.total_updates

    def last_return(self, records: list[dict]) -> float | None:
        """Return the latest greedy return on the task's twin, mean over seeds; None before the first evaluation."""
        key = f"eval/return_{self.task.twin}"
        return next((seed_mean(record[key]) for record in reversed(records) if key in record), None)


def plan(
    tasks: Iterable[Task], variants: Iterable[Variant], seeds: int, overrides: Iterable[str], folder: pathlib.Path
) -> list[Job]:
    """Return a job for each task and variant, with every configuration loaded and checked; nothing is written.

    Args:
      tasks: what to train on.
      variants: configurations to compare.
      seeds: runs side by side in each job, unless a variant overrides `config.seeds`.
      overrides: `config.x=y` for all variants; a variant's own override wins.
      folder: folder of the sweep; runs are kept in FOLDER/TASK/VARIANT.

    Raises:
      ValueError: a name, field or value does not exist; two jobs have one folder; a folder holds another run.
    """
    check_overrides(overrides)
    found: dict[pathlib.Path, Job] = {}
    for task in tasks:
        for variant in variants:
            try:
                job = _job(task, variant, [f"config.seeds={seeds}", *overrides, *variant.overrides], folder)
                run_files.holds_run(job.config, job.workdir)
            except ValueError as error:
                raise ValueError(f"{task.name} {variant.name}: {error}") from error
            if job.workdir in found:
                raise ValueError(f"two runs called {job.name!r}; rename one variant")
            found[job.workdir] = job
    return list(found.values())


def _job(task: Task, variant: Variant, overrides: list[str], folder: pathlib.Path) -> Job:
    partial = str(task.twin == "partial").lower()
    structure = [f"game={task.game}", f"level={task.level}", f"partial={partial}", *variant.arguments]
    # Each field once: the last override wins.
    values = {item.partition("=")[0]: item for item in overrides}
    arguments = (f"--config={variant.file}:{','.join(structure)}", *(f"--{item}" for item in values.values()))
    config = command_line.configured(list(arguments))
    validation.check(config)
    workdir = folder / task.name / re.sub(r"[^\w.,+=@-]+", "_", variant.name)
    return Job(task, variant.name, workdir, arguments, config.to_dict(), configuration.total_updates(config))
