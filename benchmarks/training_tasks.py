"""Training throughput on tasks without pixels, in turns with purejaxrl, rejax and memorax.

    python -m benchmarks.training_tasks
    python -m benchmarks.training_tasks --against=purejaxrl --tasks=position_only_cartpole --json=FILE.json
    python -m benchmarks.training_tasks --algorithms=pqn --override=config.algorithm.num_epochs=2

Each row is one of our configurations and one peer on the same task, with the same number of environments, steps per
rollout, epochs and minibatches, and with a memory and dense layers of the same width. Both start gradient steps from
the carry that the policy acted with, train in float32 on one device with all threads, and take turns, so that other
load on the machine affects both. Each trains in a process and a virtual environment of its own. Peers keep the options
of their own examples; what is switched off, and how, is written in benchmarks/peers/. Compilation and the first call
are reported separately.

A frame is an environment step. Peers restart within the step that ends an episode, so each of their steps is a frame;
ours restart in a slot of its own, which is not counted. Our figures include the fetching of metrics after each call. A
checksum of the parameters is recorded: leaving out any part of an update would change it.
"""

import contextlib
import datetime
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
from absl import flags

from benchmarks import markdown, peers, training_report, training_settings
from podarcade.runtime import backend, provenance
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import write_json

CARTPOLE, CARDS = TASKS = ("position_only_cartpole", "repeat_previous")
# What all peers can do, and what they do.
FIXED = {"twin": "partial", "seeds": 1, "layers": 1, "burn_in": 0}
WIDTH = 128


class Comparison(NamedTuple):
    """A configuration of ours and a peer.

    Attributes:
      peer: name of the peer.
      task: file of our task.
      algorithm: "ppo" or "pqn".
      memory: our memory layer.
      theirs: the peer's memory layer.
      shared: whether actor and critic are one network.
      updates: updates per call, on both sides.
    """

    peer: str
    task: str
    algorithm: str
    memory: str
    theirs: str
    shared: bool = False
    updates: int = 2

    def command(self, overrides: list[str]) -> list[str]:
        """Return the command line of our configuration; overrides "config.x=y" take precedence over its values."""
        trunk = ",trunk=popgym_mlp" if self.memory == "none" else ""  # dense layers only, like those of the peer
        values = {
            "network.width": WIDTH, "updates_per_call": self.updates, "algorithm.num_epochs": 4,
            "algorithm.num_minibatches": 8, "algorithm.carry_init": "stored",
        }  # fmt: skip
        if self.algorithm == "ppo":
            values["algorithm.shared"] = str(self.shared).lower()
        given = {item.partition("=")[0] for item in overrides}
        return [
            f"--config=configs/{self.algorithm}.py:preset=cpu,game={self.task},memory={self.memory}{trunk}",
            *(f"--config.{name}={value}" for name, value in values.items() if f"config.{name}" not in given),
            *training_settings.as_flags(overrides),
        ]


# purejaxrl initialises its network in every call, which takes about 1 % of the time of 4 updates.
COMPARISONS = (
    Comparison("purejaxrl", CARTPOLE, "ppo", "gru", "gru", shared=True, updates=4),
    Comparison("purejaxrl", CARTPOLE, "ppo", "lru", "gru", shared=True, updates=4),
    Comparison("purejaxrl", CARDS, "ppo", "gru", "gru", shared=True, updates=4),
    Comparison("rejax", CARTPOLE, "ppo", "none", "none"),
    Comparison("rejax", CARTPOLE, "pqn", "none", "none"),
    Comparison("memorax", CARTPOLE, "pqn", "gru", "gru"),
    Comparison("memorax", CARTPOLE, "pqn", "lru", "lru"),
    Comparison("memorax", CARTPOLE, "ppo", "gru", "gru"),
    Comparison("memorax", CARDS, "pqn", "lru", "lru"),
)


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    known = dict.fromkeys(comparison.peer for comparison in COMPARISONS)
    flags.DEFINE_list("against", [], f"peers: {', '.join(known)}; empty: all", flag_values=values)
    flags.DEFINE_list("tasks", [], f"tasks: {', '.join(TASKS)}; empty: all", flag_values=values)
    flags.DEFINE_list("algorithms", [], "algorithms: ppo, pqn; empty: both", flag_values=values)
    flags.DEFINE_list("memories", [], "our memories: gru, lru, none; empty: all", flag_values=values)
    flags.DEFINE_multi_string("override", [], "config.x=y, on both sides; may be repeated", flag_values=values)
    flags.DEFINE_integer("repeats", 5, "repeats of each measurement", lower_bound=1, flag_values=values)
    flags.DEFINE_float(
        "seconds", 1.5, "approximate duration of a repeat, at least one call", lower_bound=0.001, flag_values=values
    )
    flags.DEFINE_string("peers", ".peers", "folder of the peers' virtual environments", flag_values=values)
    flags.DEFINE_string("json", "", "results file", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def chosen(options: flags.FlagValues) -> list[Comparison]:
    """Return the comparisons that the command line selects.

    Raises:
      ValueError: a name does not exist, or nothing is selected.
    """
    found = list(COMPARISONS)
    fields = {"against": "peer", "tasks": "task", "algorithms": "algorithm", "memories": "memory"}
    for flag, field in fields.items():
        names = getattr(options, flag)
        known = dict.fromkeys(getattr(comparison, field) for comparison in COMPARISONS)
        for unknown in set(names) - set(known):
            raise ValueError(f"--{flag}={unknown}; expected one of: {', '.join(known)}")
        found = [comparison for comparison in found if not names or getattr(comparison, field) in names]
    if not found:
        raise ValueError("no peer has this combination of task, algorithm and memory; give fewer of them")
    return found


def asked(comparison: Comparison, row: dict) -> dict:
    """Return the setting with which the peer does the same as ours.

    Args:
      comparison: what is compared.
      row: our configuration, as returned by `training_settings.about`.

    Raises:
      ValueError: the peer cannot do that.
    """
    different = [f"{name}={row[name]}" for name, value in FIXED.items() if row[name] != value]
    if row["carry"] == "recomputed":
        different.append("carry_init=recomputed")
    if different:
        fixed = ", ".join(f"{name}={value}" for name, value in FIXED.items())
        raise ValueError(f"cannot compare at {', '.join(different)}; peers have {fixed}, carry_init=stored")
    return {
        "task": comparison.task, "algorithm": comparison.algorithm, "memory": comparison.theirs,
        "width": row["width"], "envs": row["envs"], "updates": row["updates_per_call"],
        **{name: row[name] for name in ("rollout_length", "num_epochs", "num_minibatches")},
    }  # fmt: skip


def measure(comparison: Comparison, setting: dict, options: flags.FlagValues) -> dict:
    """Measure ours and the peer in turns; return the row of results."""
    command = comparison.command(options.override)
    with contextlib.ExitStack() as stack:
        ours = peers.Worker(sys.executable, "-m", "benchmarks.training_runs")
        stack.callback(ours.close)
        row = comparison._asdict() | {"arguments": command}
        row |= ours.ask("prepare", arguments=command, seconds=options.seconds, cpu_devices=0)
        peer = peers.Peer(f"{comparison.peer}_training", pathlib.Path(options.peers))
        stack.callback(peer.close)
        other = setting | peer.ask("prepare", platform=jax.default_backend(), seconds=options.seconds, **setting)
        measured, theirs = [], []
        for _ in range(options.repeats):
            measured.append(ours.ask("repeat"))
            theirs.append(peer.ask("run"))
        other |= peer.ask("finish") | {"frames_per_second": training_report.rates(theirs), "each": theirs}
        row |= ours.ask("finish", seconds=options.seconds)
    row |= training_report.derived(row, measured) | {"each": measured}
    times = row["frames_per_second"]["median"] / other["frames_per_second"]["median"]
    return row | {"theirs": other, "times": times}


HEADER = (
    f"{'task':24}{'alg.':5}{'memory':8}{'frames/s (low to high)':>28}{'host %':>8}{'params':>10}{'comp. s':>8}"
    f"{'peak MB':>9}  {'peer':17}{'frames/s (low to high)':>28}{'params':>10}{'comp. s':>8}{'peak MB':>9}{'times':>7}"
)


def line(row: dict) -> str:
    """Return a row of the table."""

    def figures(side: dict, host: str = "") -> str:
        speed = side["frames_per_second"]
        spread = f"{speed['median']:,.0f} ({speed['low']:,.0f} to {speed['high']:,.0f})"
        sizes = f"{side['parameters']:10,}{side['compile_seconds']:8.1f}{side['peak_bytes'] / 2**20:9,.0f}"
        return f"{spread:>28}{host}{sizes}"

    host = f"{100 * row['host']['share']:8.2f}"
    return (
        f"{row['task']:24}{row['algorithm']:5}{row['memory']:8}{figures(row, host)}"
        f"  {row['peer'] + ' ' + row['theirs']['memory']:17}{figures(row['theirs'])}{row['times']:7.2f}"
    )


def settings(options: flags.FlagValues) -> list[tuple[Comparison, dict]]:
    """Return the selected comparisons, each with the setting of its peer.

    Raises:
      ValueError: a name does not exist, values are inconsistent, or a peer cannot do the same.
    """
    found = []
    for comparison in chosen(options):
        config, run = training_settings.load(comparison.command(options.override))
        found.append((comparison, asked(comparison, training_settings.about(config, run))))
    return found


def measure_all(found: list[tuple[Comparison, dict]], options: flags.FlagValues, origin: dict) -> list[dict]:
    """Measure, print and write every comparison; return the rows."""
    for name in dict.fromkeys(comparison.peer for comparison, _ in found):
        peers.python(f"{name}_training", pathlib.Path(options.peers))
    print(f"{origin['devices'][0]}, jax {jax.__version__}\n{HEADER}", flush=True)
    rows = []
    for number, (comparison, setting) in enumerate(found, 1):
        name = f"{comparison.algorithm} {comparison.memory} on {comparison.task}, {comparison.peer}"
        print(f"{number} of {len(found)}: {name}", file=sys.stderr, flush=True)
        rows.append(measure(comparison, setting, options))
        print(line(rows[-1]), flush=True)
        if options.json:
            path = pathlib.Path(options.json)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, origin | {"rows": rows})
    return rows


def main(arguments: list[str]) -> int:
    """Measure, print, write; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options = make_flags()
    try:
        unread = options(arguments)[1:]
        if unread:
            raise ValueError(f"unexpected argument {unread[0]!r}; see --help")
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return 0
        backend.configure(0)
        found = settings(options)
        origin = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments)}
        rows = measure_all(found, options, origin | {"repeats": options.repeats, "seconds": options.seconds})
    except (ValueError, flags.Error, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    print(f"geometric mean of the ratios: {markdown.geometric([row['times'] for row in rows]):.2f}")
    if options.json:
        print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
