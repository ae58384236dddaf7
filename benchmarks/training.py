"""Training throughput of whole updates: act, step, draw and learn.

    python -m benchmarks.training
    python -m benchmarks.training --config=configs/pqn_lru.py:preset=smoke --games=tetris,cartpole --memories=lru,none
    python -m benchmarks.training --envs=16,64 --encoders=popgym_cnn,patch --dtypes=float32 --override=config.seed=3
    python -m benchmarks.training --one_at_a_time --games=tetris,skittles --memories=gru,none --envs=64,128
    python -m benchmarks.training --parts --override=config.updates_per_call=1
    python -m benchmarks.training --games=cartpole --against=popgym-arcade --rollout_length=16 --json=FILE.json

Each configuration is trained by the program that `podarcade.launch` uses, in a process of its own, so that peak memory
is attributed correctly: the device's where the device reports it, otherwise the resident set of the process,
compilation included. Compilation and the first call are reported separately. A frame is an environment step; restarts
do not count.

The host's share is measured while `runtime.loop` drives the program: time from all results of a call being ready on the
device to the start of the next call, over the time between two starts. Operations are counted by benchmarks/flops.py
and compared with the best rate that a product of two large square matrices reaches in the same process. A checksum of
the parameters is recorded: leaving out any part of an update would change it.

`--against=popgym-arcade` trains the released recurrent PQN in turns with ours, so that other load on the machine
affects both. Game, twin, environments, steps, epochs and minibatches are those of our configuration, by default the
published one with its quirks; networks must have equal sizes. The released trainer resets within a step, so each of its
steps is a frame. Processes share a GPU here, so none preallocates its memory.
"""

import contextlib
import datetime
import os
import pathlib
import subprocess
import sys

import jax
from absl import flags

from benchmarks import peers, training_report, training_settings
from podarcade.runtime import backend, provenance
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import write_json

CONFIG, PUBLISHED = "configs/pqn_lru.py", "configs/popgym_arcade/pqn.py"


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()

    def define(kind: str, name: str, default, text: str, **limits) -> None:
        getattr(flags, f"DEFINE_{kind}")(name, default, text, flag_values=values, **limits)

    define(
        "string",
        "config",
        "",
        f"FILE.py:ARGUMENTS that all configurations start from; empty: {CONFIG}, with --against {PUBLISHED}",
    )
    define("list", "games", [], "values of the argument game; empty: the configuration's")
    define("list", "memories", [], "values of the argument memory")
    define("list", "encoders", [], "values of the argument encoder")
    define("list", "dtypes", [], "values of encoder.dtype: float32, bfloat16")
    define("list", "envs", [], "values of num_envs")
    define("list", "seeds", [], "values of seeds, trained side by side")
    define("boolean", "one_at_a_time", False, "change one value at a time instead of taking all combinations")
    define(
        "integer",
        "cpu_devices",
        0,
        "split the CPU into this many single-threaded devices; 0: one device with all threads",
        lower_bound=0,
    )
    define("integer", "rollout_length", 0, "value of algorithm.rollout_length; 0: the configuration's", lower_bound=0)
    define("multi_string", "override", [], "config.x=y; may be repeated")
    define("integer", "repeats", 5, "repeats of each measurement", lower_bound=1)
    define("float", "seconds", 2.0, "approximate duration of a repeat, at least one call", lower_bound=0.001)
    define("list", "against", [], "popgym-arcade: the released trainer")
    define("boolean", "parts", False, "where the time of an update goes, with one seed on one device")
    define("string", "peers", ".peers", "folder of the peers' virtual environments")
    define("string", "profile", "", "folder for a trace of a few updates of the first configuration")
    define("string", "json", "", "results file; a figure is drawn beside it")
    define("boolean", "help", False, "show this help", short_name="h")
    return values


def configurations(options: flags.FlagValues) -> list[tuple[list[str], dict | None]]:
    """Return the command lines to measure, each with the settings of the released trainer or None.

    Raises:
      ValueError: a name does not exist, or values are inconsistent.
    """
    for unknown in set(options.against) - {"popgym-arcade"}:
        raise ValueError(f"--against={unknown}; expected popgym-arcade")
    config = options.config or (PUBLISHED if options.against else CONFIG)
    chosen = {"game": options.games, "memory": options.memories, "encoder": options.encoders}
    rollout = [f"config.algorithm.rollout_length={options.rollout_length}"] if options.rollout_length else []
    values = {"num_envs": options.envs, "seeds": options.seeds, "encoder.dtype": options.dtypes}
    found = []
    for arguments in training_settings.sweep(
        config, chosen, values, [*rollout, *options.override], options.one_at_a_time
    ):
        row = training_settings.about(*training_settings.load(arguments))
        found.append((arguments, training_settings.released(row) if options.against else None))
    return found


def measure(arguments: list[str], asked: dict | None, options: flags.FlagValues, trace: str) -> dict:
    """Measure one configuration, in turns with the released trainer if asked for; return its row."""
    with contextlib.ExitStack() as stack:
        ours = peers.Worker(sys.executable, "-m", "benchmarks.training_runs")
        stack.callback(ours.close)
        row = {"arguments": arguments} | ours.ask(
            "prepare", arguments=arguments, seconds=options.seconds, cpu_devices=options.cpu_devices
        )
        arcade = None
        if asked:
            arcade = peers.Peer("arcade_training", pathlib.Path(options.peers))
            stack.callback(arcade.close)
            backend = jax.default_backend()
            released = arcade.ask("prepare", platform=backend, updates=options.repeats + 1, **asked)
        measured, theirs = [], []
        for _ in range(options.repeats):
            measured.append(ours.ask("repeat"))
            if arcade:
                theirs.append(arcade.ask("run"))
        if arcade:
            released |= arcade.ask("finish") | {"frames_per_second": training_report.rates(theirs), "each": theirs}
        row |= ours.ask("finish", seconds=options.seconds)
        row |= training_report.derived(row, measured) | {"each": measured}
        if options.parts:
            row["parts"] = ours.ask("parts", seconds=options.seconds / 10, repeats=options.repeats)
        if trace:
            ours.ask("profile", folder=trace)
    if asked:
        times = row["frames_per_second"]["median"] / released["frames_per_second"]["median"]
        row |= {"released": released, "times_released": times}
    return row


def write(path: pathlib.Path, rows: list[dict], origin: dict) -> None:
    """Write the results with their provenance, and draw them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, origin | {"summary": training_report.summary(rows), "rows": rows})
    training_report.draw(rows, origin["devices"][0], path.with_suffix(".png"))


def closing(rows: list[dict], options: flags.FlagValues) -> str:
    """Return the closing lines: geometric means, and the files written."""
    total = training_report.summary(rows)
    text = f"geometric mean of {total['rows']}: {total['frames_per_second']:,.1f} frames/s"
    if "times_released" in total:
        text += (
            f", the released trainer {total['released_frames_per_second']:,.2f}: "
            f"{total['times_released']:.1f} times, at least {total['minimum_times_released']:.1f}"
        )
    for name in filter(None, (options.json, options.profile)):
        text += f"\nwritten to {name}"
    return text


def main(arguments: list[str]) -> int:
    """Measure, print, write; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options, rows = make_flags(), []
    try:
        unread = options(arguments)[1:]
        if unread:
            raise ValueError(f"unexpected argument {unread[0]!r}; see --help")
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return 0
        if options.against and options.cpu_devices:
            raise ValueError("--cpu_devices with --against; the released trainer uses all threads, so must ours")
        backend.configure(options.cpu_devices)
        chosen = configurations(options)
        origin = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments)}
        origin |= {"repeats": options.repeats, "seconds": options.seconds}
        print(f"{origin['devices'][0]}, jax {jax.__version__}\n{training_report.HEADER}", flush=True)
        for number, (command, asked) in enumerate(chosen):
            rows.append(measure(command, asked, options, options.profile if number == 0 else ""))
            print("\n".join([training_report.line(rows[-1]), *training_report.parts(rows[-1])]), flush=True)
            if options.json:
                write(pathlib.Path(options.json), rows, origin)
    except (ValueError, flags.Error, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    print(closing(rows, options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
