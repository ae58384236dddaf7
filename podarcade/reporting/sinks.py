"""Where the metrics of a run are passed on to: a CSV file, or Weights & Biases.

A sink gets every record of metrics.jsonl once, in order. A run that resumes drops the records after its checkpoint and
makes them again; a sink that cannot take a record back skips the repeated ones, which are equal on the same machine.
"""

import csv
import hashlib
import importlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from podarcade.reporting import clips, figures
from podarcade.runtime.metrics import scalars

CSV = "metrics.csv"


class Sink(Protocol):
    """What follows the metrics of a run."""

    def write(self, records: Sequence[dict]) -> None:
        """Take all records that the file holds now; called whenever it has changed."""

    def close(self) -> None:
        """Take the pictures of a complete run, and finish."""


class CsvFile:
    """A table `metrics.csv` in the folder of the run: a row for each record and seed, a column for each metric.

    The whole file is replaced whenever there is something new.

    Args:
      run: folder of the run.
    """

    def __init__(self, run: pathlib.Path):
        self._path = run / CSV
        self._first = json.loads((run / "config.json").read_text(encoding="utf-8")).get("seed", 0)

    def write(self, records: Sequence[dict]) -> None:
        """Write all records."""
        names = list(dict.fromkeys(name for record in records for name in record))
        part = self._path.with_suffix(".part")
        with open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["seed", *names])
            writer.writeheader()
            for record in records:
                seeds = max(len(value) if isinstance(value, list) else 1 for value in record.values())
                for seed in range(seeds):
                    own = {name: value[seed] if isinstance(value, list) else value for name, value in record.items()}
                    writer.writerow({"seed": self._first + seed} | own)
        os.replace(part, self._path)

    def close(self) -> None:
        """Do nothing: the file is complete after every write."""


class WeightsAndBiases:
    """A run at Weights & Biases: scalars by update, configuration, and the pictures at the end.

    Its id is made of the folder's path, so that a resumed run continues there. The project is that of the environment
    variable WANDB_PROJECT, else podarcade; WANDB_MODE=offline needs no network.

    Args:
      run: folder of the run.

    Raises:
      ModuleNotFoundError: the package wandb is missing.
    """

    def __init__(self, run: pathlib.Path):
        self._wandb = importlib.import_module("wandb")
        self._folder, self._written = run, -1
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "podarcade"),
            id=hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16],
            name=run.resolve().name,
            dir=str(run),
            config=json.loads((run / "config.json").read_text(encoding="utf-8")),
            resume="allow",
        )

    def write(self, records: Sequence[dict]) -> None:
        """Log the records after the last one that was logged."""
        for record in records:
            if record["updates"] > self._written:
                self._run.log(scalars(record), step=record["updates"])
                self._written = record["updates"]

    def close(self) -> None:
        """Log the pictures that are there, and finish."""
        curve, clip = self._folder / figures.CURVE, self._folder / clips.CLIP
        pictures: dict[str, Any] = {}
        if curve.exists():
            pictures["learning_curve"] = self._wandb.Html(curve.read_text(encoding="utf-8"))
        if clip.exists():
            pictures["greedy_episode"] = self._wandb.Video(str(clip), format="gif")
        if pictures:
            self._run.log(pictures, step=max(self._written, 0))
        self._run.finish()


SINKS: dict[str, Callable[[pathlib.Path], Sink]] = {"csv": CsvFile, "wandb": WeightsAndBiases}
