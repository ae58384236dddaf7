"""Everything that an accelerator can tell, in four stages of at most ten minutes each.

    python -m benchmarks.accelerator --stage=1 --json=benchmarks/results/accelerator.json
    python -m benchmarks.accelerator --stage=2 --minutes=9 --json=benchmarks/results/accelerator.json
    python -m benchmarks.accelerator --stage=4 --toy --json=toy.json
    python -m benchmarks.accelerator --show=benchmarks/results/accelerator.json

Stage 1: the games and the memory layers; 2: training; 3: learning; 4: determinism, checkpoints, tasks without pixels.
Each measurement is a command of another benchmark, in a process of its own. Its result is added to the file as soon as
there is one; what is in the file is not measured again, so that the same command continues after a cut. A measurement
that the time does not suffice for is stopped; what it has written is kept, marked as cut off, and measured again.
Nothing is fetched from a network. `--toy` runs everything at the smallest size.

Exit code 0: the stage is complete; 1: an error, or a measurement failed; 75: measurements are left.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import accelerator_report, training_settings
from benchmarks.accelerator_stages import FULL, STAGES, TOY, Measurement
from podarcade.runtime import supervisor
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE, ERROR, REQUEUE

GRACE = 10.0  # seconds that a measurement which is stopped has to save what it found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line, without the name of the program."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--stage", type=int, choices=list(STAGES), help="1 to 4")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which everything is stopped")
    parser.add_argument("--json", default="", help="file of the results, of all stages; logs are in a folder beside it")
    parser.add_argument("--toy", action="store_true", help="the smallest size, for a CPU")
    parser.add_argument("--show", default="", help="print the results in a file, and measure nothing")
    options = parser.parse_args(arguments)
    if not options.show and not (options.stage and options.json):
        parser.error("expected --stage=1 to 4 and --json=FILE.json, or --show=FILE.json")
    if options.minutes <= 0:
        parser.error(f"--minutes={options.minutes:g}; expected a number > 0")
    return options


class Results:
    """The results of all stages, in one file: {"measurements": {name: {"stage", "command", "seconds", "result"}}}.

    Raises:
      ValueError: the file holds something else.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.measurements: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self.measurements = json.loads(path.read_text(encoding="utf-8"))["measurements"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} holds no results of benchmarks.accelerator; give another --json") from error

    def is_complete(self, measurement: Measurement) -> bool:
        """Whether a measurement has been made, by the same command, and to its end."""
        found = self.measurements.get(measurement.name, {})
        return "result" in found and not found["cut_off"] and found["command"] == list(measurement.command)

    def add(self, name: str, found: dict[str, Any]) -> None:
        """Add a measurement, and write the file."""
        self.measurements[name] = found
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"measurements": self.measurements})


def measure(one: Measurement, folder: pathlib.Path, deadline: float) -> dict[str, Any]:
    """Run a measurement, until the deadline at most; return what it found, and how it ended.

    Args:
      one: the measurement.
      folder: for its log and its own file.
      deadline: of `time.monotonic`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / "".join(letter if letter.isalnum() else "_" for letter in one.name)
    path = stem.with_suffix(".json")
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", *one.command, f"{one.output}={path}"]
    began = time.monotonic()
    with open(stem.with_suffix(".txt"), "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(max(deadline - began, 0.0))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    found = {"command": list(one.command), "date": datetime.date.today().isoformat(), "cut_off": code is None}
    found["seconds"] = round(time.monotonic() - began, 1)
    if path.exists():
        found["result"] = json.loads(path.read_text(encoding="utf-8"))
    if code:
        found["error"] = supervisor.describe(code, stem.with_suffix(".txt"), 0)
    return found


def _end(process: subprocess.Popen) -> None:
    """Stop a process and its children, where they still run."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def run(options: argparse.Namespace) -> int:
    """Run what is left of a stage; return the exit code."""
    deadline = time.monotonic() + 60 * options.minutes
    path = pathlib.Path(options.json)
    results, folder = Results(path), path.with_suffix("")
    chosen = list(STAGES[options.stage](TOY if options.toy else FULL, folder))
    for number, one in enumerate(chosen, 1):
        if results.is_complete(one):
            continue
        left = deadline - time.monotonic() - GRACE
        if left < one.seconds:
            print(f"[{number}/{len(chosen)}] {one.name}: left for another time, {max(left, 0):.0f} s remain")
            continue
        print(f"[{number}/{len(chosen)}] {one.name} ...", flush=True)
        found = measure(one, folder, deadline - GRACE)
        results.add(one.name, {"stage": options.stage, **found})
        print("\n".join(accelerator_report.lines(one.name, results.measurements[one.name])), flush=True)
    if any("error" in results.measurements.get(one.name, {}) for one in chosen):
        return ERROR
    return DONE if all(map(results.is_complete, chosen)) else REQUEUE


def main(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options = parse(arguments[1:])
    try:
        if options.show:
            measurements = Results(pathlib.Path(options.show)).measurements
            print(
                "\n".join(line for name in measurements for line in accelerator_report.lines(name, measurements[name]))
            )
            return DONE
        return run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv))
