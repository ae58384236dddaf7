"""Write the leaderboard: rankings of agents over tasks from the scores of their runs, with uncertainty.

    python -m podarcade.leaderboard
    python -m podarcade.leaderboard --scores=runs/mine/scores --output=runs/mine/leaderboard.md
    python -m podarcade.leaderboard --add=runs/mine/scores/mine.json
    python -m podarcade.leaderboard --add=benchmarks/results/needs_memory-cpu.json --name=needs_memory

Scores are files NAME.json with a row for each run. --add first adds those of a sweep, or of a result of
`podarcade.compare`, to SCORES/NAME.json: a row is accepted only with the command that makes its configuration, and
replaces an earlier one of the same agent, task, budget and seeds. The picture is written beside the scores.

Exit code 0: done; 1: an error, and nothing is written.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from podarcade.reporting import leaderboard as rankings
from podarcade.reporting import leaderboard_page, results, scores
from podarcade.runtime import door
from podarcade.runtime.signals import DONE
from podarcade.sweeps import recorded


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_string("scores", "benchmarks/scores", "folder of the scores", flag_values=values)
    flags.DEFINE_string("output", "docs/leaderboard.md", "Markdown file to write", flag_values=values)
    flags.DEFINE_list("add", [], "files whose rows are added: scores, or results of comparisons", flag_values=values)
    flags.DEFINE_string("name", "", "name of the scores that --add writes; its file's by default", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # configurations are read, and an accelerator may be in use
    options = make_flags()
    return door.enter(__doc__, options, arguments, door.flags_only(lambda: write(options)))


def write(options: flags.FlagValues) -> int:
    """Add and write what the options describe; return the exit code."""
    folder, output = (pathlib.Path(text).expanduser() for text in (options.scores, options.output))
    if output.suffix != ".md":
        raise ValueError(f"--output={options.output}; expected the name of a file that ends with .md")
    print("".join(f"{line}\n" for line in add(options.add, folder, options.name)), end="")
    print("\n".join(leaderboard_page.write(folder, output)))
    return DONE


def add(files: Sequence[str], folder: pathlib.Path, name: str) -> list[str]:
    """Add the rows of files to scores/NAME.json, or to that of each file's own name; return lines on them.

    Raises:
      ValueError: a file holds neither scores nor results, a row has no command that makes its configuration, or the
        scores cannot be compared with the new rows among them; then nothing is written.
    """
    changed: dict[pathlib.Path, list[dict]] = {}
    lines = []
    for file in (pathlib.Path(text).expanduser() for text in files):
        path = folder / f"{name or file.stem}.json"
        new = from_comparison(file) if recorded.is_comparison(file) else scores.read(file)
        old = changed[path] if path in changed else scores.read(path) if path.exists() else []
        changed[path] = scores.merged(old, new)
        lines.append(f"{len(new)} runs of {file}: {path}")
    others = [path for path in sorted(folder.glob("*.json")) if path not in changed] if changed else []
    known = changed | {path: scores.read(path) for path in others}
    rankings.groups(row | {"file": path.name} for path, rows in known.items() for row in rows)
    for path, rows in changed.items():
        scores.write(path, rows)
    return lines


def from_comparison(file: pathlib.Path) -> list[dict]:
    """Return the scores of the runs of a result of `podarcade.compare`."""
    rows, _ = results.read_rows(file)
    content = recorded.read(file)
    commands = recorded.commands(content["arguments"], rows)
    origin = scores.origin_of([content])
    return [
        scores.row(row, scores.command(arguments, row["config"]), origin)
        for row, arguments in zip(rows, commands, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
