"""Agents side by side in one program, against one program each: seconds of whole sweeps, with start and compilation.

    python -m benchmarks.side_by_side --json=benchmarks/results/side_by_side-cpu.json
    python -m benchmarks.side_by_side --cases=vector_seeds --frames=100000

Each case is a grid of `podarcade.sweep` that is trained from an empty folder and an empty cache of compiled programs:
as the sweep plans it; with `--slots=1`, one program for each agent, as many at a time as there are cores; and these one
after the other, each on all cores. The agents are the same, so that the means of their final returns agree.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from podarcade.reporting import results
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json


class Case(NamedTuple):
    """A grid, and the frames of each of its agents."""

    grid: str
    frames: int


RATES = ",".join(f"{10 ** (-4 + index / 4):.3g}" for index in range(8))
VECTOR = "file=configs/ppo.py game=repeat_previous memory=gru preset=cpu"
CASES = {
    "vector_seeds": Case(f"{VECTOR} seeds=16", 100_000),
    "vector_rates": Case(f"{VECTOR} seeds=1 config.algorithm.learning_rate={RATES}", 100_000),
    "pixel_seeds": Case("file=configs/pqn.py game=cartpole memory=gru preset=cpu seeds=4", 10_000),
}
ARMS = {"planned": (), "one each": ("--slots=1",), "in turn": ("--slots=1", "--processes=1")}


def train(case: Case, options: Sequence[str], frames: int) -> dict:
    """Train a case from scratch; return its seconds, and the final return of each agent.

    Raises:
      RuntimeError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "podarcade.sweep", f"--grid={case.grid}", f"--workdir={folder}/sweep",
            f"--override=config.frames={frames}", *options,
        ]  # fmt: skip
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
        rows, _ = results.read_rows(pathlib.Path(folder) / "sweep" / "results.json", None)
        return {"seconds": seconds, "finals": sorted(value for row in rows for value in row["fresh"])}


def measure(name: str, frames: int, repeats: int) -> dict:
    """Return the seconds of all arms, in turns, and their ratios to the planned one."""
    case = CASES[name]
    frames = frames or case.frames
    found: dict[str, list[dict]] = {arm: [] for arm in ARMS}
    for _ in range(repeats):
        for arm, options in ARMS.items():
            found[arm].append(train(case, options, frames))
            print(f"{name}, {arm}: {found[arm][-1]['seconds']:.0f} s", flush=True)
    seconds = {arm: [one["seconds"] for one in trained] for arm, trained in found.items()}
    medians = {arm: statistics.median(values) for arm, values in seconds.items()}
    return {
        "case": name,
        "grid": case.grid,
        "frames": frames,
        "seconds": seconds,
        "ratio": {arm: medians[arm] / medians["planned"] for arm in ARMS},
        "final": {arm: statistics.mean(trained[0]["finals"]) for arm, trained in found.items()},
    }


def main(arguments: Sequence[str]) -> int:
    """Measure the cases; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated names")
    parser.add_argument("--frames", type=int, default=0, help="frames of each agent; 0: those of the case")
    parser.add_argument("--repeats", type=int, default=1, help="of each arm, in turns")
    parser.add_argument("--json", default="", help="file of the results")
    options = parser.parse_args(arguments[1:])
    rows = []
    for name in options.cases.split(","):
        rows.append(measure(name, options.frames, options.repeats))
        print(f"{name}: seconds over planned {rows[-1]['ratio']}", flush=True)
        if options.json:
            write_json(pathlib.Path(options.json), provenance.collect(list(arguments)) | {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
