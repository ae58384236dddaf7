"""What a file keeps of a run: metrics.jsonl, which is the truth, and scalars for TensorBoard, which are a convenience.

A record is a dict of numbers, or of lists over seeds where the seeds differ:

    {"updates": 40, "frames": [163840, 163840], "seconds": 21.3, "frames_per_second": 8100.0,
     "train/loss": [0.041, 0.039], "train/return": [0.18, null],
     "eval/return_full": [0.2, 0.3], "eval/seconds": 0.4}

skipped_gradients.jsonl has a record of the first gradient step of a call that was skipped, where one was.
`null` stands for a number that does not exist: no episode ended, or it was not finite.
"""

import contextlib
import json
import math
import os
import pathlib
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np

SKIPPED = "skipped_gradients.jsonl"


def _number(value):
    """An int or a float that strict JSON can hold; None where there is none, or it is not finite."""
    if value is None:
        return None
    if isinstance(value, str | bytes):
        raise TypeError
    value = np.asarray(value)[()]
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    # The shortest decimals of a float32 read back to the same float32, and are half as long as those of its float64.
    number = float(str(value)) if isinstance(value, np.float32) else float(value)
    return number if math.isfinite(number) else None


def _strict(key: str, value):
    """The value of a metric: a number, None, or a list of them."""
    try:
        if np.ndim(value) == 0:
            return _number(value)
        return [_number(item) for item in (value if isinstance(value, list | tuple) else np.asarray(value))]
    except (TypeError, ValueError):
        raise TypeError(f"metric {key!r} is {value!r}; it has to be a number, or a list of them over seeds") from None


def seed_mean(value) -> float | None:
    """Mean of a metric over the seeds that have one.

    Args:
      value: a number, None, or a list or array of them over seeds.

    Returns:
      The mean over what is neither None nor NaN; NaN when all there is is NaN; None when there is nothing.
    """
    numbers = [float(item) for item in np.asarray(value).ravel().tolist() if item is not None]
    known = [number for number in numbers if not math.isnan(number)]
    if not known:
        return math.nan if numbers else None
    return sum(known) / len(known)


def evaluation_seconds(records: list[dict]) -> float:
    """What the evaluations of a run took, by its records; `seconds` counts training alone."""
    return sum(record.get(f"{kind}/seconds", 0.0) for record in records for kind in ("eval", "random"))


def _records(path: pathlib.Path) -> list[tuple[bytes, dict]]:
    """Every whole line of the file, with what it holds."""
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
            # Only the last line can be torn by a crash; one further up was damaged by something else: say so.
            if number < len(lines):
                warnings.warn(f"{path}:{number} is not a metrics record; it is left out", stacklevel=3)
    return found


def read_metrics(path: str | pathlib.Path) -> list[dict]:
    """The records of a metrics.jsonl, oldest first.

    A last line that a crash has torn is left out; a damaged line further up is left out with a warning.

    Args:
      path: the file.

    Raises:
      OSError: it cannot be read.
    """
    return [record for _, record in _records(pathlib.Path(path))]


def _cut(path: pathlib.Path, updates: int, unwritten: Sequence[str]) -> list[dict]:
    """Keeps the lines up to `updates`, adds what is missing, in one atomic step, and returns what they hold."""
    kept = []
    if updates > 0 and path.exists():
        kept = [(line, record) for line, record in _records(path) if record["updates"] <= updates]
    there = {line for line, _ in kept}
    kept += [(line.encode(), json.loads(line)) for line in unwritten if line.encode() not in there]
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.writelines(line + b"\n" for line, _ in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    return [record for _, record in kept]


class _TensorBoard:
    """Scalars for TensorBoard.

    tensorboardX's SummaryWriter writes from a thread: its flush returns before its queue is written, and a full disk
    kills the thread, after which the run would wait for ever on the full queue. So the layer below it is used, which
    writes here and now, and raises.
    """

    def __init__(self, folder: pathlib.Path, purge_step: int):
        # Imported here: it takes a good part of a second, and reading metrics does not need it.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # tensorboardX names a file by the second; the suffix keeps a quick restart from overwriting the one before.
        self._events = EventsWriter(str(folder / "events"), filename_suffix=f".{time.time_ns()}")
        # Tells TensorBoard to forget what an interrupted run had written from this step on.
        start = Event(wall_time=time.time(), step=purge_step, session_log=SessionLog(status=SessionLog.START))
        self._events.write_event(start)
        self._events.flush()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._events.flush()

    def close(self) -> None:
        self._events.close()


def _scalars(record: dict) -> dict[str, float]:
    """What TensorBoard shows of a record: the mean over seeds, and each seed where there are several."""
    scalars = {}
    for key, value in record.items():
        mean = seed_mean(value)
        if mean is not None:
            scalars[key] = mean
        if isinstance(value, list) and len(value) > 1:
            scalars |= {f"{key}/seed_{k}": float(item) for k, item in enumerate(value) if item is not None}
    return scalars


class Writer:
    """Appends the records of a run to `metrics.jsonl` and to the folder `tensorboard`.

    Opening cuts both files to the records of the first `updates` updates, so that a resumed run leaves neither a gap
    nor a duplicate. Once it is open no disk ends the run: records that metrics.jsonl cannot take are kept, and
    written as soon as it can; a failure of TensorBoard ends that sink. Either is told once.

    Args:
      workdir: the folder of the run; made when it does not exist.
      updates: how many updates the run continues from; 0 starts it anew, and empties the file.
      unwritten: lines that the file lacks, as `sync` gave them for the checkpoint that the run continues from.
      say: is told, in a line, what a person should know.

    Raises:
      OSError: metrics.jsonl cannot be opened.
      ValueError: `updates` is negative.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        updates: int = 0,
        unwritten: Sequence[str] = (),
        say: Callable[[str], None] = print,
    ):
        if updates < 0:
            raise ValueError(f"a run cannot continue from {updates} updates; 0 or more")
        self.say = say
        folder = pathlib.Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = _cut(self.path, updates, unwritten)
        self._skipped = folder / SKIPPED
        if self._skipped.exists():
            _cut(self._skipped, updates, ())
        # Unbuffered: what a full disk took of a line is cut off again, and nothing is tried twice behind our back.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115, closed by close
        self._end = self.path.stat().st_size  # of the last whole line
        self._unwritten: list[str] = []
        self._failing = False
        self._tensorboard = None
        purge_step = max((_step(record) + 1 for record in kept), default=0)
        self._attempt(lambda: setattr(self, "_tensorboard", _TensorBoard(folder / "tensorboard", purge_step)))

    def _attempt(self, action) -> None:
        """Does something to the TensorBoard sink, which is given up when that fails."""
        try:
            action()
        except Exception as error:  # whatever a convenience runs into, the run goes on
            self._tensorboard = None
            self.say(
                f"WARNING: no more scalars for TensorBoard ({type(error).__name__}: {error}); the run goes on, "
                f"and {self.path} has everything"
            )

    def write(self, record: dict) -> None:
        """Appends a record, and flushes it.

        Args:
          record: numbers, numpy or jax scalars, or lists or arrays [seeds] of them; `updates`, an int, has to be there.

        Raises:
          TypeError: a value is none of those; says which.
          ValueError: there is no `updates`, or the writer is closed.
        """
        record = {key: _strict(key, value) for key, value in record.items()}
        if not isinstance(record.get("updates"), int):
            raise ValueError(f"a record counts its updates; this one has {', '.join(record) or 'nothing'}")
        if self._file.closed:
            raise ValueError(f"{self.path} is closed")
        self._unwritten.append(json.dumps(record, allow_nan=False))
        self._write_out()
        if self._tensorboard is not None:
            self._attempt(lambda: self._tensorboard.write(_step(record), _scalars(record)))

    def write_skipped(self, record: dict) -> None:
        """Appends to skipped_gradients.jsonl, where the disk lets it.

        Args:
          record: as `finite.describe` makes it, with `updates`.
        """
        with contextlib.suppress(OSError), open(self._skipped, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def sync(self) -> tuple[str, ...]:
        """Waits until metrics.jsonl is on the disk; before a checkpoint, so that it never runs ahead of the metrics.

        Returns:
          The lines that could not be written, for the checkpoint to keep.
        """
        self._write_out(wait=True)
        return tuple(self._unwritten)

    def _write_out(self, wait: bool = False) -> None:
        """Appends the lines that are not on file, if the disk lets it; `wait` for the disk itself."""
        content = "".join(f"{line}\n" for line in self._unwritten).encode()
        try:
            os.ftruncate(self._file.fileno(), self._end)
            written = 0
            while written < len(content):  # a full disk takes a part first, and refuses the next
                written += self._file.write(content[written:])
            if wait:
                os.fsync(self._file.fileno())
        except OSError as error:
            if not self._failing:
                self.say(
                    f"WARNING: {self.path} cannot be written ({error}); the run goes on, "
                    "and keeps its records until it can"
                )
            self._failing = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end)
            return
        self._end += len(content)
        self._unwritten.clear()
        if self._failing:
            self._failing = False
            self.say(f"{self.path} is written again, and whole")

    def close(self) -> None:
        """Closes both sinks; a second time does nothing."""
        if not self._file.closed and self._unwritten:
            self._write_out(wait=True)
        if self._tensorboard is not None:
            self._attempt(self._tensorboard.close)
            self._tensorboard = None
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _step(record: dict) -> int:
    """TensorBoard's horizontal axis: frames, and updates where a record counts none."""
    frames = seed_mean(record.get("frames"))
    return round(frames) if frames is not None and math.isfinite(frames) else record["updates"]
