"""Measure how many seeds one program should train on this device: environment steps per second, by number of seeds.

    python -m podarcade.probe --config=configs/ppo.py:game=tmaze,memory=gru --sizes=1,4,16 --cpu_devices=1

Each size is compiled, warmed up, and then timed in turns with the others, so that other work on the machine slows
them equally. A size pays off where it makes more steps per second than 1 does; a sweep takes the fastest. Seeds stand
for the members of a population too, which cost the same. Nothing is written, apart from --json.

Exit code 0: done; 1: an error.
"""

import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from podarcade.build import build
from podarcade.configuration import ConfigDict, command_line
from podarcade.runtime import backend, failures, memory_usage, provenance
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE

TIE = 0.03  # a larger program must be faster by this share to be preferred


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line besides `--config`."""
    values = flags.FlagValues()
    flags.DEFINE_string("sizes", "1,4,16", "numbers of seeds in one program, comma-separated", flag_values=values)
    flags.DEFINE_integer("repeats", 5, "timed calls of each program", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("cpu_devices", 0, "split the CPU into this many devices of one thread", flag_values=values)
    flags.DEFINE_string("json", "", "file to write", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


class Timed:
    """A compiled program of some seeds, warmed up.

    Args:
      config: configuration of a run.
      seeds: number of seeds.
    """

    def __init__(self, config: ConfigDict, seeds: int):
        changed = config.copy_and_resolve_references()
        changed.seeds, changed.population = seeds, ""
        run = build(changed)
        self._state = run.init()
        began = time.perf_counter()
        self._program = run.updater.compile(self._state, run.updates_per_call)
        self.compile_seconds = time.perf_counter() - began
        self.memory = memory_usage.planned(self._program.compiled)
        self.rates: list[float] = []
        self.call()

    def call(self) -> float:
        """Run one call; return the environment steps of all seeds per second."""
        began = time.perf_counter()
        self._state, metrics = self._program(self._state)
        steps = int(np.sum(jax.device_get(metrics).counts.steps, dtype=np.int64))
        return steps / (time.perf_counter() - began)


def measure(config: ConfigDict, sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Return a row for each number of seeds.

    Args:
      config: configuration of a run.
      sizes: numbers of seeds.
      repeats: timed calls of each, in turns.

    Returns:
      [{"seeds": ..., "frames_per_second": median, "low": ..., "high": ..., "compile_seconds": ...,
      "megabytes": planned device memory, None where the backend does not say}, ...]
    """
    programs = {size: Timed(config, size) for size in sizes}
    for _ in range(repeats):
        for program in programs.values():
            program.rates.append(program.call())
    return [
        {
            "seeds": size,
            "frames_per_second": statistics.median(program.rates),
            "low": min(program.rates),
            "high": max(program.rates),
            "compile_seconds": program.compile_seconds,
            "megabytes": program.memory.total / 1e6 if program.memory else None,
        }
        for size, program in programs.items()
    ]


def best(rows: list[dict[str, Any]]) -> int:
    """Return the number of seeds of the fastest program; a smaller one, where that is as fast within `TIE`."""
    fastest = max(row["frames_per_second"] for row in rows)
    return min(row["seeds"] for row in rows if row["frames_per_second"] >= (1 - TIE) * fastest)


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    options = make_flags()
    try:
        command_line.parse(options, arguments)
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return DONE
        return _main(options, arguments)
    except Exception as error:
        failure = failures.classify(error)
        failures.show(failure, error)
        return failure.exit_code


def _main(options: flags.FlagValues, arguments: list[str]) -> int:
    backend.configure(options.cpu_devices)
    config = command_line.load(options, arguments)
    sizes = sorted({_number(text) for text in options.sizes.split(",")})
    rows = measure(config, sizes, options.repeats)
    print(f"{'seeds':>5}{'frames/s':>12}{'range':>21}{'ratio':>8}{'compiled in':>13}{'memory':>11}")
    for row in rows:
        ratio = row["frames_per_second"] / rows[0]["frames_per_second"]
        memory = "-" if row["megabytes"] is None else f"{row['megabytes']:,.0f} MB"
        spread = f"{row['low']:,.0f} to {row['high']:,.0f}"
        print(
            f"{row['seeds']:5}{row['frames_per_second']:12,.0f}{spread:>21}{ratio:8.2f}"
            f"{row['compile_seconds']:11.1f} s{memory:>11}"
        )
    chosen = best(rows)
    print(f"fastest: {chosen} seed{'s'[: chosen > 1]} in one program")
    if options.json:
        write_json(pathlib.Path(options.json), provenance.collect(arguments) | {"rows": rows, "best": chosen})
    return DONE


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--sizes has {text!r}; expected numbers of seeds, as 1,4,16")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
