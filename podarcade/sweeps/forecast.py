"""How long a sweep takes, from the speed of runs that are complete."""

import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from podarcade.runtime.console import count
from podarcade.runtime.metrics import METRICS, evaluation_seconds, read_metrics
from podarcade.sweeps.programs import Program

Speeds = dict[tuple[str, ...], float]  # what is trained, from the most to the least specific -> frames per second
WIDTH = 60  # characters of a program's name


def speeds(programs: Iterable[Program], results: Sequence[pathlib.Path] = ()) -> Speeds:
    """Return the frames per second, all slots together and evaluations included, of what has been trained.

    Args:
      programs: of the sweep; those that are complete count, a population as a whole: its members ran side by side.
      results: files of `podarcade.compare`, for what no run here has trained.
    """
    found: dict[tuple[str, ...], list[float]] = {}
    for file in results:
        for row in _rows(file):
            for key in _keys(row["config"]):
                found.setdefault(key, []).append(row["frames_per_second"])
    measured: dict[tuple[str, ...], list[float]] = {}
    for program in programs:
        path = program.workdir / METRICS
        records = read_metrics(path) if program.is_settled() and path.exists() else []
        if records:
            seconds = records[-1]["seconds"] + evaluation_seconds(records)
            for key in _keys(program.jobs[0].config):
                measured.setdefault(key, []).append(float(np.sum(records[-1]["frames"])) / max(seconds, 1e-9))
    return {key: float(np.median(values)) for key, values in (found | measured).items()}


def _rows(file: pathlib.Path) -> list[dict]:
    """Return the rows of a result that say how fast they were trained; none of a file of another kind."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["runs"]
        return [row for row in rows if row["frames_per_second"] > 0 and "environment" in row["config"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _keys(config: dict) -> list[tuple[str, ...]]:
    task = (config.get("preset", ""), config["environment"]["name"])
    algorithm, memory = config["algorithm"]["name"], config["memory"]["name"]
    return [(*task, algorithm, memory), (*task, algorithm), task]


def seconds(program: Program, known: Speeds) -> float | None:
    """Return the time that a program takes on one worker, None where nothing like it has been trained."""
    speed = next((known[key] for key in _keys(program.jobs[0].config) if key in known), None)
    return None if speed is None else program.frames / speed


def table(programs: Sequence[Program], known: Speeds, workers: int) -> str:
    """Return the programs of a plan as a table, with their predicted hours, and the total below it.

    Args:
      programs: of a sweep.
      known: as `speeds` returns it.
      workers: programs at once; 0 where that is not known.
    """
    lines = [f"{'program':{WIDTH}}{'runs':>6}{'slots':>7}{'frames':>9}{'hours':>10}  state"]
    total = unknown = 0.0
    for program in programs:
        took = 0.0 if (is_settled := program.is_settled()) else seconds(program, known)
        total, unknown = total + (took or 0.0), unknown + (took is None)
        hours = "unknown" if took is None else f"{took / 3600:.2f}"
        name = program.name if len(program.name) < WIDTH else f"{program.name[: WIDTH - 4]}..."
        state = "waiting" if not is_settled else "diverged" if program.diverged() else "complete"
        lines.append(
            f"{name:{WIDTH}}{len(program.jobs):6}{program.slots:7}{count(program.frames):>9}{hours:>10}  {state}"
        )
    runs, frames = sum(len(program.jobs) for program in programs), sum(program.frames for program in programs)
    text = f"{len(programs)} programs, {runs} runs, {count(frames)} frames"
    left = f"{total / 3600:.2f} hours left on one worker"
    left += f", {total / 3600 / workers:.2f} on {workers}" if workers > 1 else ""
    left += f", and {unknown:.0f} programs of unknown speed" if unknown else ""
    return "\n".join([*lines, f"{text}; {left}"])
