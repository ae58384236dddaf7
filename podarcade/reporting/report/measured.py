"""What `podarcade diagnose` left in the folder of a run: summaries by seed, arrays of all seeds."""

import dataclasses
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from podarcade import plugins
from podarcade.reporting.report.markup import Markup, paragraph
from podarcade.reporting.report.reading import ReportedRun

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a diagnostic found in the agents of a run, at the last number of updates that it was applied to.

    Attributes:
      updates: that number.
      options: of the diagnostic.
      seeds: {seed: summary}, as text from diagnostics.json.
      untrained: likewise of the control, networks with new parameters; empty where there is none.
      path: file of the arrays, which may be missing.
    """

    updates: int
    options: dict[str, Any]
    seeds: dict[str, dict[str, Any]]
    untrained: dict[str, dict[str, Any]]
    path: pathlib.Path

    def numbers(self, *path: str, untrained: bool = False) -> np.ndarray:
        """Return what the summaries have at a path of keys, float[S]; NaN where there is no number."""
        group = self.untrained if untrained else self.seeds
        return np.array([_number(summary, path) for summary in group.values()], float)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays [S, ...] of all seeds.

        Raises:
          ValueError: the file is missing or damaged.
        """
        try:
            with np.load(self.path) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path} cannot be read ({type(error).__name__})") from None


def measured(run: ReportedRun, name: str) -> Measured | None:
    """Return what a diagnostic found in a run; None where it was not applied, or its record is damaged."""
    found = run.diagnostics.get(name)
    steps = [int(key) for key in found if key.isdecimal()] if isinstance(found, dict) else []
    latest = found[str(max(steps))] if steps and str(max(steps)) in found else None
    if not isinstance(latest, dict) or not isinstance(latest.get("seeds"), dict):
        return None
    if not isinstance(latest.get("untrained", {}), dict):
        return None
    seeds, untrained = (_summaries(latest.get(group)) for group in ("seeds", "untrained"))
    path = run.path / "diagnostics" / f"{plugins.label(name)}-{max(steps)}.npz"
    return Measured(max(steps), latest.get("options") or {}, seeds, untrained, path)


def collect(
    runs: Sequence[ReportedRun], name: str, read: Callable[[ReportedRun, Measured], Item]
) -> tuple[list[Item], list[Markup]]:
    """Return what `read` makes of a diagnostic in each run that has it, and a note on each that is damaged.

    Args:
      runs: the runs.
      name: of the diagnostic.
      read: from a run and what was measured in it; may raise whatever a damaged file makes it raise.
    """
    found, problems = [], []
    for run in runs:
        if (entry := measured(run, name)) is None:
            continue
        try:
            found.append(read(run, entry))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            problems.append(paragraph(f"{run.name}: {error}", kind="note"))
    return found, problems


def mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the numbers that are known along an axis; NaN where none is."""
    return np.ma.filled(np.ma.masked_invalid(np.asarray(values, float)).mean(axis=axis), np.nan)


def _summaries(found: Any) -> dict[str, dict[str, Any]]:
    return {seed: summary for seed, summary in (found or {}).items() if isinstance(summary, dict)}


def _number(value: Any, path: tuple[str, ...]) -> float:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")
