"""Whether a run repeats bit for bit on this device, and what `--deterministic` costs.

    python -m benchmarks.determinism --config=configs/pqn.py:preset=gpu --override=config.frames=4e6
    python -m benchmarks.determinism --config=configs/ppo.py:game=tmaze,preset=cpu --json=FILE.json

The configuration is trained twice as it is and twice with `--deterministic`, in turns, each time in a process and a
folder of its own. Two runs are the same if the digests of all arrays of their last checkpoints are. Speeds are those of
training, without compilation and evaluations.
"""

import argparse
import datetime
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks import training_settings
from podarcade.runtime import provenance, stored, supervisor
from podarcade.runtime.metrics import METRICS, read_last
from podarcade.runtime.run_files import write_json

ARMS = {"as it is": (), "deterministic": ("--deterministic",)}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line, without the name of the program."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/pqn.py", help="FILE.py:ARGUMENTS")
    parser.add_argument("--override", action="append", default=[], help="config.x=y; may be repeated")
    parser.add_argument("--json", default="", help="file for the results")
    return parser.parse_args(arguments)


def train(options: argparse.Namespace, more: tuple[str, ...], folder: pathlib.Path) -> dict[str, Any]:
    """Train a run; return the digests of its last checkpoint, and its speed.

    Raises:
      RuntimeError: it fails.
    """
    command = [
        sys.executable, "-m", "podarcade.launch", f"--config={options.config}", f"--workdir={folder}", *more,
        *(f"--{item}" for item in options.override),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {supervisor.describe(done.returncode)}: {done.stderr.strip()[-500:]}")
    checkpoints = folder / "checkpoints"
    record = read_last(folder / METRICS)[-1]
    return {
        "digests": stored.record(checkpoints / str(stored.steps(checkpoints)[-1]))["digests"],
        "frames_per_second": record["frames_per_second"],
        "updates": record["updates"],
    }


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every arm twice, in turns; return a row for each."""
    found: dict[str, list[dict]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        for trial in range(2):
            for name, more in ARMS.items():
                found[name].append(train(options, more, pathlib.Path(folder) / f"{name} {trial}".replace(" ", "-")))
    return [
        {
            "arm": name,
            "is_same": runs[0]["digests"] == runs[1]["digests"],
            "updates": runs[0]["updates"],
            "frames_per_second": [run["frames_per_second"] for run in runs],
        }
        for name, runs in found.items()
    ]


def line(row: dict[str, Any]) -> str:
    """Format a row for display."""
    same = "the same bit for bit" if row["is_same"] else "NOT the same"
    speeds = " and ".join(f"{speed:,.0f}" for speed in row["frames_per_second"])
    return f"{row['arm']:14} two runs of {row['updates']} updates: {same}; {speeds} frames/s"


def main(arguments: list[str]) -> None:
    """Measure, print, and write the results."""
    options = parse(arguments[1:])
    rows = measure(options)
    print("\n".join(map(line, rows)))
    if options.json:
        path = pathlib.Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"date": datetime.date.today().isoformat(), **provenance.collect(arguments), "rows": rows})


if __name__ == "__main__":
    main(sys.argv)
