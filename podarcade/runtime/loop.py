"""The training loop: restore, update, evaluate, write metrics, save. Plain Python around two compiled programs."""

import contextlib
import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from podarcade.anakin import finite
from podarcade.anakin.update import Metrics
from podarcade.runtime import backend, distributed
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.console import Console
from podarcade.runtime.evaluation import Evaluation
from podarcade.runtime.metrics import SKIPPED, Writer, by_seed, read_metrics
from podarcade.runtime.run import Outcome, Progress, Run
from podarcade.runtime.signals import DIVERGED

FINAL_SAVES = 3  # attempts at the final checkpoint
FINAL_SAVE_DELAY = 5.0  # seconds between them
STOP_POLL = 0.2  # seconds between checks for a stop request while the main thread is busy


class Diverged(FloatingPointError):
    """Too many gradient steps were not finite."""

    exit_code = DIVERGED


def train(run: Run, workdir: pathlib.Path, stop_requested: Callable[[], int] = lambda: 0) -> Outcome:
    """Train to the end or until asked to stop, starting from the newest intact checkpoint in `workdir`.

    All processes of a run call it; the first one writes metrics and prints.

    Args:
      run: what to train.
      workdir: its directory.
      stop_requested: returns the number of the signal that asks the run to stop, or 0. It is called after every call
        of the update, where an exception that it raises ends the run without saving, and polled by a thread, which
        acknowledges the request at once.

    Raises:
      Diverged: too many gradient steps were not finite; the last checkpoint remains.
      OSError: the final checkpoint cannot be written.
      ValueError: the checkpoints belong to another program, or all are corrupt.
    """
    first = distributed.is_first_process()
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(run.checkpoints(workdir, print if first else _discard)))
        state, progress = _restore_or_init(run, checkpoints)
        if progress.updates >= run.total_updates:
            if first and progress.unwritten:
                Writer(workdir, progress.updates, progress.unwritten, print).close()
            return Outcome(state, progress, 0)
        writer = stack.enter_context(Writer(workdir, progress.updates, progress.unwritten, print)) if first else None
        history = read_metrics(writer.path) if writer else []
        console = Console(run.total_updates, updates=progress.updates, history=history, quiet=not first)
        stack.enter_context(console)
        checkpoints.log = console.log
        if writer:
            writer.log = console.log
        if progress.updates:
            console.log(f"resuming after {progress.updates} of {run.total_updates} updates")
            if writer and (not history or history[-1]["updates"] != progress.updates):
                console.log(f"WARNING: {writer.path} has lost records before that update; continuing without them")
        stack.enter_context(_stop_notice(stop_requested, console))
        return _Session(run, workdir, checkpoints, writer, console, stop_requested).train(state, progress)


def _discard(text: str) -> None:
    """Drop a message that the first process prints."""


def _restore_or_init(run: Run, checkpoints: Checkpoints) -> tuple[Any, Progress]:
    found = checkpoints.restore(run.to_checkpoint(run.abstract_state()))
    if found is None:
        return run.init(), Progress.initial(len(run.seeds))
    saved, progress = found
    return run.from_checkpoint(saved), Progress.from_dict(progress)


@contextlib.contextmanager
def _stop_notice(stop_requested: Callable[[], int], console: Console) -> Iterator[None]:
    """Acknowledge a stop request at once, from a thread: compiling keeps the main thread busy for minutes."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(STOP_POLL):
            try:
                number = stop_requested()
            except Exception:  # the main thread asks too, and ends the run
                return
            if number:
                console.log(
                    f"{signal.Signals(number).name}: stopping after {console.activity or 'this update'}; "
                    "send it again to stop now, without saving"
                )
                return

    thread = threading.Thread(target=watch, name="stop notice", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclasses.dataclass
class _Session:
    """One process lifetime of a run, from its start or resumption until it stops."""

    run: Run
    workdir: pathlib.Path
    checkpoints: Checkpoints
    writer: Writer | None
    console: Console
    stop_requested: Callable[[], int]

    def train(self, state: Any, progress: Progress) -> Outcome:
        run, record, update, due = self.run, {}, None, False
        with self.console.status("compiling the evaluation"):
            evaluation = Evaluation(run, state, self.stop_requested)
        if progress.updates == 0:
            self._record(progress, {"seconds": 0.0} | evaluation.learnt(state) | evaluation.random(state))
        stop = self._poll_stop()
        if not stop:
            with self.console.status("compiling the update"):
                update = run.updater.compile(state, run.updates_per_call)
                self.checkpoints.prepare(run.to_checkpoint(state))
            stop = self._poll_stop()
        while progress.updates < run.total_updates and not stop:
            began = time.monotonic()
            with jax.transfer_guard(backend.transfer_guard()):
                state, metrics = update(state)
            metrics = distributed.fetch(metrics)
            record = _count(run, progress, metrics, began)
            if run.should_evaluate(progress.updates):
                record |= evaluation.learnt(state)
            if progress.updates >= run.total_updates:
                record |= evaluation.final(state)
            self._record(progress, record)
            clean = self._check_finite(progress, metrics)
            stop = self._poll_stop()
            due |= run.should_checkpoint(progress.updates)
            # A state that follows a non-finite gradient may not be worth resuming from.
            if self.checkpoints.should_save(due) and clean:
                self._save(state, progress, record)
                due = False
        if progress.updates:
            self._save_final(state, progress, record)
        return Outcome(state, progress, stop if progress.updates < run.total_updates else 0)

    def _poll_stop(self) -> int:
        return distributed.max_over_processes(self.stop_requested())

    def _record(self, progress: Progress, record: dict[str, Any]) -> None:
        record = {"updates": progress.updates, "frames": by_seed(progress.frames), **record}
        if self.writer is not None:
            self.writer.write(record)
        self.console.add_row(record)

    def _check_finite(self, progress: Progress, metrics: Metrics) -> bool:
        """Return whether all gradient steps of a call were finite; log and record those that were not.

        Members of a population that have diverged are no longer looked at: their parameters stay as they are.

        Raises:
          Diverged: the run, or every member of it, has skipped too many in total.
        """
        found = finite.describe(metrics.non_finite, progress.updates - self.run.updates_per_call)
        if found is None:
            return True
        skipped = np.asarray(found["skipped"])
        before, now = map(self.run.has_diverged, (progress.skipped - skipped, progress.skipped))
        if not now.all() and not skipped[~before].any():
            return True
        path = self.workdir / SKIPPED
        if self.writer is not None:
            self.writer.write_skipped(found)
        self.console.log(
            f"WARNING: skipped {skipped.sum()} non-finite gradient steps, the first in update "
            f"{found['updates']}; statistics of its batch are in {path}"
        )
        if now.all():
            seed = self.run.seeds[int(progress.skipped.argmax())]
            raise Diverged(
                f"{progress.skipped.max()} gradient steps of seed {seed} were not finite, the limit is "
                f"max_skipped={self.run.max_skipped}; statistics of their batches are in {path}; lower "
                "algorithm.learning_rate or algorithm.max_gradient_norm and train in a new --workdir"
            )
        return not skipped[~now].any()

    def _save(self, state: Any, progress: Progress, record: dict[str, Any]) -> None:
        if self.writer is not None:
            progress.unwritten = self.writer.sync()
        saved, score = self.run.to_checkpoint(state), self.run.checkpoint_score(record)
        self.checkpoints.save(progress.updates, saved, progress.as_dict(), score)

    def _save_final(self, state: Any, progress: Progress, record: dict[str, Any]) -> None:
        for attempt in range(FINAL_SAVES):
            time.sleep(FINAL_SAVE_DELAY if attempt else 0.0)
            self._save(state, progress, record)
            if not distributed.max_over_processes(not self.checkpoints.wait()):
                return
        raise OSError(
            f"the state after {progress.updates} updates could not be saved (see the warnings above); "
            "make room on the disk and re-run the same command to resume"
        )


def _count(run: Run, progress: Progress, metrics: Metrics, began: float) -> dict[str, Any]:
    """Add one call of the update to the progress; return its training metrics."""
    seconds = time.monotonic() - began
    counts = jax.tree.map(lambda x: x.sum(axis=1, dtype=np.float64), metrics.counts)  # [S, updates] -> [S]
    skipped = metrics.non_finite.skipped.sum(axis=1)
    progress.updates += run.updates_per_call
    progress.frames = progress.frames + counts.steps.astype(np.int64)
    progress.skipped = progress.skipped + skipped
    progress.seconds += seconds
    means = {name: _nanmean(value) for name, value in metrics.means.items()}
    if not skipped.any():  # all-NaN means that the buffer is not yet full enough to learn: there is no loss
        means = {name: mean for name, mean in means.items() if not np.isnan(mean).all()}
    episodes = np.where(counts.episodes > 0, counts.episodes, np.nan)
    means |= {"return": counts.returns / episodes, "length": counts.lengths / episodes, "skipped": skipped}
    algorithm = run.updater.algorithm
    slots = run.updates_per_call * algorithm.rollout_length * run.updater.num_envs
    means |= algorithm.training_metrics(counts, slots)
    return {
        "seconds": progress.seconds,
        "frames_per_second": float(counts.steps.sum() / seconds),
        **{f"train/{name}": by_seed(value) for name, value in sorted(means.items())},
    }


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Return the mean over updates that took a gradient step: [S, updates] -> [S], NaN where none did."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.sum(values, axis=1, where=known) / known.sum(axis=1)
