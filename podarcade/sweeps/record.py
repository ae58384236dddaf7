"""The recorded plan of a sweep, plan.json: which programs train which runs, so that a restart makes the same ones.

    {"version": 1, "programs": [{"folder": ".programs/tmaze-easy-partial/gru", "paths": ["algorithm.discount"],
      "runs": [{"folder": "tmaze-easy-partial/gru/algorithm.discount=0.9", "task": "tmaze-easy-partial",
                "agent": "gru", "config": "configs/pqn.py:game=tmaze,memory=gru",
                "overrides": {"frames": "100000"}, "values": {"algorithm.discount": 0.9}, "seed": 0, "seeds": 5},
               ...]}, ...]}

A program of one run has the folder of its run; that of a population is hidden, since it holds nothing of interest once
its members are complete. Programs of cells that leave the sweep stay on record, and are not trained.
"""

import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from podarcade.runtime.lock import Lock, WorkdirInUse
from podarcade.runtime.run_files import write_json

NAME = "plan.json"
VERSION = 1
PATIENCE = 900.0  # seconds to wait for another launcher that plans in the same folder, and may measure first

QUIET = 2.0  # seconds of them without a word


def structure_key(config: str, overrides: Mapping[str, str]) -> str:
    """Return the text that identifies a structure: a configuration with overrides, in any order, without values."""
    return json.dumps([config, sorted(overrides.items())])


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of the plan; the keys of `plan.json`."""

    folder: str
    task: str
    agent: str
    config: str
    overrides: dict[str, str]
    values: dict[str, float]
    seed: int
    seeds: int

    @property
    def range(self) -> range:
        """All its seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def key(self) -> str:
        """Key of its structure, see `Structure.key`."""
        return structure_key(self.config, self.overrides)


@dataclasses.dataclass(frozen=True)
class PlannedProgram:
    """One program of the plan; several runs are the members of a population, which differ in the values of `paths`."""

    folder: str
    paths: tuple[str, ...]
    runs: tuple[PlannedRun, ...]


def read(folder: pathlib.Path) -> list[PlannedProgram]:
    """Return the recorded programs; none in a folder without a sweep.

    Raises:
      ValueError: the file is damaged, or of another version.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["version"]
        found = [_program(entry) for entry in content["programs"]] if version == VERSION else []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); choose another --workdir") from None
    if version != VERSION:
        raise ValueError(f"{path} has version {version}; expected {VERSION}: choose another --workdir")
    return found


def _program(entry: dict[str, Any]) -> PlannedProgram:
    runs = tuple(PlannedRun(**run) for run in entry["runs"])
    return PlannedProgram(entry["folder"], tuple(entry["paths"]), runs)


def write(folder: pathlib.Path, programs: list[PlannedProgram]) -> None:
    """Write the plan atomically."""
    write_json(folder / NAME, {"version": VERSION, "programs": [dataclasses.asdict(program) for program in programs]})


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keep other launchers from planning in the folder, which is created; say so where one plans already.

    Raises:
      WorkdirInUse: another one has been planning for too long.
    """
    began, has_said = time.monotonic(), False
    while True:
        try:
            lock = Lock(folder)
            break
        except WorkdirInUse:
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise
            if waited > QUIET and not has_said:
                print(f"another launcher plans in {folder}, and may measure first; waiting", flush=True)
                has_said = True
            time.sleep(0.1)
    with lock:
        yield
