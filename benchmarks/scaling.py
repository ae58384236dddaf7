"""Scaling of training over devices: measured on the available ones, predicted for more.

    python -m benchmarks.scaling --json=benchmarks/results/scaling-cpu.json
    python -m benchmarks.scaling --override config.algorithm.num_minibatches=4 --override config.seeds=2 --devices=1,2
    python -m benchmarks.scaling --config=configs/pqn_lru.py:preset=gpu --devices= --compute_seconds=1.5

Whole updates are timed, as training calls them, with --envs environments per device (weak scaling) and --envs in total
(strong scaling); both start from one device. Programs are called in turns, so that other load on the machine affects
all of them; compilation and the first call are reported separately. Strong scaling must compute the same on any number
of devices: loss, gradient norm and environment steps of the first update are compared.

Without an accelerator, each number of devices is a process whose CPU is split into that many single-threaded devices.
The ideal is n times the frames/s of one while every device has a core; beyond that devices share cores and the ideal is
a constant total, so that overhead and correctness are measured.

All-reduced bytes are counted twice: from the parameters and from the text of the compiled program. Their cost on 8, 64
and 512 devices is a PREDICTION by the equations of benchmarks/links.py, from the duration of an update on one device
(measured here, or --compute_seconds) and the vendors' peak figures.
"""

import argparse
import contextlib
import dataclasses
import datetime
import itertools
import pathlib
import statistics
import sys
from typing import Any

import jax
import numpy as np

from benchmarks import collectives, devices, links, scaling_report, training_runs, training_settings
from podarcade.anakin.sharding import check_divisible
from podarcade.runtime import provenance
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import write_json

TOLERANCE = 1e-3  # relative, of loss and gradient norm


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line without the program's name; exit with one line if it is invalid."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/pqn_lru.py", help="FILE.py:ARGUMENTS")
    parser.add_argument("--override", action="append", default=[], help="config.x=y; may be repeated")
    parser.add_argument(
        "--devices", type=numbers, default=[1, 2, 4, 8], help="numbers of devices, including 1; empty: measure nothing"
    )
    parser.add_argument("--envs", type=int, default=0, help="environments of one device; 0: enough for all devices")
    parser.add_argument("--updates", type=int, default=1, help="updates per call of the program")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each measurement")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="approximate duration of a repeat, at least one call"
    )
    parser.add_argument("--predict", type=numbers, default=[8, 64, 512], help="numbers of devices to predict")
    parser.add_argument(
        "--compute_seconds", type=float, default=0.0, help="seconds of an update on one device; 0: as measured"
    )
    parser.add_argument("--json", default="", help="results file; a figure is drawn beside it")
    options = parser.parse_args(arguments)
    for name in ("updates", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}={getattr(options, name)}; must be >= 1")
    if options.devices and options.devices[0] != 1:
        parser.error(f"--devices={','.join(map(str, options.devices))}; must include 1, the reference")
    if not options.predict:
        parser.error("--predict= is empty; expected numbers of devices")
    if not options.devices and options.compute_seconds <= 0:
        parser.error("--devices= measures nothing; --compute_seconds must be > 0")
    return options


def numbers(text: str) -> list[int]:
    """Read "8,1" as [1, 8]."""
    found = sorted({int(word) for word in text.split(",") if word})
    if found and found[0] < 1:
        raise ValueError(text)
    return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """Plan of the measurements.

    Attributes:
      config: FILE.py:ARGUMENTS with the preset spelled out.
      counts: numbers of devices.
      envs: environments per device in weak scaling, in total in strong scaling.
      max_shards: maximum number of devices over which `envs` can be sharded.
      shared: whether the devices are virtual devices of one CPU.
      concurrent_devices: devices that can work at the same time: the CPU's cores if they share it.
      note: what the measurements can show.
    """

    config: str
    counts: tuple[int, ...]
    envs: int
    max_shards: int
    shared: bool
    concurrent_devices: int
    note: str


def make_plan(options: argparse.Namespace) -> Plan:
    """Return the plan of a command line on this machine.

    Raises:
      ValueError: the values are inconsistent, or the configuration does not exist.
    """
    values = training_settings.as_flags(options.override)
    config, _ = training_settings.load([f"--config={options.config}", *values])
    file, _, words = options.config.partition(":")
    words = [word for word in words.split(",") if word and not word.startswith("preset=")]
    shared = jax.default_backend() == "cpu"
    counts = [count for count in options.devices if shared or count <= jax.device_count()]
    minibatches = config.algorithm.num_minibatches
    largest = max(counts, default=1)
    envs = options.envs or -(-config.num_envs // (minibatches * largest)) * minibatches * largest
    check_divisible(envs, minibatches, largest)
    for fabric, count in itertools.product(links.FABRICS, options.predict):
        fabric.rings(count)
    words.append(f"preset={config.preset}")
    cores = provenance.cores()
    note = f"{largest} of {jax.device_count()} devices: ideal is n times the frames/s of one"
    if shared:
        note = f"devices of one thread each on {cores} CPU cores: ideal is {cores} times one at most"
    concurrent = cores if shared else largest
    if not counts:
        note = "nothing is measured"
    return Plan(f"{file}:{','.join(words)}", tuple(counts), envs, envs // minibatches, shared, concurrent, note)


def programs(counts: tuple[int, ...], envs: int) -> list[dict]:
    """Return the programs to compile: one device for both scalings, then each count once per scaling."""
    found = []
    for count in counts:
        if count == 1:
            found.append({"scalings": ["weak", "strong"], "devices": 1, "num_envs": envs})
        else:
            found.append({"scalings": ["weak"], "devices": count, "num_envs": envs * count})
            found.append({"scalings": ["strong"], "devices": count, "num_envs": envs})
    return found


def same_results(one: dict, other: dict) -> bool:
    """Return whether two first calls agree: equal environment steps, loss and gradient norm within `TOLERANCE`."""
    close = [np.allclose(one[name], other[name], rtol=TOLERANCE, atol=0) for name in ("loss", "gradient_norm")]
    return one["steps"] == other["steps"] and all(close)


def relate(rows: list[dict], concurrent_devices: int) -> None:
    """Add to each row its rate relative to one device and to the ideal ratio, min(n, concurrent_devices)."""
    alone = rows[0]["frames_per_second"]["median"]
    for row in rows:
        row["ratio"] = row["frames_per_second"]["median"] / alone
        row["ideal_ratio"] = min(row["devices"], concurrent_devices)
        row["efficiency"] = row["ratio"] / row["ideal_ratio"]


class Bench:
    """Measurement of a plan; `result` grows and is written after each step."""

    def __init__(self, options: argparse.Namespace, plan: Plan, arguments: list[str], stack: contextlib.ExitStack):
        self.options, self.plan, self._stack = options, plan, stack
        self._places: dict[int, Any] = {}
        self.result = {
            "date": datetime.date.today().isoformat(),
            **provenance.collect(arguments),
            **dataclasses.asdict(plan),
            "overrides": options.override,
            "updates": options.updates,
            "repeats": options.repeats,
            "rows": [],
        }

    def write(self) -> None:
        """Write the JSON file, if asked for."""
        if self.options.json:
            path = pathlib.Path(self.options.json)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.result)

    def place(self, count: int, virtual: bool) -> Any:
        """Return where updates on `count` devices run: virtual ones in a process per count, real ones here."""
        key = count if virtual else 0
        if key not in self._places:
            made = devices.Worker if virtual else devices.Here
            sizes = (count,) if virtual else ()
            self._places[key] = made(self.plan.config, self.options.override, *sizes)
            self._stack.callback(self._places[key].close)
        return self._places[key]

    def prepare(self) -> None:
        """Compile and run every program once."""
        rows, arguments = self.result["rows"], {"updates": self.options.updates}
        for row in programs(self.plan.counts, self.plan.envs):
            place, size = self.place(row["devices"], self.plan.shared), {k: row[k] for k in ("devices", "num_envs")}
            row |= place.ask("prepare", **size, **arguments)
            row |= place.ask("first_call", number=row["number"])
            if row["devices"] > 1 and "traffic" not in self.result:
                self.result["traffic"] = place.ask("traffic", number=row["number"])
            if "strong" in row["scalings"]:
                row["same_as_one_device"] = same_results(row, (rows or [row])[0])
            rows.append(row)
            self.write()
        if "traffic" not in self.result:
            place, two = self.place(2, virtual=True), {"devices": 2, "num_envs": 2 * self.plan.envs}
            self.result["traffic"] = place.ask("traffic", number=place.ask("prepare", **two, **arguments)["number"])

    def measure(self) -> None:
        """Time the programs in turns."""
        rows, each = self.result["rows"], {}
        for _ in range(self.options.repeats):
            for index, row in enumerate(rows):
                calls = max(1, round(self.options.seconds / row["warm_up_seconds"]))
                place = self.place(row["devices"], self.plan.shared)
                found = place.ask("seconds", number=row["number"], calls=calls)
                each.setdefault(index, []).append((found["frames"] / found["seconds"], found["seconds"] / calls))
            for index, row in enumerate(rows):
                speeds, seconds = zip(*each[index], strict=True)
                row["frames_per_second"] = {
                    "median": statistics.median(speeds),
                    "low": min(speeds),
                    "high": max(speeds),
                }
                row["update_seconds"] = statistics.median(seconds) / self.options.updates
            if rows:
                relate(rows, self.plan.concurrent_devices)
            self.write()

    def predict(self) -> None:
        """Predict efficiencies from the duration of an update on one device and the all-reduced bytes."""
        given, rows = self.options.compute_seconds, self.result["rows"]
        parts = self.result["traffic"]["from_parameters"]["parts"]
        compute = given or rows[0]["update_seconds"]
        self.result["prediction"] = {
            "what": scaling_report.PREDICTION,
            "compute_seconds": compute,
            "compute_from": "given" if given else f"measured on {jax.devices()[0].device_kind}",
            "fabrics": [dataclasses.asdict(fabric) for fabric in links.FABRICS],
            "rows": links.predict(compute, collectives.messages(parts), self.options.predict, self.plan.max_shards),
        }
        self.write()


def main(arguments: list[str]) -> None:
    """Measure, predict, print, write."""
    options = parse(arguments[1:])
    try:
        plan = make_plan(options)
        if not plan.shared:
            training_runs.prepare_jax(0)
        with contextlib.ExitStack() as stack:
            bench = Bench(options, plan, arguments, stack)
            print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {plan.config}")
            print(bench.result["note"], flush=True)
            bench.prepare()
            bench.measure()
            bench.predict()
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f"error: {one_line(error)}") from None
    result = bench.result
    print(
        "\n".join(
            [
                *scaling_report.measured(result["rows"]),
                *scaling_report.traffic(result["traffic"]),
                *scaling_report.predicted(result),
            ]
        )
    )
    if options.json:
        scaling_report.draw(result, pathlib.Path(options.json).with_suffix(".png"))
    if different := [row["devices"] for row in result["rows"] if not row.get("same_as_one_device", True)]:
        raise SystemExit(f"error: results on {different} devices differ from those on one")


if __name__ == "__main__":
    main(sys.argv)
