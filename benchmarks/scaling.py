"""How training scales over devices: measured on those there are, predicted for those there are not.

    python -m benchmarks.scaling --json=benchmarks/results/scaling-cpu.json
    python -m benchmarks.scaling --override algorithm.num_minibatches=4 --override seeds=2 --devices=1,2
    python -m benchmarks.scaling --config=configs/pqn_lru.py:preset=gpu --devices= --compute_seconds=1.5

Whole updates are timed, as training calls them, with --envs environments per device (weak scaling) and with as many in
all (strong scaling). One device alone is the start of both. Programs take turns, so that whatever else the machine does
meets all of them; compilation and the first call are apart. Strong scaling has to compute the same thing on any number
of devices: the first update's loss and gradient norm are compared, and its environment steps.

Without an accelerator each number of devices is a process whose CPU is split in so many, of one thread each. The ideal
is n times the frames/s of one while every device has a core of its own; more of them share the cores, and a constant
total is ideal: they measure overhead and correctness.

The bytes that devices add up are counted twice: from the parameters and from the text of the compiled program. What
that costs on 8, 64 and 512 devices is a PREDICTION by the equations of benchmarks/links.py, from the seconds that an
update takes one device (measured here, or --compute_seconds) and the vendors' peak figures.
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

from benchmarks import collectives, devices, links, training_runs, training_settings
from benchmarks import scaling_report as report
from podarcade.anakin.update import check_division
from podarcade.runtime import provenance
from podarcade.runtime.failures import one_line
from podarcade.runtime.run_files import write_json

TOLERANCE = 1e-3  # relative, of loss and gradient norm


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, without the program's name."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/pqn_lru.py", help="FILE.py:ARGUMENTS")
    parser.add_argument("--override", action="append", default=[], help="x=y for --config.x=y; may be repeated")
    parser.add_argument("--devices", type=numbers, default=[1, 2, 4, 8], help="1 and others; empty to measure nothing")
    parser.add_argument("--envs", type=int, default=0, help="environments of one device; 0: enough for all the devices")
    parser.add_argument("--updates", type=int, default=1, help="in one call of the program")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a repeat lasts, at least one call")
    parser.add_argument("--predict", type=numbers, default=[8, 64, 512], help="devices to predict for")
    parser.add_argument("--compute_seconds", type=float, default=0.0, help="of an update on one device; 0: as measured")
    parser.add_argument("--json", default="", help="file to write to; a picture is written beside it")
    options = parser.parse_args(arguments)
    for name in ("updates", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}={getattr(options, name)}; give at least 1")
    if options.devices and options.devices[0] != 1:
        parser.error(f"--devices={','.join(map(str, options.devices))} lacks 1, which all are compared with")
    if not options.predict:
        parser.error("--predict= names no number of devices")
    if not options.devices and options.compute_seconds <= 0:
        parser.error("nothing is measured with --devices=, so give --compute_seconds=")
    return options


def numbers(text: str) -> list[int]:
    """ "8,1" -> [1, 8]."""
    found = sorted({int(word) for word in text.split(",") if word})
    if found and found[0] < 1:
        raise ValueError(text)
    return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
      config: FILE.py:ARGUMENTS, the preset spelt out.
      counts: numbers of devices.
      envs: environments per device in weak scaling, in all in strong scaling.
      most_shards: devices that so many environments can be cut for.
      shared: whether the devices are parts of the CPU.
      most: devices that are at work at once: cores of the CPU, if they share it.
      note: what the measurements can show.
    """

    config: str
    counts: tuple[int, ...]
    envs: int
    most_shards: int
    shared: bool
    most: int
    note: str


def make_plan(options: argparse.Namespace) -> Plan:
    """What the command line means here.

    Raises:
      ValueError: values that do not fit each other, or a configuration that does not exist.
    """
    values = [f"--config.{item}" for item in options.override]
    config, _ = training_settings.load([f"--config={options.config}", *values])
    file, _, words = options.config.partition(":")
    words = [word for word in words.split(",") if word and not word.startswith("preset=")]
    shared = jax.default_backend() == "cpu"
    counts = [count for count in options.devices if shared or count <= jax.device_count()]
    minibatches = config.algorithm.num_minibatches
    most = max(counts, default=1)
    envs = options.envs or -(-config.num_envs // (minibatches * most)) * minibatches * most
    check_division(envs, minibatches, most)
    for fabric, count in itertools.product(links.FABRICS, options.predict):
        fabric.rings(count)
    words.append(f"preset={config.preset}")
    cores = provenance.cores()
    note = f"{most} of {jax.device_count()} devices: ideal is n times the frames/s of one"
    if shared:
        note = f"devices of one thread each on {cores} CPU cores: ideal is {cores} times one at most"
    at_once = cores if shared else most
    if not counts:
        note = "nothing is measured"
    return Plan(f"{file}:{','.join(words)}", tuple(counts), envs, envs // minibatches, shared, at_once, note)


def programs(counts: tuple[int, ...], envs: int) -> list[dict]:
    """What is compiled: one device for both scalings, then more devices for each."""
    found = []
    for count in counts:
        if count == 1:
            found.append({"scalings": ["weak", "strong"], "devices": 1, "num_envs": envs})
        else:
            found.append({"scalings": ["weak"], "devices": count, "num_envs": envs * count})
            found.append({"scalings": ["strong"], "devices": count, "num_envs": envs})
    return found


def same_results(one: dict, other: dict) -> bool:
    """Whether two first calls computed the same: environment steps equal, loss and gradient norm to `TOLERANCE`."""
    close = [np.allclose(one[name], other[name], rtol=TOLERANCE, atol=0) for name in ("loss", "gradient_norm")]
    return one["steps"] == other["steps"] and all(close)


def relate(rows: list[dict], most: float) -> None:
    """Adds to each row its rate relative to one device's, and to the ideal: n, but `most` where there are no more."""
    alone = rows[0]["frames_per_second"]["median"]
    for row in rows:
        row["ratio"] = row["frames_per_second"]["median"] / alone
        row["ideal_ratio"] = min(row["devices"], most)
        row["efficiency"] = row["ratio"] / row["ideal_ratio"]


class Bench:
    """Measures a plan, and keeps what is known in `result`, which is written whenever there is more."""

    def __init__(self, options: argparse.Namespace, plan: Plan, arguments: list[str], stack: contextlib.ExitStack):
        self.options, self.plan, self._stack = options, plan, stack
        self._places: dict[int, Any] = {}
        self.result = {
            "date": datetime.date.today().isoformat(),
            **provenance.of(arguments),
            **dataclasses.asdict(plan),
            "overrides": options.override,
            "updates": options.updates,
            "repeats": options.repeats,
            "rows": [],
        }

    def write(self) -> None:
        """The JSON file, if one is wanted."""
        if self.options.json:
            path = pathlib.Path(self.options.json)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.result)

    def place(self, count: int, virtual: bool) -> Any:
        """Where updates of so many devices run: virtual ones in a process for each number, real ones here."""
        key = count if virtual else 0
        if key not in self._places:
            made = devices.Worker if virtual else devices.Here
            sizes = (count,) if virtual else ()
            self._places[key] = made(self.plan.config, self.options.override, *sizes)
            self._stack.callback(self._places[key].close)
        return self._places[key]

    def prepare(self) -> None:
        """Compiles and runs every program once."""
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
        """Times the programs in turns."""
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
                relate(rows, self.plan.most)
            self.write()

    def predict(self) -> None:
        """From the seconds of one update on one device, and the bytes."""
        given, rows = self.options.compute_seconds, self.result["rows"]
        parts = self.result["traffic"]["from_parameters"]["parts"]
        compute = given or rows[0]["update_seconds"]
        self.result["prediction"] = {
            "what": report.PREDICTION,
            "compute_seconds": compute,
            "compute_from": "given" if given else f"measured on {jax.devices()[0].device_kind}",
            "fabrics": [dataclasses.asdict(fabric) for fabric in links.FABRICS],
            "rows": links.predict(compute, collectives.messages(parts), self.options.predict, self.plan.most_shards),
        }
        self.write()


def main(arguments: list[str]) -> None:
    """Measures, tables, predicts, writes."""
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
    print("\n".join([*report.measured(result["rows"]), *report.traffic(result["traffic"]), *report.predicted(result)]))
    if options.json:
        try:
            report.draw(result, pathlib.Path(options.json).with_suffix(".png"))
        except ModuleNotFoundError:
            print("no picture: it needs the extra, pip install -e '.[bench]'")
    if different := [row["devices"] for row in result["rows"] if not row.get("same_as_one_device", True)]:
        raise SystemExit(f"error: {different} devices compute something else than one")


if __name__ == "__main__":
    main(sys.argv)
