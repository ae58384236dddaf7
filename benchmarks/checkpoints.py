"""Measure the cost of checkpoints: time that training is blocked, time to write, time to restore.

    python -m benchmarks.checkpoints --megabytes=1,100,1000 --json=benchmarks/results/checkpoints-cpu.json

States are random, so that they do not compress, in as many arrays as the network and optimiser of the `cpu` preset.
Training is blocked by the digests and by the copy to write from; the rest runs in the background. The target is less
than 100 ms plus 1 s per gigabyte. Each size is warmed up once, then measured `--repeats` times.
"""

import argparse
import datetime
import pathlib
import statistics
import sys
import tempfile
import time

import jax

from benchmarks import training_settings
from podarcade.runtime import backend, provenance
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.run_files import write_json

ARRAYS = 60
TARGET = 0.1, 1.0  # seconds, and seconds per gigabyte


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line, without the name of the program."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--megabytes", default="1,100", help="sizes of the state")
    parser.add_argument("--repeats", type=int, default=5, help="measured saves of each size")
    parser.add_argument(
        "--folder", default="", help="directory on the disk to measure; default: the temporary directory"
    )
    parser.add_argument("--json", default="", help="file for the results")
    options = parser.parse_args(arguments)
    try:
        options.megabytes = [float(size) for size in options.megabytes.split(",")]
    except ValueError:
        parser.error(f"--megabytes={options.megabytes}; expected comma-separated sizes, such as 1,100")
    if min(options.megabytes) <= 0 or options.repeats < 1:
        parser.error("--megabytes must be > 0 and --repeats >= 1")
    return options


def measure(megabytes: float, repeats: int, folder: pathlib.Path) -> dict:
    """Measure one size: medians over `repeats` saves, and one restore."""
    length = max(round(megabytes * 1e6 / 4 / ARRAYS), 1)
    state = {f"array {i}": jax.random.normal(jax.random.key(i), (length,)) for i in range(ARRAYS)}
    jax.block_until_ready(state)
    blocked, written = [], []
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    began = time.monotonic()
    checkpoints.prepare(state)
    prepared = time.monotonic() - began
    for step in range(1, repeats + 2):
        began = time.monotonic()
        checkpoints.save(step, state, {})
        saved = time.monotonic()
        if not checkpoints.wait():
            raise SystemExit(f"error: {megabytes:g} MB could not be saved in {folder}")
        blocked.append(saved - began)
        written.append(time.monotonic() - saved)
    checkpoints.close()
    began = time.monotonic()
    jax.block_until_ready(Checkpoints(folder / "checkpoints").restore(state))
    restored = time.monotonic() - began
    gigabytes = ARRAYS * length * 4 / 1e9
    return {
        "megabytes": gigabytes * 1e3,
        "blocked_seconds": statistics.median(blocked[1:]),
        "longest_blocked_seconds": max(blocked[1:]),
        "promised_seconds": TARGET[0] + TARGET[1] * gigabytes,
        "written_seconds": statistics.median(written[1:]),
        "restored_seconds": restored,
        "first_blocked_seconds": blocked[0],
        "prepared_seconds": prepared,  # before training: compiles the digests
    }


def line(row: dict) -> str:
    """Format a row for display."""
    return (
        f"{row['megabytes']:8.0f} MB: training blocked for {row['blocked_seconds']:.3f} s (longest "
        f"{row['longest_blocked_seconds']:.3f}, the first {row['first_blocked_seconds']:.3f}, target "
        f"{row['promised_seconds']:.2f}), written in another {row['written_seconds']:.2f} s, restored in "
        f"{row['restored_seconds']:.2f} s"
    )


def main(arguments: list[str]) -> None:
    """Measure, print, and write the results."""
    options = parse(arguments[1:])
    backend.configure(0)
    rows = []
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory(dir=options.folder or None) as folder:
            rows.append(measure(megabytes, options.repeats, pathlib.Path(folder)))
        print(line(rows[-1]), flush=True)
    if options.json:
        path = pathlib.Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"date": datetime.date.today().isoformat(), **provenance.collect(arguments), "rows": rows})


if __name__ == "__main__":
    main(sys.argv)
