"""The members of a population, which was trained in one program, as runs of their own.

Once the program is complete, each member gets the folder that it would have, had it been trained alone: configuration,
metrics, checkpoints. It can be loaded, evaluated and extended like any other run. A member that has diverged gets none.
The folder of the program keeps its metrics and members.json, which says what became of each member:

    {"complete": ["algorithm.discount=0.9"], "diverged": {"algorithm.discount=0.99": "104 gradient steps were ..."}}
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from podarcade.runtime import run_files, stored
from podarcade.runtime.metrics import METRICS, SKIPPED, Writer, read_metrics
from podarcade.runtime.run import Run

MEMBERS = "members.json"
RATE = "frames_per_second"  # of all slots


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of a population.

    Attributes:
      name: of its folder.
      config: its configuration, as if it were trained alone.
      first: the first of its slots on the seed axis.
      seeds: number of its seeds.
    """

    name: str
    config: dict[str, Any]
    first: int
    seeds: int

    def of_array(self, array: np.ndarray) -> np.ndarray:
        """Return its part of an array [slots, ...]."""
        return array[self.first : self.first + self.seeds]

    def of_record(self, record: dict[str, Any], slots: int) -> dict[str, Any]:
        """Return its part of a record of metrics, where lists over slots become those over its seeds."""
        own = {
            key: self._of_list(value) if isinstance(value, list) and len(value) == slots else value
            for key, value in record.items()
        }
        return own | {RATE: record[RATE] * self.seeds / slots} if RATE in record else own

    def _of_list(self, values: list) -> Any:
        kept = values[self.first : self.first + self.seeds]
        return kept[0] if self.seeds == 1 else kept


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Return what became of the members of a program; None where they are not written yet, or the run is none."""
    path = workdir / MEMBERS
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found or None


def mark(workdir: pathlib.Path) -> None:
    """Mark a folder as that of a population, which is no run of its own."""
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / MEMBERS).exists():
        run_files.write_json(workdir / MEMBERS, {})


def split(
    run: Run,
    workdir: pathlib.Path,
    members: Sequence[Member],
    target: pathlib.Path,
    finish: Callable[[Member, pathlib.Path], None],
) -> dict[str, Any]:
    """Write the folder of each member of a complete program, then remove the program's checkpoints.

    A member appears under its name when its folder is whole, so that this can be interrupted and repeated.

    Args:
      run: the program's.
      workdir: its folder.
      members: all of them, in order.
      target: folder that gets a folder for each.
      finish: called with each member and the folder it is made in, after all else is written there.

    Returns:
      What became of the members, as members.json has it.
    """
    slots, newest = len(run.seeds), stored.record(_newest(workdir / "checkpoints"))["progress"]
    skipped = np.asarray(newest["skipped"])
    found: dict[str, Any] = {"complete": [], "diverged": {}}
    for member in members:
        if (worst := member.of_array(skipped).max()) >= run.max_skipped:
            limit = f"the limit is max_skipped={run.max_skipped}"
            found["diverged"][member.name] = f"{worst} gradient steps of a seed were not finite, {limit}"
            continue
        found["complete"].append(member.name)
        if not (target / member.name / run_files.CONFIG).exists():
            part = target / f".{member.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            _write(run, workdir, member, slots, part)
            finish(member, part)
            part.rename(target / member.name)
    run_files.write_json(workdir / MEMBERS, found)
    shutil.rmtree(workdir / "checkpoints")
    return found


def _newest(directory: pathlib.Path) -> pathlib.Path:
    return directory / str(stored.steps(directory)[-1])


def _write(run: Run, workdir: pathlib.Path, member: Member, slots: int, part: pathlib.Path) -> None:
    """Write the run of a member, without its picture."""
    run_files.write_config(member.config, part)
    records = [member.of_record(record, slots) for record in read_metrics(workdir / METRICS)]
    writer = Writer(part)
    for record in records:
        writer.write(record)
    writer.close()
    _write_skipped(workdir, member, part)
    starts = json.loads((workdir / "run.json").read_text(encoding="utf-8"))
    program = os.path.relpath(workdir, part.with_name(member.name))
    about = {"program": program, "member": member.name, "slots": slots}
    run_files.write_json(part / "run.json", [start | {"population": about} for start in starts])
    _write_checkpoints(run, workdir, member, {record["updates"]: record for record in records}, part)


def _write_skipped(workdir: pathlib.Path, member: Member, part: pathlib.Path) -> None:
    """Write the records of skipped gradient steps whose first is one of this member's."""
    path = workdir / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for record in map(json.loads, lines):
        seed = record["seed"] - member.first
        if 0 <= seed < member.seeds:
            own = record | {"seed": seed, "skipped": member.of_array(np.asarray(record["skipped"])).tolist()}
            with open(part / SKIPPED, "a", encoding="utf-8") as file:
                file.write(json.dumps(own) + "\n")


def _write_checkpoints(
    run: Run, workdir: pathlib.Path, member: Member, records: dict[int, dict], part: pathlib.Path
) -> None:
    """Write a member's part of every checkpoint of its program."""
    origin = run.origin | {"config": run_files.comparable(member.config)}
    own = dataclasses.replace(run, origin=origin).checkpoints(part)
    try:
        for step in stored.steps(workdir / "checkpoints"):
            found = stored.read(workdir / "checkpoints", step, "")
            arrays = {name: jnp.asarray(member.of_array(array)) for name, array in found.arrays.items()}
            saved = found.record["progress"] | {"unwritten": []}
            progress = {
                name: member.of_array(value) if name in ("frames", "skipped") else value
                for name, value in saved.items()
            }
            own.save(step, arrays, progress, run.checkpoint_score(records.get(step, {})))
            if not own.wait():
                raise OSError(f"the checkpoint of {member.name} could not be written; make room and run this again")
    finally:
        own.close()
