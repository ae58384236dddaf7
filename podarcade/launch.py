"""Train the agent that a configuration describes. Re-run the same command to resume.

    python -m podarcade.launch --config=configs/pqn_lru.py
    python -m podarcade.launch --config=configs/pqn.py:game=cartpole,memory=none --config.seeds=3 --workdir=runs/mine
    python -m podarcade.launch --config=runs/mine/config.json --config.seed=7

Exit code 0: complete, or stopped by Ctrl-C and saved; 1: an error; 70: training diverged; 75 (retryable): stopped by
SIGTERM or SIGUSR1 and saved, or a device or another process was lost. Re-run the same command to resume.
"""

import contextlib
import dataclasses
import os
import pathlib
import shlex
import signal
import sys

import jax
from absl import flags

from podarcade import presets
from podarcade.agents.training import InTraining
from podarcade.build import build
from podarcade.configuration import check_choice, command_line, usage
from podarcade.configuration.naming import folder_name
from podarcade.reporting import populations, summary
from podarcade.reporting.sinks import SINKS
from podarcade.runtime import (
    backend,
    distributed,
    failures,
    followers,
    loop,
    members,
    output,
    peers,
    run_files,
    starts,
    supervisor,
)
from podarcade.runtime.lock import Lock, WorkdirInUse
from podarcade.runtime.signals import DONE, Signals, exit_code


def make_flags() -> flags.FlagValues:
    """Return the flags of the program besides `--config`, at their defaults."""
    values = flags.FlagValues()

    def text(name: str, default: str, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name: str, default: int, meaning: str) -> None:
        flags.DEFINE_integer(name, default, meaning, flag_values=values)

    def switch(name: str, meaning: str, short_name: str | None = None) -> None:
        flags.DEFINE_boolean(name, False, meaning, flag_values=values, short_name=short_name)

    text("workdir", "", "folder of the run; empty: runs/NAME, named after the configuration")
    text("init_from", "", "RUN or RUN:STEP whose parameters a new run starts from; the same as --config.init_from")
    text("log", "", "comma-separated: csv, wandb; where metrics go besides the folder, by processes beside the run")
    number("cpu_devices", 0, "split the CPU into this many devices of one thread each; 0: do not split")
    switch("deterministic", "use deterministic XLA ops, which repeat bit for bit on a GPU too, at some cost in speed")
    switch("dry_run", "print shapes, parameters, memory and compile time; train and write nothing")
    number("restarts", 0, "how many times a run that crashed, lost a process or was preempted is restarted")
    number("local_processes", 1, "number of processes on this machine's CPU, connected over TCP")
    text("members", "", "folder for the runs of the members of a population; empty: members in the folder of the run")
    text("coordinator", "", "host:port of process 0; empty: from Slurm, a TPU pod or Kubernetes")
    number("num_processes", 0, "number of processes; 0: from Slurm, a TPU pod or Kubernetes, else 1")
    number("process_id", -1, "index of this process, from 0; -1: from Slurm, a TPU pod or Kubernetes")
    number("peer_timeout", 100, "seconds of silence after which another process counts as lost")
    number("verbosity", 0, "1: print the traceback of an error")
    switch("help", "show this help", short_name="h")
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    options = make_flags()
    try:
        return _main(arguments, options)
    except KeyboardInterrupt:  # raised before `Signals` installs its handlers
        print("stopped before the run began", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        failure = failures.classify(error)
        if (cause := peers.announce(error, failure)) is not None:  # another process of the run prints it
            return cause.exit_code
        failures.show(failure, error, with_traceback=options["verbosity"].value > 0)
        return failure.exit_code


def _main(arguments: list[str], options: flags.FlagValues) -> int:
    command_line.parse(options, arguments)
    if options.help:
        print(usage.text(__doc__, options, presets.ARGUMENTS, presets.PRESETS))
        return DONE
    _check(options)
    if supervisor.ATTEMPT not in os.environ and (options.restarts or options.local_processes > 1):
        command = [sys.executable, "-m", "podarcade.launch", *arguments[1:]]
        return supervisor.supervise(command, options.local_processes, options.restarts)
    if not options.verbosity:
        failures.mute_callback_tracebacks()
    backend.configure(options.cpu_devices, options.deterministic)
    found = distributed.detect(options.coordinator, options.num_processes, options.process_id, os.environ)
    distributed.join(found, options.peer_timeout)
    with contextlib.ExitStack() as stack:
        stack.enter_context(peers.Watch(supervisor.leave))
        return _run(arguments, options, stack)


def _check(options: flags.FlagValues) -> None:
    for name, minimum in (("cpu_devices", 0), ("restarts", 0), ("local_processes", 1), ("peer_timeout", 1)):
        if options[name].value < minimum:
            raise ValueError(f"--{name}={options[name].value}; expected an integer >= {minimum}")
    for name in filter(None, options.log.split(",")):
        check_choice("--log", name, SINKS)


def _run(arguments: list[str], options: flags.FlagValues, stack: contextlib.ExitStack) -> int:
    """Build and train a run, in each of its processes; return the exit code."""
    config, run = distributed.run_on_all_processes(lambda: _load(options, arguments))
    if options.dry_run:
        return _dry_run(run)
    workdir = distributed.run_on_all_processes(
        lambda: run_files.resolve_workdir(options.workdir or f"runs/{folder_name(config)}")
    )
    farewell = f"resume with\n  {resume(arguments, options, workdir)}"
    signals = stack.enter_context(Signals(farewell))
    run, origin = run.with_fixed_origin(workdir)
    target = populations.folder(workdir, options.members)
    lock = distributed.run_on_all_processes(
        lambda: _acquire_workdir(config, run, origin, workdir, target, arguments, stack)
    )
    distributed.run_on_all_processes(lambda: distributed.check_shared(workdir))

    def stop_requested() -> int:
        if lock is not None and lock.lost:
            raise WorkdirInUse(
                f"{workdir} was taken over by another run while this process was suspended; stopping without saving"
            )
        return signals.stop_signal

    if config.population and (known := members.read(workdir)):
        populations.tell(known, target)
        return populations.exit_code(workdir)
    outcome = _train(run, config, workdir, stop_requested, options)
    if not outcome.signal:
        return populations.exit_code(workdir)
    if distributed.is_first_process():
        done = outcome.progress.updates
        saved = f"saved after {done}" if done else "nothing to save, after 0"
        print(f"{saved} of {run.total_updates} updates; {farewell}", flush=True)
    return exit_code(outcome.signal)


def _dry_run(run: loop.Run) -> int:
    """Print what a run would take; return the exit code."""
    if run.warm_start is not None:
        run.warm_start.check(run.abstract_state().learner)
    text = summary.dry_run(run)
    if distributed.is_first_process():
        print(text)
    return DONE


def _train(run: loop.Run, config, workdir: pathlib.Path, stop_requested, options: flags.FlagValues) -> loop.Outcome:
    """Train a run, and write what a complete one leaves; return its outcome."""
    names = filter(None, options.log.split(",")) if distributed.is_first_process() else ()
    with followers.Followers(workdir, list(names)) as started:
        outcome = loop.train(run, workdir, stop_requested)
        if outcome.signal:
            return outcome
        if config.population:
            populations.finish(run, config, workdir, populations.folder(workdir, options.members), outcome.state)
        else:
            summary.report(run, workdir, outcome.state)
        started.finish()
        return outcome


def _load(options: flags.FlagValues, arguments: list[str]) -> tuple:
    config = command_line.load(options, arguments)
    if options.init_from:
        if config.init_from not in ("", options.init_from):
            raise ValueError(f"--init_from={options.init_from}, but config.init_from={config.init_from}; give one")
        config.init_from = options.init_from
    run = build(config)
    if config.population and jax.process_count() > 1:
        raise ValueError(f"a population in {jax.process_count()} processes; expected one: start as many populations")
    return config, dataclasses.replace(run, diagnose=InTraining(config)) if config.diagnostics else run


def _acquire_workdir(
    config, run: loop.Run, origin: dict, workdir: pathlib.Path, target: pathlib.Path, arguments: list[str],
    stack: contextlib.ExitStack,
):  # fmt: skip
    """Check everything in the folder of the run, lock it, and only then write to it; in the first process only.

    Returns:
      The lock; None in the other processes.
    """
    if not distributed.is_first_process():
        return None
    resumed = run_files.holds_run(config.to_dict(), workdir, may_extend=True)
    if config.population:
        populations.check(config, workdir, target)
    run.check_checkpoints(workdir)
    starts.check_progress(workdir)
    lock = stack.enter_context(Lock(workdir))
    about = {"init_from": origin, "extended": run_files.extension(config.to_dict(), workdir)}
    if config.population:
        members.mark(workdir)
    run_files.write_config(config.to_dict(), workdir)
    warning = starts.record(workdir, arguments, {name: value for name, value in about.items() if value})
    header = summary.header(config, run, workdir, resumed)
    print("\n".join(filter(None, [header, summary.beginning(**about), warning])), flush=True)
    return lock


def resume(arguments: list[str], options: flags.FlagValues, workdir: pathlib.Path) -> str:
    """Return the command that resumes a run."""
    given = [item for item in arguments[1:] if supervisor.ATTEMPT not in os.environ or not supervisor.is_address(item)]
    command = ["python -m podarcade.launch", *map(shlex.quote, given)]
    command += [] if options.workdir else [f"--workdir={shlex.quote(str(workdir))}"]
    return " ".join(command)


if __name__ == "__main__":
    output.tolerate_broken_streams()
    supervisor.leave(main(sys.argv))
