"""Train a sweep: tasks x memories x algorithms x hyper-parameters x seeds, in one command that ends in a table.

    python -m podarcade.sweep --config=configs/sweeps/smoke.py
    python -m podarcade.sweep --grid="game=tmaze,repeat_previous memory=gru,lru,none preset=cpu seeds=5"
    python -m podarcade.sweep --config=configs/sweeps/vector_main.py:frames=200000 --workdir=runs/mine --dry_run
    python -m podarcade.sweep --config=configs/sweeps/smoke.py --engine=print > commands.txt
    python -m podarcade.sweep --config=configs/sweeps/paper_v2_main.py --engine=slurm --slurm_options=partition=gpu

A sweep file yields a dict per run; a grid is a product. Runs that differ in nothing but seeds or numbers, such as
learning rates, share programs. Each run is a folder as `podarcade.launch` makes it, in FOLDER/TASK/AGENT. Complete runs
are read, not trained again: re-run the same command to resume, also with more cells. Several launchers, on one machine
or on several, may share one folder: each leaves to the others what they train.

Exit code 0: all runs are complete, or Ctrl-C stopped them; 1: an error or a failed run; 70: all that failed diverged;
75: stopped by SIGTERM or SIGUSR1, runs saved.
"""

import contextlib
import os
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from podarcade.configuration import files
from podarcade.reporting import comparison, leaderboard_page, results, sweep_tables
from podarcade.reporting.report import writing
from podarcade.runtime import backend, door, run_files, supervisor
from podarcade.runtime.signals import DIVERGED, DONE, ERROR, exit_code
from podarcade.sweeps import cells, forecast, jobs, planning, printing, processes, sizes, slurm
from podarcade.sweeps.programs import Failure
from podarcade.sweeps.progress import Progress

ENGINES = ("local", "print", "slurm")
LONGEST_PAGE = 200  # runs of which a page is written
LONGEST_NAME = 120  # characters of the default folder's name
MANY = 1000  # programs at once, before it is known how many there are


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()

    def text(name: str, default: str, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name: str, default: int, meaning: str) -> None:
        flags.DEFINE_integer(name, default, meaning, lower_bound=0, flag_values=values)

    text("config", "", "sweep file, and its argument after a colon: configs/sweeps/NAME.py:ARGUMENT")
    text("grid", "", "product of keys, 'game=tmaze,repeat_first memory=gru,lru seeds=5'; with --config, for each cell")
    flags.DEFINE_multi_string("override", [], "config.x=y for every run; may be repeated", flag_values=values)
    text("workdir", "", "folder of the sweep; empty: runs/sweep-..., named after the file or the grid")
    flags.DEFINE_enum("engine", "local", ENGINES, "train here, print the commands, or submit them", flag_values=values)
    text("slurm_options", "", "options of sbatch for --engine=slurm, partition=gpu,time=60; time in minutes")
    number("processes", 0, "programs at once; 0: one on each core of a CPU, on each GPU")
    number("slots", 0, "agents that one program trains side by side, at most; 0: chosen, see --probe")
    number("retries", 2, "further attempts for what was killed, or lost a device")
    flags.DEFINE_boolean(
        "probe", True, "measure how many agents one program should train, where they train long", flag_values=values
    )
    flags.DEFINE_boolean(
        "dry_run", False, "print the plan and what it takes; train and write nothing", flag_values=values
    )
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # runs and this process share an accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, door.flags_only(lambda: sweep(options, arguments)))


def sweep(options: flags.FlagValues, arguments: list[str]) -> int:
    """Plan and train the sweep that the options describe; return the exit code."""
    jobs.check_overrides(options.override)
    found = cells.read(options.config, options.grid, options.override)
    folder = run_files.resolve_workdir(options.workdir or default_workdir(options))
    is_local = options.engine == "local"
    if options.engine == "slurm" and not options.dry_run:
        slurm.check(options.slurm_options)
    workers = len(processes.places(options.processes, MANY)) if is_local else options.processes
    launch_options = processes.launch_options(workers)
    probe = sizes.run_probe if is_local and options.probe and not options.dry_run else None
    chosen = sizes.Sizes(folder, print, launch_options, probe)
    slots_of = (lambda structure, agents: options.slots) if options.slots else chosen
    with contextlib.redirect_stdout(sys.stderr) if options.engine == "print" else contextlib.nullcontext():
        plan = planning.plan(found, folder, slots_of, workers, options.dry_run)
    if options.dry_run:
        print(forecast.table(plan.programs, forecast.speeds(plan.programs, _benchmarks()), workers))
        return DONE
    if options.engine == "print":
        print(printing.commands(plan.programs, launch_options))
        return DONE
    if options.engine == "slurm":
        return _submit(plan, folder, launch_options, options, arguments)
    return _train(plan, folder, options, arguments)


def default_workdir(options: flags.FlagValues) -> str:
    """Return a folder named after the sweep file, or else after the grid."""
    file, _, argument = options.config.partition(":")
    words = [pathlib.Path(file).stem, argument] if file else options.grid.split()
    name = re.sub(r"[^\w.,+=@-]+", "_", "-".join(filter(None, ["sweep", *words])))
    return f"runs/{name[:LONGEST_NAME]}"


def _train(plan: planning.Plan, folder: pathlib.Path, options: flags.FlagValues, arguments: list[str]) -> int:
    places = processes.places(options.processes, len(plan.programs))
    with supervisor.Children() as children, Progress(len(plan.jobs), len(places)) as progress:
        outcome = processes.train(
            plan.programs, places, children, processes.launch_options(len(places)), progress, lambda job: None,
            options.retries,
        )  # fmt: skip
    try:
        _finish(folder, plan.jobs, options, arguments)
    finally:  # what failed is said even where the results cannot be written
        if outcome.failed:
            print("\n" + failures(outcome.failed))
    missing = len(plan.jobs) - len(outcome.complete)
    codes = {failure.code for failure in outcome.failed.values()}
    if missing:
        all_diverged = codes == {DIVERGED} and len(outcome.failed) == missing
        advice = "they diverged, and would again" if all_diverged else "re-run the same command to resume"
        print(f"{missing} of {len(plan.jobs)} runs are not complete; {advice}")
    if children.stop_signal:
        return exit_code(children.stop_signal)
    return DONE if not missing else DIVERGED if codes == {DIVERGED} else ERROR


def _submit(
    plan: planning.Plan, folder: pathlib.Path, launch_options: tuple[str, ...], options: flags.FlagValues,
    arguments: list[str],
) -> int:  # fmt: skip
    submitted = slurm.submit(plan.programs, folder, launch_options, options.slurm_options, options.retries)
    _finish(folder, plan.jobs, options, arguments)
    if submitted:
        first, last = submitted[0].job_id, submitted[-1].job_id
        print(f"submitted {len(submitted)} tasks, {first} to {last}; logs are in {folder / slurm.LOGS}")
        print("re-run the same command once they have ended: it submits what is missing, and prints the results")
    return DONE


def _finish(folder: pathlib.Path, planned: Sequence[jobs.Job], options: flags.FlagValues, arguments: list[str]) -> None:
    """Print the results of the runs that are complete; write tables, scores, their leaderboard, and the page."""
    complete = [job for job in planned if job.is_complete()]
    if not complete:
        return
    last = results.LAST
    rows = [results.row(job.task._asdict(), job.label, job.config, job.records(), last) for job in complete]
    found, dropped = results.pooled(rows, last)
    comparison.write(folder / "results.json", found, last, arguments)
    comparison.show(folder / "results.json", found, dropped, last, folder)
    print("\n".join(sweep_tables.write(planned, folder, _name(options), last)))
    if (folder / "scores").is_dir():
        print("\n".join(leaderboard_page.write(folder / "scores", folder / "leaderboard.md")))
    print(_page(folder, [job for job in planned if job.workdir.is_dir()], options, arguments))


def _page(folder: pathlib.Path, runs: Sequence[jobs.Job], options: flags.FlagValues, arguments: list[str]) -> str:
    """Write the page of a sweep; return a line on it."""
    if len(runs) > LONGEST_PAGE:
        return f"no page of {len(runs)} runs; choose some, as in podarcade report {folder}/TASK"
    path, gathered = folder / "sweep.html", writing.gather([job.workdir for job in runs])
    writing.write_page(path, f"sweep {_name(options)}", writing.made(arguments), *gathered)
    return f"page: {path}"


def _name(options: flags.FlagValues) -> str:
    """Return the name of the scores: that of the sweep file, or "grid"."""
    return pathlib.Path(options.config.partition(":")[0]).stem if options.config else "grid"


def failures(failed: Mapping[jobs.Job, Failure]) -> str:
    """Return a table of the runs that failed, and why."""
    width = max(len(job.name) for job in failed) + 2
    rows = [f"{job.name:{width}}{failure.reason}" for job, failure in failed.items()]
    return "\n".join([f"{'failed run':{width}}reason", *rows])


def _benchmarks() -> list[pathlib.Path]:
    """Return the results that a checkout has of this kind of machine."""
    if backend.accelerator():
        return []
    return sorted((files.experiments().parent / "benchmarks" / "results").glob("*-cpu.json"))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
