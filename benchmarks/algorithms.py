"""Training throughput of the algorithms, measured in turns.

    python -m benchmarks.algorithms --preset=cpu
    python -m benchmarks.algorithms --preset=gpu --arguments=game=breakout,encoder=patch --json=FILE.json

Each configuration configs/ALGORITHM.py is trained by the program that `podarcade.launch` uses. All programs are
compiled concurrently; then they are called in turns, so that other load on the machine affects them equally. The first
round is a warm-up and is not counted. Evaluations are excluded. A checksum of the parameters is recorded: leaving out
any part of an update would change it.
"""

import concurrent.futures
import datetime
import pathlib
import sys

import numpy as np
from absl import app, flags

from benchmarks import collectives, training_runs, training_settings
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

PRESET = flags.DEFINE_string("preset", "cpu", "preset of the configurations")
ARGUMENTS = flags.DEFINE_string("arguments", "", "further arguments of the configurations: x=y,x=y")
OVERRIDES = flags.DEFINE_multi_string("override", [], "config.x=y for all of them; may be repeated")
ALGORITHMS = flags.DEFINE_list("algorithms", [], "names; empty: every algorithm that has a configuration in configs/")
REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls of each program", lower_bound=1)
JSON = flags.DEFINE_string("json", "", "JSON file to write")


def prepare(name: str) -> training_runs.Training:
    """Return the training run of an algorithm's configuration, compiled and initialised."""
    arguments = ",".join(filter(None, [f"preset={PRESET.value}", ARGUMENTS.value]))
    command = [
        f"--config={training_settings.config_file(name)}:{arguments}",
        *training_settings.as_flags(OVERRIDES.value),
    ]
    _, run = training_settings.load(command)
    return training_runs.Training(run)


def measure(names: list[str]) -> list[dict]:
    """Return a row per algorithm."""
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        trained = dict(zip(names, pool.map(prepare, names), strict=True))
    rounds = [{name: one.call() for name, one in trained.items()} for _ in range(REPEATS.value + 1)][1:]
    rates = {name: [found[name]["frames"] / found[name]["seconds"] for found in rounds] for name in names}
    return [
        {
            "algorithm": name,
            "title": one.run.title,
            "frames_per_second": float(np.median(rates[name])),
            "range": [min(rates[name]), max(rates[name])],
            "compile_seconds": one.compile_seconds,
            "parameters": one.parameters,
            "program_bytes": one.program_bytes,
            "replay_bytes": collectives.tree_bytes(one.run.abstract_state().replay),
            **one.outcome,
        }
        for name, one in trained.items()
    ]


def main(_) -> None:
    """Measure, print, write."""
    training_runs.prepare_jax(0)
    names = ALGORITHMS.value or training_settings.configured()
    try:
        rows = measure(names)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    heads = f"{'frames/s':>12}{'lowest':>12}{'highest':>12}{'of the fastest':>16}{'compiled in':>13}{'replay':>12}"
    print(f"{'algorithm':12}{heads}")
    fastest = max(row["frames_per_second"] for row in rows)
    for row in rows:
        rate, (low, high) = row["frames_per_second"], row["range"]
        print(
            f"{row['algorithm']:12}{rate:12,.0f}{low:12,.0f}{high:12,.0f}{rate / fastest:16.2f}"
            f"{row['compile_seconds']:11.1f} s{row['replay_bytes'] / 1e6:9,.0f} MB"
        )
    if JSON.value:
        about = {"date": datetime.date.today().isoformat(), **provenance.collect(sys.argv)}
        write_json(pathlib.Path(JSON.value), about | {"repeats": REPEATS.value, "rows": rows})


if __name__ == "__main__":
    app.run(main)
