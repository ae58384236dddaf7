"""Write a report of runs: one HTML file that needs neither a network nor any other file.

    python -m podarcade.report runs/mine
    python -m podarcade.report runs/lru runs/gru --output=reports/memories.html
    python -m podarcade.report runs --paper=paper/figures

A folder that holds runs, such as that of a comparison, stands for these. Runs that are still training or that cannot be
read are reported as such. Every number of the page is in the JSON file of the same name; with --paper each figure is
written as PDF and its data as CSV.

Exit code 0: done; 1: an error, or no run that can be read.
"""

import os
import pathlib
import sys
import time

from absl import flags

from podarcade.reporting.report import writing
from podarcade.runtime import door
from podarcade.runtime.signals import DONE, ERROR


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_string("output", "report.html", "HTML file to write", flag_values=values)
    flags.DEFINE_string("title", "podarcade report", "title of the page", flag_values=values)
    flags.DEFINE_string("paper", "", "folder for each figure as PDF and its data as CSV", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # sizes of layers are computed, and an accelerator may be in use
    options = make_flags()
    return door.enter(__doc__, options, arguments, lambda runs: report(options, runs, arguments))


def report(options: flags.FlagValues, given: list[str], arguments: list[str]) -> int:
    """Write what the options describe; return the exit code."""
    if not given:
        raise ValueError("no run given; expected the folders of runs, as in podarcade report runs/mine")
    began = time.monotonic()
    path = _output(options.output)
    runs, broken = writing.gather([pathlib.Path(run).expanduser() for run in given])
    made_of = writing.write_page(path, options.title, writing.made(arguments), runs, broken)
    lost = f", {len(broken)} folders that cannot be read" if broken else ""
    print(
        f"{len(runs)} runs{lost}: {path} ({path.stat().st_size / 1e6:.1f} MB, {time.monotonic() - began:.1f} s), "
        f"{path.with_suffix('.json')}"
    )
    if options.paper:
        folder = pathlib.Path(options.paper).expanduser()
        print(f"{len(writing.write_paper(folder, made_of))} files for a paper: {folder}")
    return DONE if runs else ERROR


def _output(text: str) -> pathlib.Path:
    path = pathlib.Path(text).expanduser()
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"--output={text}; expected the name of a file that ends with .html")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv))
