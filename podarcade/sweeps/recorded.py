"""Runs of a recorded comparison, planned again from the command line that its result names."""

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from podarcade import plugins
from podarcade.sweeps import jobs

SEVERAL = ("variant", "override")  # flags that may be repeated
DEFAULTS = {"config": "configs/pqn_lru.py", "tasks": "minesweeper/partial", "seeds": "3", "memories": ""}


def read(path: pathlib.Path) -> dict[str, Any]:
    """Return the content of a result, which holds its command line as `arguments`.

    Raises:
      ValueError: the file cannot be read, or holds no command line.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["arguments"], list):
            return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} names no command line ({type(error).__name__}: {error})") from error
    raise ValueError(f"{path} names no command line; expected a list of words as `arguments`")


def is_comparison(path: pathlib.Path) -> bool:
    """Return whether a file is a result of `podarcade.compare`.

    Raises:
      ValueError: the file is not JSON.
    """
    try:
        return "runs" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def commands(arguments: Sequence[str], rows: Sequence[dict]) -> list[tuple[str, ...]]:
    """Return the arguments of `podarcade.launch` that train each row of a comparison.

    Args:
      arguments: of the comparison, as its result records them.
      rows: with `task` and `variant`.

    Raises:
      ValueError: a row that these arguments do not plan, such as one of an earlier result, or of `--ablate`.
    """
    with tempfile.TemporaryDirectory() as folder:  # the runs of the comparison may still be elsewhere
        planned = {(job.task, job.variant): job.arguments for job in _plan(arguments, pathlib.Path(folder))}
    found = []
    for row in rows:
        key = jobs.Task(**row["task"]), row["variant"]
        if key not in planned:
            raise ValueError(
                f"{key[0].name} {key[1]}: not planned by the recorded command line, so that its command is unknown; "
                "add the result that it was first written to"
            )
        found.append(planned[key])
    return found


def _plan(arguments: Sequence[str], folder: pathlib.Path) -> list[jobs.Job]:
    given: dict[str, str] = dict(DEFAULTS)
    several: dict[str, list[str]] = {name: [] for name in SEVERAL}
    for word in arguments:
        name, _, value = word.removeprefix("--").partition("=")
        if name in several:
            several[name].append(value)
        else:
            given[name] = value
    tasks = [task for text in given["tasks"].split(",") for task in jobs.read_tasks(text)]
    memories = plugins.names("memory") if given["memories"] == "all" else filter(None, given["memories"].split(","))
    texts = [*several["variant"], *(f"{memory}:memory={memory}" for memory in memories)] or ["default"]
    variants = [jobs.read_variant(text, given["config"]) for text in texts]
    return jobs.plan(tasks, variants, int(given["seeds"]), several["override"], folder)
