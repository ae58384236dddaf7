"""The loop: restore, update, evaluate, write, save. Plain Python around two compiled programs."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from podarcade.anakin import finite
from podarcade.anakin.update import Metrics
from podarcade.runtime import distributed
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.console import Console
from podarcade.runtime.metrics import SKIPPED, Writer, read_metrics
from podarcade.runtime.run import Outcome, Progress, Run
from podarcade.runtime.signals import DIVERGED

# Evaluations of a run, and of runs that are compared, are of the same starts.
EVALUATION_SEED = 1_000_003
LAST_SAVES = 3  # attempts at the checkpoint that a run leaves
PAUSE = 5.0  # seconds between them


class Diverged(FloatingPointError):
    """Too many gradient steps were not finite."""

    exit_code = DIVERGED


def train(run: Run, workdir: pathlib.Path, wanted: Callable[[], int] = lambda: 0) -> Outcome:
    """Trains to the end, or until it is asked to stop; goes on from the newest whole checkpoint in `workdir`.

    Every process of a run calls it; the first one writes metrics and talks.

    Args:
      run: what to train.
      workdir: where it is kept.
      wanted: asked after every call: the signal that asks to stop, or 0. What it raises ends the run as it is, before
        anything is saved.

    Raises:
      Diverged: too many gradient steps were not finite; the last checkpoint stands.
      OSError: the last checkpoint cannot be written.
      ValueError: the checkpoints are of another program, or all are damaged.
    """
    first = distributed.is_first_process()
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(run.checkpoints(workdir, print if first else _silent)))
        state, progress = _begin(run, checkpoints)
        if progress.updates >= run.total_updates:
            if first and progress.unwritten:
                Writer(workdir, progress.updates, progress.unwritten, print).close()
            return Outcome(state, progress, 0)
        writer = stack.enter_context(Writer(workdir, progress.updates, progress.unwritten, print)) if first else None
        history = read_metrics(writer.path) if writer else []
        console = Console(run.total_updates, updates=progress.updates, history=history, quiet=not first)
        stack.enter_context(console)
        checkpoints.say = console.say
        if writer:
            writer.say = console.say
        if progress.updates:
            console.say(f"resuming after {progress.updates} of {run.total_updates} updates")
            if writer and (not history or history[-1]["updates"] != progress.updates):
                console.say(f"WARNING: {writer.path} has lost records from before that; the run goes on without them")
        return _Session(run, workdir, checkpoints, writer, console, wanted).train(state, progress)


def _silent(text: str) -> None:
    """What the first process says for all."""


def _begin(run: Run, checkpoints: Checkpoints) -> tuple[Any, Progress]:
    found = checkpoints.restore(run.saved(run.abstract_state()))
    if found is None:
        return run.init(), Progress.none(len(run.seeds))
    saved, progress = found
    return run.restored(saved), Progress.from_dict(progress)


@dataclasses.dataclass
class _Session:
    """A run between its start, or its resumption, and where it stops."""

    run: Run
    workdir: pathlib.Path
    checkpoints: Checkpoints
    writer: Writer | None
    console: Console
    wanted: Callable[[], int]

    def train(self, state: Any, progress: Progress) -> Outcome:
        run, record = self.run, {}
        with self.console.working("compiling the evaluation"):
            evaluate = _evaluation(run, state)
        if progress.updates == 0:
            self._tell(progress, {"seconds": 0.0} | evaluate(state, "eval", 0.0) | evaluate(state, "random", np.inf))
        with self.console.working("compiling the update"):
            update = run.updater.compile(state, run.updates_per_call)
            self.checkpoints.prepare(run.saved(state))
        due, signal = False, distributed.max_over_processes(self.wanted())
        while progress.updates < run.total_updates and not signal:
            began = time.monotonic()
            state, metrics = update(state)
            metrics = distributed.fetch(metrics)
            record = _count(run, progress, metrics, began)
            if run.wants_evaluation(progress.updates):
                record |= evaluate(state, "eval", 0.0)
            self._tell(progress, record)
            clean = self._check(progress, metrics)
            signal = distributed.max_over_processes(self.wanted())
            due |= run.wants_checkpoint(progress.updates)
            # What follows a gradient that was not finite may be no good state to come back to.
            if self.checkpoints.wanted(due) and clean:
                self._save(state, progress, record)
                due = False
        if progress.updates:
            self._save_last(state, progress, record)
        return Outcome(state, progress, signal if progress.updates < run.total_updates else 0)

    def _tell(self, progress: Progress, record: dict[str, Any]) -> None:
        record = {"updates": progress.updates, "frames": _per_seed(progress.frames), **record}
        if self.writer is not None:
            self.writer.write(record)
        self.console.row(record)

    def _check(self, progress: Progress, metrics: Metrics) -> bool:
        """Whether all gradient steps of a call were finite; what was not is told and kept.

        Raises:
          Diverged: too many were not, in all.
        """
        found = finite.describe(metrics.guard, progress.updates - self.run.updates_per_call)
        if found is None:
            return True
        path = self.workdir / SKIPPED
        if self.writer is not None:
            self.writer.write_skipped(found)
        self.console.say(
            f"WARNING: skipped {sum(found['skipped'])} gradient steps that were not finite, the first in update "
            f"{found['updates']}; what its batch held is in {path}"
        )
        if progress.skipped.max() >= self.run.max_skipped:
            seed = self.run.seeds[int(progress.skipped.argmax())]
            raise Diverged(
                f"{progress.skipped.max()} gradient steps of seed {seed} were not finite, the limit is "
                f"max_skipped={self.run.max_skipped}; {path} says what their batches held"
            )
        return False

    def _save(self, state: Any, progress: Progress, record: dict[str, Any]) -> None:
        if self.writer is not None:
            progress.unwritten = self.writer.sync()
        saved, score = self.run.saved(state), self.run.scored(record)
        self.checkpoints.save(progress.updates, saved, progress.as_dict(), score)

    def _save_last(self, state: Any, progress: Progress, record: dict[str, Any]) -> None:
        for attempt in range(LAST_SAVES):
            time.sleep(PAUSE if attempt else 0.0)
            self._save(state, progress, record)
            if not distributed.max_over_processes(not self.checkpoints.finish()):
                return
        raise OSError(f"the state after {progress.updates} updates could not be saved; see the warnings above")


def _evaluation(run: Run, state: Any):
    """A function from a state, a prefix and an exploration rate to metrics; always of the same episodes."""
    program = run.evaluator.compile(state.learner.params)
    key = np.asarray(jax.random.key_data(jax.random.key(EVALUATION_SEED)))

    def evaluate(state: Any, prefix: str, exploration: float) -> dict[str, Any]:
        began = time.monotonic()
        results = distributed.fetch(program(state.learner.params, key, np.float32(exploration)))
        results = {name: _per_seed(value) for name, value in results.items()} | {"seconds": time.monotonic() - began}
        return {f"{prefix}/{name}": value for name, value in results.items()}

    return evaluate


def _count(run: Run, progress: Progress, metrics: Metrics, began: float) -> dict[str, Any]:
    """Adds one call to the progress; returns what it says of training."""
    seconds = time.monotonic() - began
    counts = jax.tree.map(lambda x: x.sum(axis=1, dtype=np.float64), metrics.counts)  # [S, updates] -> [S]
    skipped = metrics.guard.skipped.sum(axis=1)
    progress.updates += run.updates_per_call
    progress.frames = progress.frames + counts.steps.astype(np.int64)
    progress.skipped = progress.skipped + skipped
    progress.seconds += seconds
    means = {name: _known_mean(value) for name, value in metrics.means.items()}
    if not skipped.any():  # where nothing is learnt yet nothing went wrong: there is no loss to tell
        means = {name: mean for name, mean in means.items() if not np.isnan(mean).all()}
    episodes = np.where(counts.episodes > 0, counts.episodes, np.nan)
    means |= {"return": counts.returns / episodes, "length": counts.lengths / episodes, "skipped": skipped}
    algorithm = run.updater.algorithm
    slots = run.updates_per_call * algorithm.rollout_length * run.updater.num_envs
    means |= algorithm.training_metrics(counts, slots)
    return {
        "seconds": progress.seconds,
        "frames_per_second": float(counts.steps.sum() / seconds),
        **{f"train/{name}": _per_seed(value) for name, value in sorted(means.items())},
    }


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Over the updates that learnt something: [S, updates] -> [S], NaN where none did."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.sum(values, axis=1, where=known) / known.sum(axis=1)


def _per_seed(values: np.ndarray) -> Any:
    """A number where there is one seed, a list where there are several."""
    values = np.asarray(values).tolist()
    return values[0] if len(values) == 1 else values
