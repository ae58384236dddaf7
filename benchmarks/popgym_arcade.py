"""Run the experiments of both POPGym Arcade papers: train, measure and draw, one command for each figure.

    python -m benchmarks.popgym_arcade
    python -m benchmarks.popgym_arcade v2/pareto --print
    python -m benchmarks.popgym_arcade v2/pareto
    python -m benchmarks.popgym_arcade v2/noise --folder=runs/small --tasks=cartpole/partial --seeds=1

Without a name it lists the experiments. Further flags are added to each `podarcade compare`, where they win. Complete
runs are read and measurements that exist are kept: re-run the same command to resume. It needs bash and a checkout of
the repository, and writes to runs/popgym_arcade in the working directory, or to another --folder: runs of another size
need one of their own.
"""

import dataclasses
import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys

from benchmarks import markdown
from benchmarks.popgym_commands import DRAWN, FOLDER
from benchmarks.popgym_experiments import EXPERIMENTS, Experiment
from podarcade import compare, plugins
from podarcade.sweeps import jobs

RATE = 4300  # frames per second of the released trainer on a desktop GPU, read off its published curves
WIDTH = 116  # columns of a command in the documentation


@dataclasses.dataclass(frozen=True)
class Size:
    """What an experiment trains: runs, each seed counted, and frames of all runs."""

    runs: int
    frames: int


def find(name: str) -> Experiment:
    """Return an experiment by name.

    Raises:
      ValueError: unknown experiment.
    """
    found = {experiment.name: experiment for experiment in EXPERIMENTS}
    if name not in found:
        raise ValueError(plugins.unknown("experiment", name, found))
    return found[name]


def comparisons(experiment: Experiment) -> list[tuple[list[jobs.Task], list[jobs.Variant], object]]:
    """Return tasks, variants and options of each `podarcade compare` of an experiment."""
    found = []
    for command in experiment.commands:
        words = shlex.split(command)
        if words[:2] == ["podarcade", "compare"]:
            options = compare.make_flags()
            options(words[1:])
            tasks = [task for text in options.tasks for task in jobs.read_tasks(text)]
            found.append((tasks, compare.variants(options), options))
    return found


@functools.cache
def size(experiment: Experiment) -> Size:
    """Return what an experiment trains if none of its runs exists; the budget of a run depends on its game alone."""
    runs = frames = 0
    for tasks, variants, options in comparisons(experiment):
        for game in dict.fromkeys(task.game for task in tasks):
            same = [task for task in tasks if task.game == game]
            (job,) = jobs.plan(same[:1], variants[:1], options.seeds, options.override, pathlib.Path("none"))
            count = len(same) * len(variants) * options.seeds
            runs, frames = runs + count, frames + count * job.config["frames"]
    return Size(runs, frames)


def figures() -> str:
    """Return a table of the experiments, with what they train."""
    rows = []
    for one in EXPERIMENTS:
        trained = size(one)
        hours = f"{trained.frames / RATE / 3600:,.0f}" if trained.frames else "-"
        millions = f"{trained.frames / 1e6:,.0f}" if trained.frames else "-"
        rows.append([f"`{one.name}`", one.figure, one.shows, f"{trained.runs:,}", millions, hours])
    return markdown.table(["experiment", "figure", "shows", "runs", "million frames", "GPU-hours"], rows)


def drawings() -> str:
    """Return a table of where each experiment is drawn, and what differs."""
    rows = ([f"`{one.name}`", one.drawn, one.differs] for one in EXPERIMENTS)
    return markdown.table(["experiment", "drawn in", "what differs, or had to be chosen"], rows)


def commands() -> str:
    """Return the commands of all experiments as a block of bash for the documentation."""
    parts = [f"# {one.name}\n" + "".join(f"{wrapped(line)}\n" for line in one.commands) for one in EXPERIMENTS]
    return "<!-- needs: gpu -->\n```bash\n" + "\n".join(parts) + "```\n"


def wrapped(command: str) -> str:
    """Return a command of bash on lines of `WIDTH` columns where its words allow."""
    lines = [""]
    for word in re.findall(r"(?:'[^']*'|[^ '])+", command):
        if len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run, print or list experiments; return the exit code."""
    names = [word for word in arguments[1:] if not word.startswith("-")]
    more = [word for word in arguments[1:] if word.startswith("-") and word != "--print"]
    folder = next((word.partition("=")[2] for word in more if word.startswith("--folder=")), FOLDER)
    more = [word for word in more if not word.startswith("--folder=")]
    if "--help" in more or "-h" in more:
        print(__doc__)
        return 0
    if not names:
        print("\n".join(f"{one.name:15} {one.figure:28} {one.shows}" for one in EXPERIMENTS))
        return 0
    try:
        found = [find(name) for name in names]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    chosen = [extended(line, more).replace(FOLDER, folder) for one in found for line in one.commands]
    if "--print" in arguments:
        print("\n".join(chosen))
        return 0
    return run(chosen, DRAWN.replace(FOLDER, folder))


def extended(command: str, more: list[str]) -> str:
    """Return a command, with further flags if it is a comparison."""
    return f"{command} {shlex.join(more)}" if more and command.startswith("podarcade compare ") else command


def run(chosen: list[str], drawn: str = DRAWN) -> int:
    """Run commands one after the other; return the exit code of the first that fails, else 0.

    Args:
      chosen: commands of bash.
      drawn: folder of their figures, which is made.
    """
    pathlib.Path(drawn).mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    for command in chosen:
        print(f"$ {command}", flush=True)
        code = subprocess.run(["bash", "-c", command], env={**os.environ, "PATH": path}).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
