"""The folders that a command is asked for, expanded to the folders of runs."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from podarcade.runtime.members import MEMBERS
from podarcade.runtime.metrics import METRICS

MARKS = ("config.json", METRICS, "run.json", "checkpoints")  # any of them makes a folder one of a run
DEEPEST = 6  # levels of folders that are searched for runs


@dataclasses.dataclass(frozen=True)
class Broken:
    """A folder that holds no run that can be read.

    Attributes:
      path: the folder.
      problem: why, in one line.
    """

    path: pathlib.Path
    problem: str


def find(given: Sequence[pathlib.Path]) -> Iterator[pathlib.Path | Broken]:
    """Yield the folders of runs, without repetitions; folders that hold runs are expanded to these."""
    seen = set()
    for path in given:
        for found in _expanded(path):
            key = found if isinstance(found, Broken) else found.resolve()
            if key not in seen:
                seen.add(key)
                yield found


def runs_in(given: Sequence[str]) -> list[pathlib.Path]:
    """Return the folders of runs, without repetitions; folders that hold runs are expanded to these.

    Raises:
      ValueError: a folder holds no run.
    """
    found = []
    for path in find([pathlib.Path(text).expanduser() for text in given]):
        if isinstance(path, Broken):
            why = path.problem.removeprefix("holds no run: ")
            raise ValueError(f"{path.path} holds no run: {why}; expected the --workdir of a run, or a folder of runs")
        found.append(path)
    return found


def _expanded(path: pathlib.Path) -> list[pathlib.Path | Broken]:
    if not path.is_dir():
        return [Broken(path, "a file, not the folder of a run" if path.exists() else "there is no such folder")]
    found = list(_runs_inside(path, DEEPEST))
    return found or [Broken(path, f"holds no run: none of {', '.join(MARKS)} in it or in its folders")]


def _runs_inside(path: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
    is_population = (path / MEMBERS).exists()  # no run itself; its members may be in folders inside
    if not is_population and any((path / mark).exists() for mark in MARKS):
        yield path
        return
    try:
        folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in folders if depth else ():
        if not name.startswith("."):
            yield from _runs_inside(path / name, depth - 1)
