"""Facts of the update's program on every platform, which no clock is needed for.

    python -m benchmarks.programs
    python -m benchmarks.programs --algorithms=pqn --platforms=gpu --arguments=memory=gru --json=FILE.json

Each configuration configs/ALGORITHM.py is traced for a platform, in its forms, and lowered for it: an accelerator is
not needed. On accelerators, with preset `gpu`, the environments are split over two, so that what these send each other
is there. The programs are compiled too where the platform's compiler is installed, see `program_facts.compilable`.
"""

import argparse
import datetime
import pathlib
import sys
from typing import Any

from benchmarks import program_facts, training_runs, training_settings
from podarcade import plugins
from podarcade.runtime import provenance
from podarcade.runtime.run_files import write_json

HEAD = (
    f"{'':14}{'operations':>12}{'loops':>8}{'gathers':>10}{'rollout step':>14}{'gradient step':>16}{'time loops':>12}"
    f"{'sent in one':>14}{'in an update':>14}{'largest':>15}"
)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line, without the name of the program."""
    parser = training_settings.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    known = {"algorithms": training_settings.configured(), "platforms": list(program_facts.PLATFORMS)}
    for name, choices in known.items():
        parser.add_argument(f"--{name}", default="", help=f"default: all of {','.join(choices)}")
    parser.add_argument("--arguments", default="", help="further arguments of the configurations: x=y,x=y")
    parser.add_argument("--no_compile", action="store_true", help="lower only: seconds for each program")
    parser.add_argument("--json", default="", help="file for the results")
    options = parser.parse_args(arguments)
    for name, choices in known.items():
        chosen = getattr(options, name).split(",") if getattr(options, name) else choices
        for item in chosen:
            if item not in choices:
                parser.error(f"--{name}={item}; {plugins.did_you_mean(item, choices)}")
        setattr(options, name, chosen)
    return options


def main(arguments: list[str]) -> None:
    """Print the facts of every program, and write them."""
    options, rows = parse(arguments[1:]), []
    training_runs.prepare_jax(0)
    print(HEAD)
    for algorithm in options.algorithms:
        for platform in options.platforms:
            try:
                rows.append(program_facts.measure(algorithm, platform, options.arguments, not options.no_compile))
            except ValueError as error:
                raise SystemExit(f"error: {error}") from error
            _print(rows[-1])
    if options.json:
        about = {"date": datetime.date.today().isoformat(), **provenance.collect(arguments)}
        write_json(pathlib.Path(options.json), about | {"rows": rows})


def _print(row: dict[str, Any]) -> None:
    sent, memory = row["collectives"], row["largest_bytes"] / 1e6
    print(
        f"{row['algorithm']:8}{row['platform']:6}{row['operations']:12,}{row['loops']:8}{row['gathers']:10}"
        f"{row['rollout_step']:14,}{row['gradient_step']:16,}{len(row['time_loops']):12}"
        f"{sent['gradient_step']:14}{sent['update']:14,}{memory:12,.0f} MB"
    )
    if compiled := row.get("compiled"):
        steps = {name: compiled[name] for name in ("rollout_step", "gradient_step")}
        text = ", ".join(
            f"{name.replace('_', ' ')}: {found['instructions']} instructions ({found['fusions']} fusions)"
            for name, found in steps.items()
        )
        print(f"{'':8}compiled for {compiled['device']}: {text}; {compiled['temporary_bytes'] / 1e6:,.0f} MB")


if __name__ == "__main__":
    main(sys.argv)
