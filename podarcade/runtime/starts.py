"""run.json, the list of all starts of a run, and the check that automatic restarts make progress."""

import contextlib
import json
import os
import pathlib
from typing import Any

from podarcade.runtime import provenance, run_files
from podarcade.runtime.differences import differences
from podarcade.runtime.supervisor import SERIES


def record(workdir: pathlib.Path, arguments: list[str], about: dict[str, Any] | None = None) -> str:
    """Append the provenance of this start to run.json.

    Args:
      workdir: directory of the run.
      arguments: the command line, the program's name first.
      about: what else to record of this start, JSON-serialisable.

    Returns:
      A warning, in one line, if this start differs from the last one in what can change the bits of the result
      (source code, processor, cores, XLA flags, jax settings); otherwise an empty string.
    """
    starts = read(workdir)
    start = (
        provenance.collect(arguments)
        | (about or {})
        | {
            "updates": _newest_checkpoint(workdir),
            "series": os.environ.get(SERIES, ""),
        }
    )
    run_files.write_json(workdir / "run.json", [*starts, start])
    if not starts:
        return ""
    last = {name: starts[-1][name] for name in provenance.REPRODUCIBILITY if name in starts[-1]}
    different = differences(last, {name: start[name] for name in last})
    return different and (
        f"WARNING: the run was last started under other conditions ({different}); "
        "results may round differently or draw other random numbers"
    )


def check_progress(workdir: pathlib.Path) -> None:
    """Refuse an automatic restart after two starts in a row that made no progress.

    `--restarts` and the templates in launch/ give all starts that follow each other automatically the same
    value of the environment variable PODARCADE_SERIES. A start by hand has none, and is never refused.

    Raises:
      ValueError: the newest checkpoint is the one that the last two starts of the series began with.
    """
    series, updates = os.environ.get(SERIES), _newest_checkpoint(workdir)
    if series and [start["updates"] for start in read(workdir) if start.get("series") == series][-2:] == [updates] * 2:
        raise ValueError(
            f"the last two starts made no progress, both ended after {updates} updates; not restarting: "
            "see the log above for the cause, then re-run the same command to resume"
        )


def _newest_checkpoint(workdir: pathlib.Path) -> int:
    """Return the number of updates of the newest complete checkpoint, 0 if there is none."""
    return max((int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()), default=0)


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return the starts recorded so far; none if the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((workdir / "run.json").read_text(encoding="utf-8"))
    return []
