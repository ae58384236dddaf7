"""What `podarcade diagnose` left in the folder of a run: summaries by seed, arrays of all seeds."""

import dataclasses
import pathlib
import zipfile
from typing import Any

import numpy as np

from podarcade import plugins
from podarcade.reporting.report.reading import ReportedRun


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a diagnostic found in the agents of a run, at the last number of updates that it was applied to.

    Attributes:
      updates: that number.
      options: of the diagnostic.
      seeds: {seed: summary}, as text from diagnostics.json.
      path: file of the arrays, which may be missing.
    """

    updates: int
    options: dict[str, Any]
    seeds: dict[str, dict[str, Any]]
    path: pathlib.Path

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
    seeds = {seed: summary for seed, summary in latest["seeds"].items() if isinstance(summary, dict)}
    path = run.path / "diagnostics" / f"{plugins.label(name)}-{max(steps)}.npz"
    return Measured(max(steps), latest.get("options") or {}, seeds, path)
