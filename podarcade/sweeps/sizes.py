"""How many agents one program of a sweep trains, measured on this machine where that is worth its time.

A program of n agents that train F frames each takes c + n F / r(n) seconds: c to start and to compile, and r(n) frames
per second of all agents together. Chosen is the n with the least time for each agent, c / n + F / r(n); as far as what
was measured holds, one program is then never slower than its agents one after the other. What is measured once for a
kind of agent, such as PPO with a GRU on tasks without pixels, holds for all its tasks, and is kept in probe.json.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from podarcade.runtime import backend, failures, supervisor
from podarcade.runtime.run_files import planned_frames, write_json
from podarcade.sweeps.structures import Structure

RECORD = "probe.json"
SIZES = (1, 4, 16, 64)
STARTUP = 10.0  # seconds until a program compiles
VECTOR_SLOTS, PIXEL_SLOTS = 64, 16  # agents side by side without a measurement; of pixels on an accelerator
WORTHWHILE = {True: 5e7, False: 2e6}  # frames of a kind of agent, without and with pixels, from which on it is measured
Rows = list[dict[str, Any]]  # of `podarcade.probe`


def unmeasured(structure: Structure, agents: int) -> int:
    """Return how many agents one program trains: many of a task without pixels, which keep a core busy only together.

    Pixels fill a core with one agent, and an accelerator with several.
    """
    if structure.is_vector:
        return VECTOR_SLOTS
    return PIXEL_SLOTS if backend.accelerator() else 1


def best(rows: Rows, frames: float) -> int:
    """Return the number of agents with the least seconds for each.

    Args:
      rows: of `podarcade.probe`: seeds, frames_per_second of all seeds, compile_seconds.
      frames: F, of each agent.
    """

    def seconds(row: dict[str, Any]) -> float:
        return (STARTUP + row["compile_seconds"]) / row["seeds"] + frames / row["frames_per_second"]

    return min(rows, key=lambda row: (seconds(row), row["seeds"]))["seeds"]


class Sizes:
    """Number of agents of one program of a structure, measured where a kind of agent trains long enough.

    Args:
      folder: of the sweep; measurements are kept there.
      say: called with a line for each decision that rests on a measurement.
      options: arguments of `podarcade.probe`, such as `--cpu_devices=1`.
      probe: measures a structure, see `run_probe`; None uses what is on record only.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        say: Callable[[str], None],
        options: tuple[str, ...],
        probe: Callable[[Structure, list[int], tuple[str, ...]], Rows] | None,
    ):
        self._path, self._say, self._options = folder / RECORD, say, options
        self._probe = probe
        self._known: dict[str, Rows] = _read(self._path)

    def __call__(self, structure: Structure, agents: int) -> int:
        """Return how many agents one program should train.

        Args:
          structure: of the agents.
          agents: how many the sweep has of it.
        """
        kind, frames = _kind(structure), planned_frames(structure.config)
        if kind not in self._known:
            if self._probe is None or agents == 1 or agents * frames < WORTHWHILE[structure.is_vector]:
                return unmeasured(structure, agents)
            self._measure(kind, structure, agents)
        if not (rows := self._known[kind]):
            return unmeasured(structure, agents)
        size = best(rows, frames)
        rates = ", ".join(f"{row['seeds']}: {row['frames_per_second']:,.0f}" for row in rows)
        self._say(f"{kind}: {size} in one program (frames/s by agents side by side: {rates})")
        return size

    def _measure(self, kind: str, structure: Structure, agents: int) -> None:
        sizes = [size for size in SIZES if size <= agents]
        self._say(f"{kind}: measuring programs of {', '.join(map(str, sizes))} agents ...")
        self._known[kind] = self._probe(structure, sizes, self._options)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._known)


def _read(path: pathlib.Path) -> dict[str, Rows]:
    """Return the measurements on record.

    Raises:
      ValueError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, and what it holds is measured again") from None


def _kind(structure: Structure) -> str:
    """Return what tasks of one speed have in common, in words."""
    config, kind = structure.config, "vector" if structure.is_vector else "pixel"
    network = f"{config['network']['layers']} x {config['memory']['name']} {config['network']['width']}"
    return f"{config['algorithm']['name']} {network}, {config['num_envs']} environments, {kind} tasks"


def run_probe(structure: Structure, sizes: list[int], options: tuple[str, ...]) -> Rows:
    """Measure a structure in a process of its own; return no rows where that fails, and say why."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / RECORD
        command = [
            sys.executable, "-m", "podarcade.probe", *structure.arguments, f"--sizes={','.join(map(str, sizes))}",
            f"--json={path}", *options,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(path.read_text(encoding="utf-8"))["rows"]
    print(f"not measured: {supervisor.describe(done.returncode)}: {done.stderr.strip()[-failures.MAX_LENGTH :]}")
    return []
