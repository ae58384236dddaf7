"""Measure how far back every memory layer sees at initialisation.

    python -m benchmarks.horizon --json=benchmarks/results/horizon-cpu.json

For a layer with its default options, its own (`paper`) or `matched` initial time constants, fresh parameters and normal
inputs x,

    g(k) = |∂(w · y[T])/∂x[T - k]| / |∂(w · y[T])/∂x[T]|

with a random direction w, as a geometric mean over seeds (`layers.horizon`). A layer with a small g(k) gets next to no
gradient from what lies k steps back, so it has to lengthen its horizon before it can learn from it.
"""

import argparse
import pathlib
import sys

from benchmarks import layers
from podarcade import configuration, plugins
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

STEPS = (1, 8, 32, 128)
WIDTH, SEEDS = 128, 3


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", default="", help="comma-separated names; empty for all")
    parser.add_argument("--json", default="", help="file to write the result to; empty for none")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    rows = {init: {} for init in configuration.INITS}
    print(f"{'memory':20}{'init':10}" + "".join(f"{f'g({steps})':>12}" for steps in STEPS))
    for name in options.memories.split(",") if options.memories else plugins.names("memory"):
        memory = plugins.find("memory", name)
        for init, changes in layers.initialisations(memory).items():
            rows[init][name] = layers.horizon(memory(width=WIDTH, **changes), STEPS, SEEDS)
            print(f"{name:20}{init:10}" + "".join(f"{value:12.1e}" for value in rows[init][name]), flush=True)
    if options.json:
        about = {"width": WIDTH, "seeds": SEEDS, "steps": STEPS, "init_horizon": configuration.MATCHED_HORIZON}
        about["rows"] = rows
        write_json(pathlib.Path(options.json), provenance.collect(arguments) | about)


if __name__ == "__main__":
    main(sys.argv)
