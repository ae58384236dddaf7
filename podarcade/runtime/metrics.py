"""Metrics of a run on file: metrics.jsonl, which is authoritative, and TensorBoard scalars, a convenience.

A record is a dict of numbers, or of lists over seeds:

    {"updates": 40, "frames": [163840, 163840], "seconds": 21.3, "frames_per_second": 8100.0,
     "train/loss": [0.041, 0.039], "train/return": [0.18, null],
     "eval/return_full": [0.2, 0.3], "eval/seconds": 0.4}

skipped_gradients.jsonl has a record for each call in which a gradient step was skipped, of the first such step.
`null` is a missing value: no episode ended, or the number was not finite.
"""

import contextlib
import json
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from podarcade.runtime.tensorboard import TensorBoard

METRICS = "metrics.jsonl"
SKIPPED = "skipped_gradients.jsonl"


def _number(value):
    """Return an int or a float that strict JSON can represent; None if it is missing or not finite."""
    if value is None:
        return None
    if isinstance(value, str | bytes):
        raise TypeError
    value = np.asarray(value)[()]
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    # The shortest decimal of a float32 reads back as the same float32, and is half as long as that of its float64.
    number = float(str(value)) if isinstance(value, np.float32) else float(value)
    return number if math.isfinite(number) else None


def _strict(key: str, value):
    """Return the JSON value of a metric: a number, None, or a list of them."""
    try:
        if np.ndim(value) == 0:
            return _number(value)
        return [_number(item) for item in (value if isinstance(value, list | tuple) else np.asarray(value))]
    except (TypeError, ValueError):
        raise TypeError(f"metric {key!r} is {value!r}; expected a number, or a list of numbers over seeds") from None


def seed_mean(value) -> float | None:
    """Return the mean of a metric over the seeds that have one.

    Args:
      value: a number, None, or a list or array of them over seeds.

    Returns:
      The mean over values that are neither None nor NaN; NaN if all are None or NaN; None if all are None.
    """
    numbers = [float(item) for item in np.asarray(value).ravel().tolist() if item is not None]
    known = [number for number in numbers if not math.isnan(number)]
    if not known:
        return math.nan if numbers else None
    return sum(known) / len(known)


def by_seed(values: np.ndarray) -> Any:
    """Return values over seeds as a record holds them: a number for one seed, a list for several."""
    values = np.asarray(values).tolist()
    return values[0] if len(values) == 1 else values


def evaluation_seconds(records: list[dict]) -> float:
    """Return the total time of the evaluations in the records; the metric `seconds` counts training only."""
    return sum(
        record.get(f"{kind}/seconds", 0.0) for record in records for kind in ("eval", "random", "final", "diagnostics")
    )


def _records(path: pathlib.Path) -> list[tuple[bytes, dict]]:
    """Return every complete line of the file with its record."""
    lines = path.read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record["updates"], int):
                raise TypeError
            found.append((line, record))
        except (ValueError, TypeError, KeyError):
            # A crash can only tear the last line; one further up was damaged by something else.
            if number < len(lines):
                warnings.warn(f"{path}:{number} is not a metrics record; skipped", stacklevel=3)
    return found


def read_metrics(path: str | pathlib.Path) -> list[dict]:
    """Return the records of a metrics.jsonl, oldest first.

    A last line torn by a crash is skipped; a damaged line further up is skipped with a warning.

    Args:
      path: the file.

    Raises:
      OSError: the file cannot be read.
    """
    return [record for _, record in _records(pathlib.Path(path))]


def read_last(path: str | pathlib.Path, size: int = 1 << 17) -> list[dict]:
    """Return the last records of a metrics.jsonl, oldest first: those in its last `size` bytes, without a torn line.

    Args:
      path: the file; a missing one has no records.
      size: bytes to read; twice as many until a whole record is among them.
    """
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            while True:
                begin = file.seek(max(end - size, 0))
                lines = file.read(end - begin).split(b"\n")[1 if begin else 0 :]
                found = [record for record in map(_parsed, lines) if record]
                if found or not begin:
                    return found
                size *= 2
    except FileNotFoundError:
        return []


def _parsed(line: bytes) -> dict | None:
    """Return the record of a line, None for one that is empty, torn or damaged."""
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        return record if isinstance(record, dict) and "updates" in record else None
    return None


def _truncate(path: pathlib.Path, updates: int, unwritten: Sequence[str]) -> list[dict]:
    """Atomically drop the records after `updates` and append missing lines; return the remaining records."""
    kept = []
    if updates > 0 and path.exists():
        kept = [(line, record) for line, record in _records(path) if record["updates"] <= updates]
    present = {line for line, _ in kept}
    kept += [(line.encode(), json.loads(line)) for line in unwritten if line.encode() not in present]
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.writelines(line + b"\n" for line, _ in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    return [record for _, record in kept]


def scalars(record: dict) -> dict[str, float]:
    """Return the scalars of a record for display: the mean over seeds, and each seed if there are several."""
    scalars = {}
    for key, value in record.items():
        mean = seed_mean(value)
        if mean is not None:
            scalars[key] = mean
        if isinstance(value, list) and len(value) > 1:
            scalars |= {f"{key}/seed_{k}": float(item) for k, item in enumerate(value) if item is not None}
    return scalars


class Writer:
    """Writer of the records of a run, to `metrics.jsonl` and the directory `tensorboard`.

    Opening truncates both to the records of the first `updates` updates, so that a resumed run leaves neither a gap
    nor a duplicate. Once open, no disk failure ends the run: records that metrics.jsonl cannot take are buffered and
    written as soon as possible; a failure of TensorBoard disables that sink. Both are logged once.

    Args:
      workdir: directory of the run; created if missing.
      updates: number of updates that the run resumes from; 0 starts over and empties the file.
      unwritten: lines missing from the file, as returned by `sync` for the checkpoint that the run resumes from.
      log: called with one-line messages.

    Raises:
      OSError: metrics.jsonl cannot be opened.
      ValueError: `updates` is negative.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        updates: int = 0,
        unwritten: Sequence[str] = (),
        log: Callable[[str], None] = print,
    ):
        if updates < 0:
            raise ValueError(f"updates={updates}; expected a number >= 0")
        self.log = log
        folder = pathlib.Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS
        kept = _truncate(self.path, updates, unwritten)
        self._skipped = folder / SKIPPED
        if self._skipped.exists():
            _truncate(self._skipped, updates, ())
        # Unbuffered: a line that a full disk took partially is truncated again, and no layer below retries it.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115, closed by close
        self._end = self.path.stat().st_size  # of the last complete line
        self._unwritten: list[str] = []
        self._failing = False
        self._tensorboard = None
        purge_step = max((_step(record) + 1 for record in kept), default=0)
        self._attempt(lambda: setattr(self, "_tensorboard", TensorBoard(folder / "tensorboard", purge_step)))

    def _attempt(self, action) -> None:
        """Run an action on the TensorBoard sink; disable the sink if it fails."""
        try:
            action()
        except Exception as error:  # a convenience must not end the run
            self._tensorboard = None
            self.log(
                f"WARNING: writing TensorBoard scalars failed ({type(error).__name__}: {error}); disabled, "
                f"{self.path} still records everything"
            )

    def write(self, record: dict) -> None:
        """Append a record and flush it.

        Args:
          record: numbers, numpy or jax scalars, or lists or arrays [S] of them; `updates`, an int, is required.

        Raises:
          TypeError: a value is none of those; the message names it.
          ValueError: `updates` is missing, or the writer is closed.
        """
        record = {key: _strict(key, value) for key, value in record.items()}
        if not isinstance(record.get("updates"), int):
            raise ValueError(f"a record needs an integer `updates`; this one has {', '.join(record) or 'nothing'}")
        if self._file.closed:
            raise ValueError(f"{self.path} is closed")
        self._unwritten.append(json.dumps(record, allow_nan=False))
        self._flush_lines()
        if self._tensorboard is not None:
            self._attempt(lambda: self._tensorboard.write(_step(record), scalars(record)))

    def write_skipped(self, record: dict) -> None:
        """Append to skipped_gradients.jsonl; a disk failure is ignored.

        Args:
          record: as returned by `finite.describe`, with `updates`.
        """
        with contextlib.suppress(OSError), open(self._skipped, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def sync(self) -> tuple[str, ...]:
        """Wait until metrics.jsonl is on disk; called before a checkpoint, which must not be ahead of the metrics.

        Returns:
          The lines that could not be written, to be saved in the checkpoint.
        """
        self._flush_lines(wait=True)
        return tuple(self._unwritten)

    def _flush_lines(self, wait: bool = False) -> None:
        """Append the unwritten lines if the disk accepts them; with `wait`, until they are on disk."""
        content = "".join(f"{line}\n" for line in self._unwritten).encode()
        try:
            os.ftruncate(self._file.fileno(), self._end)
            written = 0
            while written < len(content):  # a full disk accepts a part first, and refuses the rest
                written += self._file.write(content[written:])
            if wait:
                os.fsync(self._file.fileno())
        except OSError as error:
            if not self._failing:
                self.log(f"WARNING: {self.path} cannot be written ({error}); its records are buffered until it can")
            self._failing = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end)
            return
        self._end += len(content)
        self._unwritten.clear()
        if self._failing:
            self._failing = False
            self.log(f"{self.path} can be written again, and is complete")

    def close(self) -> None:
        """Close both sinks; idempotent."""
        if not self._file.closed and self._unwritten:
            self._flush_lines(wait=True)
        if self._tensorboard is not None:
            self._attempt(self._tensorboard.close)
            self._tensorboard = None
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _step(record: dict) -> int:
    """Return TensorBoard's horizontal axis: frames, or updates if the record has no frames."""
    frames = seed_mean(record.get("frames"))
    return round(frames) if frames is not None and math.isfinite(frames) else record["updates"]
