"""Compare configurations over tasks and seeds: train each, then print and draw their greedy returns.

    python -m podarcade.compare --tasks=minesweeper/partial --memories=lru,gru,none --seeds=5
    python -m podarcade.compare --tasks=cartpole/full,tetris/hard/partial --variant=lru --variant=none:memory=none
    python -m podarcade.compare --tasks=cartpole+tetris/easy+hard/full+partial --memories=lru,none
    python -m podarcade.compare --memories=all --config=configs/pqn_lru.py:match=parameters
    python -m podarcade.compare --variant=mine:config.algorithm.num_epochs=8 --beside=runs/EARLIER/results.json
    python -m podarcade.compare --config=configs/popgym_arcade/pqn.py:preset=cpu --ablate
    python -m podarcade.compare --show=benchmarks/results/learning-cpu.json

A variant has a name and what it changes: arguments of the configuration file (memory=gru), overrides (config.x=y), or
another file (file=FILE.py). Each run is what `podarcade.launch` makes of that configuration, in a process of its own.
Complete runs are read, not trained again: re-run the same command to resume, or with more variants and tasks. More
seeds of the same variants: --override=config.seed=3 --beside=runs/EARLIER/results.json, which pools them.
The folder holds the runs, results.json, results.png (curves) and results-returns.png (final returns). With both twins
and a memory `none` it also prints Observability Gap and Memory Bias and draws results-gap_bias.png, with several depths
or widths results-pareto.png, and analyses runs that switched twins.

Exit code 0: all runs are complete, or Ctrl-C stopped them; 1: an error or a failed run; 75: stopped by SIGTERM or
SIGUSR1, runs saved.
"""

import os
import pathlib
import re
import sys

from absl import flags

from podarcade import plugins, popgym_arcade
from podarcade.configuration import command_line
from podarcade.reporting import comparison, results
from podarcade.runtime import door, run_files, supervisor
from podarcade.runtime.signals import DONE, ERROR, exit_code
from podarcade.sweeps import jobs, processes
from podarcade.sweeps.programs import Program
from podarcade.sweeps.progress import Progress

LONGEST_NAME = 120  # characters of the default folder's name


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()

    def text(name: str, default: str, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def words(name: str, default: list[str], meaning: str) -> None:
        flags.DEFINE_list(name, default, meaning, flag_values=values)

    def repeated(name: str, meaning: str) -> None:
        flags.DEFINE_multi_string(name, [], meaning, flag_values=values)

    text("config", "configs/pqn_lru.py", "configuration file and arguments, without the task")
    words("tasks", ["minesweeper/partial"], "GAME/TWIN or GAME/LEVEL/TWIN; + joins several of each")
    repeated("variant", "NAME:memory=gru,config.x=y; may be repeated; the plain configuration by default")
    words("memories", [], "a variant for each of these memories; all: every memory")
    flags.DEFINE_boolean(
        "ablate",
        False,
        "a variant per quirk of a published configuration, turned off",
        flag_values=values,
    )
    flags.DEFINE_integer("seeds", 3, "seeds of each run, trained side by side", lower_bound=1, flag_values=values)
    repeated("override", "config.x=y for every variant; may be repeated")
    flags.DEFINE_integer(
        "processes", 0, "runs at once; 0: one on each core of a CPU, on each GPU", lower_bound=0,
        flag_values=values,
    )  # fmt: skip
    text("workdir", "", "folder of the comparison; empty: runs/compare-..., named after the configuration")
    text("result", "", "JSON file to write instead of results.json in the folder; pictures are drawn beside it")
    words("beside", [], "earlier results, whose runs on the same tasks are added to table, pictures and result")
    text("show", "", "prints and draws an earlier result and trains nothing")
    flags.DEFINE_float(
        "last", results.LAST, "share of the frames, at the end, whose evaluations are averaged", lower_bound=0,
        upper_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # runs and this process share an accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, door.flags_only(lambda: compare(options, arguments)))


def compare(options: flags.FlagValues, arguments: list[str]) -> int:
    """Train what the options describe, print and draw the results; return the exit code."""
    if options.show:
        return _show(pathlib.Path(options.show), options.last if options["last"].present else None)
    folder = run_files.resolve_workdir(options.workdir or default_workdir(options))
    tasks = [task for text in options.tasks for task in jobs.read_tasks(text)]
    planned = jobs.plan(tasks, variants(options), options.seeds, options.override, folder)
    earlier = _beside(options, planned)
    places = processes.places(options.processes, len(planned))
    path = pathlib.Path(options.result or folder / "results.json")
    rows = {}

    def keep(job: jobs.Job) -> None:
        rows[job] = results.row(job.task._asdict(), job.variant, job.config, job.records(), options.last)
        comparison.write(path, _pooled(planned, rows, earlier, options.last)[0], options.last, arguments)

    with (
        supervisor.Children() as children,
        Progress(len(planned), len(places)) as progress,
    ):
        launch_options = processes.launch_options(len(places))
        programs = [Program.alone(job) for job in planned]
        outcome = processes.train(programs, places, children, launch_options, progress, keep)
    all_complete = len(outcome.complete) == len(planned)
    if rows:
        found, dropped = _pooled(planned, rows, earlier, options.last)
        comparison.show(path, found, dropped, options.last, folder)
    if not all_complete:
        print(f"{len(planned) - len(rows)} of {len(planned)} runs are not complete; re-run the same command to resume")
    return exit_code(children.stop_signal) if children.stop_signal else DONE if all_complete else ERROR


def variants(options: flags.FlagValues) -> list[jobs.Variant]:
    """Return the variants that the options ask for."""
    memories = plugins.names("memory") if options.memories == ["all"] else options.memories
    texts = [*options.variant, *(f"{memory}:memory={memory}" for memory in memories)]
    if options.ablate:
        config = command_line.load(flags.FlagValues(), ["compare", f"--config={options.config}"])
        switches = popgym_arcade.switches(config)
        texts += ["all quirks", *(f"without {path.rpartition('.')[2]}:config.{path}=false" for path in switches)]
    return [jobs.read_variant(text, options.config) for text in texts or ["default"]]


def default_workdir(options: flags.FlagValues) -> pathlib.Path:
    """Return a folder named after what all runs of a comparison have in common, so that more can be added to it."""
    file, _, given = options.config.partition(":")
    changed = [item.removeprefix("config.") for item in options.override]
    words = [part for part in pathlib.Path(file).with_suffix("").parts[-2:] if part != "configs"]
    name = "-".join(filter(None, ["compare", *words, given, *changed, f"seeds={options.seeds}"]))
    return pathlib.Path("runs") / re.sub(r"[^\w.,+=@-]+", "_", name)[:LONGEST_NAME]


def _beside(options: flags.FlagValues, planned: list[jobs.Job]) -> list[dict]:
    """Return the rows of earlier results on the same tasks."""
    tasks = {job.task for job in planned}
    earlier = []
    for file in options.beside:
        rows, _ = results.read_rows(pathlib.Path(file), options.last)
        rows = [row for row in rows if jobs.Task(**row["task"]) in tasks]
        if not rows:
            raise ValueError(f"{file} has no run on {', '.join(sorted(task.name for task in tasks))}")
        earlier += rows
    new = [{"task": job.task._asdict(), "variant": job.variant, "config": job.config} for job in planned]
    results.check_names([*new, *earlier])
    return earlier


def _pooled(planned: list[jobs.Job], rows: dict[jobs.Job, dict], earlier: list[dict], last: float):
    return results.pooled([*(rows[job] for job in planned if job in rows), *earlier], last)


def _show(path: pathlib.Path, last: float | None) -> int:
    rows, last = results.read_rows(path, last)
    comparison.show(path, rows, [], last, path.parent)
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
