"""Trains what a configuration describes, and resumes it where it was left.

python -m podarcade.launch --config=configs/pqn_lru.py
python -m podarcade.launch --config=configs/pqn_lru.py:game=cartpole,memory=none --config.seeds=3 --workdir=runs/mine

Exit code 0: complete, or stopped by Ctrl-C and saved; 1: an error; 70: training diverged; 75 (retryable): stopped by
SIGTERM or SIGUSR1 and saved, or a device or another process was lost. Re-run the same command to resume.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import sys

import jax
from absl import flags

from podarcade import configuration
from podarcade.anakin import evaluate
from podarcade.build import build
from podarcade.envs.observability import NAMES
from podarcade.reporting import figures, summary
from podarcade.runtime import backend, distributed, failures, loop, peers, quiet, run_files, starts, supervisor
from podarcade.runtime.lock import Lock, WorkdirInUse
from podarcade.runtime.metrics import evaluation_seconds, read_metrics, seed_mean
from podarcade.runtime.signals import DONE, Signals, exit_code

LONGEST_CLIP = 300  # frames of an episode that are worth watching
CLIP = "greedy_episode.gif"  # the last thing that a complete run writes
STARTS = 16  # episodes played for the clip; the best is shown


def make_flags() -> flags.FlagValues:
    """The program's own flags; `--config` joins them when the configuration is loaded."""
    values = flags.FlagValues()

    def text(name: str, default: str, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name: str, default: int, meaning: str) -> None:
        flags.DEFINE_integer(name, default, meaning, flag_values=values)

    def switch(name: str, meaning: str, short_name: str | None = None) -> None:
        flags.DEFINE_boolean(name, False, meaning, flag_values=values, short_name=short_name)

    text("workdir", "", "where the run is kept; empty: a folder of its own in runs/")
    number("cpu_devices", 0, "splits the CPU in so many devices of one thread each; 0: leaves it")
    switch("deterministic", "has XLA take only operations that repeat to the last bit, on a GPU too, for some speed")
    switch("dry_run", "tells shapes, parameters, predicted memory and compile time, and neither trains nor writes")
    number("restarts", 0, "how often a run that crashed, lost another process or was preempted is started again")
    number("local_processes", 1, "runs so many processes on this machine's CPU, which find each other over TCP")
    text("coordinator", "", "host:port of process 0; empty: what Slurm, a TPU pod or Kubernetes says")
    number("num_processes", 0, "of the run; 0: what Slurm, a TPU pod or Kubernetes says, else 1")
    number("process_id", -1, "which process this is, from 0; -1: what Slurm, a TPU pod or Kubernetes says")
    number("peer_timeout", 100, "seconds of silence after which another process counts as lost")
    number("verbosity", 0, "1: print the traceback of an error")
    switch("help", "shows this help", short_name="h")
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    options = make_flags()
    try:
        return _main(arguments, options)
    except KeyboardInterrupt:  # before the run, and with it its handlers, began
        print("stopped before the run began", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        failure = failures.classify(error)
        if (cause := peers.announce(error, failure)) is not None:  # another process of the run prints it
            return cause.exit_code
        failures.show(failure, error, with_traceback=options["verbosity"].value > 0)
        return failure.exit_code


def _main(arguments: list[str], options: flags.FlagValues) -> int:
    options(arguments, known_only=True)
    if options.help:
        print(f"{__doc__}\n{options.get_help()}\n  --config: configs/FILE.py:ARGUMENTS; --config.x=y overrides x")
        return DONE
    _check(options)
    if supervisor.ATTEMPT not in os.environ and (options.restarts or options.local_processes > 1):
        command = [sys.executable, "-m", "podarcade.launch", *arguments[1:]]
        return supervisor.supervise(command, options.local_processes, options.restarts)
    if not options.verbosity:
        failures.mute_callback_tracebacks()
    backend.configure(options.cpu_devices, options.deterministic)
    found = distributed.find(options.coordinator, options.num_processes, options.process_id, os.environ)
    distributed.join(found, options.peer_timeout)
    with contextlib.ExitStack() as stack:
        stack.enter_context(peers.Watch(supervisor.leave))
        return _run(arguments, options, stack)


def _check(options: flags.FlagValues) -> None:
    for name, least in (("cpu_devices", 0), ("restarts", 0), ("local_processes", 1), ("peer_timeout", 1)):
        if options[name].value < least:
            raise ValueError(f"--{name}={options[name].value}; give at least {least}")


def _run(arguments: list[str], options: flags.FlagValues, stack: contextlib.ExitStack) -> int:
    """Run one process of a run; return its exit code."""
    config, run = distributed.run_on_all_processes(lambda: _load(options, arguments))
    if options.dry_run:
        told = summary.dry_run(run)
        if distributed.is_first_process():
            print(told)
        return DONE
    workdir = pathlib.Path(options.workdir or default_workdir(config))
    farewell = f"resume with\n  {resume(arguments, options, workdir)}"
    signals = stack.enter_context(Signals(farewell, _confirm_stop if distributed.is_first_process() else None))
    lock = distributed.run_on_all_processes(lambda: _take(config, run, workdir, arguments, stack))
    distributed.run_on_all_processes(lambda: distributed.check_shared(workdir))

    def wanted() -> int:
        if lock is not None and lock.lost:
            raise WorkdirInUse(f"another run has taken {workdir} over, while this one stood still; it stops unsaved")
        return signals.stop_signal

    outcome = loop.train(run, workdir, wanted)
    if not outcome.signal:
        report(run, workdir, outcome.state)
        return DONE
    if distributed.is_first_process():
        done = outcome.progress.updates
        saved = f"saved after {done}" if done else "nothing to save, after 0"
        print(f"{saved} of {run.total_updates} updates; {farewell}", flush=True)
    return exit_code(outcome.signal)


def _confirm_stop(number: int) -> None:
    """Print that a signal has arrived; the current call, perhaps a compilation, may take minutes."""
    name = signal.Signals(number).name
    print(
        f"{name}: stopping after the current call, then saving; repeat to stop immediately", file=sys.stderr, flush=True
    )


def _load(options: flags.FlagValues, arguments: list[str]) -> tuple:
    config = configuration.load(options, arguments)
    return config, build(config)


def _take(config, run: loop.Run, workdir: pathlib.Path, arguments: list[str], stack: contextlib.ExitStack):
    """Prepare the working directory and return its lock; None in all processes but the first."""
    if not distributed.is_first_process():
        return None
    again = run_files.check(config, workdir)  # before anything in the directory is touched
    starts.check_progress(workdir)
    lock = stack.enter_context(Lock(workdir))
    run_files.keep(config, workdir)
    starts.record(workdir, arguments)
    print(summary.header(config, run, workdir, again), flush=True)
    return lock


def resume(arguments: list[str], options: flags.FlagValues, workdir: pathlib.Path) -> str:
    """The command that goes on with a run that was left."""
    given = [item for item in arguments[1:] if supervisor.ATTEMPT not in os.environ or not supervisor.is_address(item)]
    command = ["python -m podarcade.launch", *map(shlex.quote, given)]
    command += [] if options.workdir else [f"--workdir={shlex.quote(str(workdir))}"]
    return " ".join(command)


def default_workdir(config) -> pathlib.Path:
    """A folder that is named after the run, and differs where the configuration does."""
    section = config.environment
    twin = section.observability if section.observability in NAMES else "twins"
    words = [config.algorithm.name, config.memory.name, section.name, section.level, twin, config.preset]
    return pathlib.Path("runs") / "-".join([*words, run_files.fingerprint(config)])


def report(run: loop.Run, workdir: pathlib.Path, state) -> None:
    """Draws the learning curve and a greedy episode of both twins, and says where they lie."""
    params = distributed.fetch(state.learner.params)
    if not distributed.is_first_process():
        return
    path, clip = workdir / "metrics.jsonl", workdir / CLIP
    records = read_metrics(path) if path.exists() else []
    if records and "random/return_full" in records[0]:
        tell_results(run, records, workdir / "learning_curve.svg")
    else:
        print(f"complete: {run.total_updates} updates; {path} has lost its beginning, so there is no learning curve")
    draw_episode(run, params, clip)
    print(f"greedy episode: {clip}")


def tell_results(run: loop.Run, records: list[dict], curve: pathlib.Path) -> None:
    """What a complete run came to, in a few lines and a picture of its learning curve."""
    random = seed_mean([records[0][f"random/return_{name}"] for name in evaluate.TWINS])
    evaluation = evaluation_seconds(records)
    print(
        f"complete: {run.total_updates} updates in {records[-1]['seconds']:.0f} s of training"
        f" and {evaluation:.0f} s of evaluation"
    )
    evaluated = [record for record in records if "eval/return_full" in record]
    for name in evaluate.TWINS:
        first, last = (seed_mean(record[f"eval/return_{name}"]) for record in (evaluated[0], evaluated[-1]))
        print(f"greedy return on the {name} twin: {last:.3f}  (at the start {first:.3f}, random policy {random:.3f})")
    figures.learning_curve(records, curve, run.title, {"random policy": random})
    print(f"learning curve: {curve}")


def draw_episode(run: loop.Run, params, path: pathlib.Path) -> None:
    """An animated picture of a greedy episode of the first seed, on both twins from the same start.

    Args:
      run: whose algorithm plays.
      params: of all seeds, on the host.
      path: of the picture.
    """
    updater = run.updater
    params = jax.tree.map(lambda x: x[0], params)
    key = jax.random.key_data(jax.random.key(loop.EVALUATION_SEED))
    limit = min(updater.environment.game.time_limit or LONGEST_CLIP, LONGEST_CLIP)
    clips = evaluate.play(updater.algorithm, updater.environment, params, key, limit, STARTS)
    captions = tuple(
        f"{name} twin: {value:.2f}{'' if over else f' in {limit} steps'}, best of {STARTS}"
        for name, (_, value, over) in clips.items()
    )
    both = figures.side_by_side(*(frames for frames, *_ in clips.values()), captions)
    figures.animation(both, path, scale=1)


if __name__ == "__main__":
    quiet.outlive_listeners()
    supervisor.leave(main(sys.argv))
