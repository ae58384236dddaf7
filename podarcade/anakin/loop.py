"""The loop: restore, update, evaluate, write, save. Plain Python around two compiled programs."""

import dataclasses
import pathlib
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.anakin.checkpoint import Checkpoints
from podarcade.anakin.console import Console
from podarcade.anakin.evaluate import Evaluator
from podarcade.anakin.update import Metrics, Updater
from podarcade.anakin.writer import Writer, read_metrics

# Evaluations of a run, and of runs that are compared, are of the same starts.
EVALUATION_SEED = 1_000_003


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, ready to start.

    Attributes:
      updater: makes the state and the update.
      evaluator: plays whole episodes.
      seeds: of the runs side by side.
      updates_per_call: updates in one call of the compiled program.
      evaluate_every: calls between evaluations.
      switches: updates at which the twin that is trained on changes; evaluated right before and one call after.
      save_every: calls between checkpoints.
      keep: how many checkpoints are kept.
      title: what it is, in a line.
    """

    updater: Updater
    evaluator: Evaluator
    seeds: tuple[int, ...]
    updates_per_call: int
    evaluate_every: int
    save_every: int
    keep: int
    title: str
    switches: tuple[int, ...] = ()

    @property
    def total_updates(self) -> int:
        """Updates after which the run is over."""
        return self.updater.total_updates

    def wants_evaluation(self, updates: int) -> bool:
        """Whether both twins are evaluated after so many updates."""
        calls, over = updates // self.updates_per_call, updates >= self.total_updates
        switched = updates in self.switches or updates - self.updates_per_call in self.switches
        return over or switched or calls % self.evaluate_every == 0


class Interrupt:
    """Turns the first Ctrl-C into a wish to stop at the next opportunity; the second acts at once."""

    def __init__(self):
        self.wanted = False

    def __enter__(self):
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error):
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, *_):
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


@dataclasses.dataclass
class Progress:
    """What the host counts, kept in every checkpoint."""

    updates: int
    frames: np.ndarray  # int64[S]  real environment steps: restarts are none
    seconds: float  # spent in training calls

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"updates": self.updates, "frames": self.frames.tolist(), "seconds": self.seconds}


def train(run: Run, workdir: pathlib.Path) -> tuple[Any, Progress]:
    """Trains to the end, or until Ctrl-C; goes on from the newest checkpoint in `workdir`.

    Returns:
      The state, and how far it got.

    Raises:
      FloatingPointError: the loss is no longer a number; the last checkpoint stands.
      OSError: metrics or checkpoints cannot be written.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", run.keep)
    state = run.updater.init(jnp.asarray(run.seeds, jnp.int32))
    progress = Progress(0, np.zeros(len(run.seeds), np.int64), 0.0)
    if checkpoints.latest is not None:
        state, saved = checkpoints.restore(state)
        progress = Progress(saved["updates"], np.asarray(saved["frames"], np.int64), saved["seconds"])
    if progress.updates >= run.total_updates:
        checkpoints.close()
        return state, progress
    with Writer(workdir, progress.updates) as writer, Interrupt() as interrupt:
        history = read_metrics(workdir / "metrics.jsonl")
        with Console(run.total_updates, updates=progress.updates, history=history) as console:
            if progress.updates:
                console.say(f"resuming after {progress.updates} of {run.total_updates} updates")
            state = _loop(run, state, progress, checkpoints, writer, console, interrupt)
    checkpoints.close()
    return state, progress


def _loop(run, state, progress, checkpoints, writer, console, interrupt) -> Any:
    def tell(record: dict[str, Any]) -> None:
        record = {"updates": progress.updates, "frames": _per_seed(progress.frames), **record}
        writer.write(record)
        console.row(record)

    with console.working("compiling the evaluation"):
        evaluate = _evaluation(run, state)
    if progress.updates == 0:
        tell({"seconds": 0.0} | evaluate(state, "eval", 0.0) | evaluate(state, "random", 1.0))
    with console.working("compiling the update"):
        update = run.updater.compile(state, run.updates_per_call)
    stop = interrupt.wanted
    while not stop:
        began = time.monotonic()
        state, metrics = update(state)
        record = _count(run, progress, jax.device_get(metrics), began)
        if run.wants_evaluation(progress.updates):
            record |= evaluate(state, "eval", 0.0)
        tell(record)
        stop = progress.updates >= run.total_updates or interrupt.wanted
        if stop or progress.updates // run.updates_per_call % run.save_every == 0:
            writer.sync()
            checkpoints.save(progress.updates, state, progress.as_dict())
    return state


def _evaluation(run: Run, state: Any):
    """A function from a state, a prefix and an exploration rate to metrics; always of the same episodes."""
    program = run.evaluator.compile(state.learner.params)
    key = jax.random.key_data(jax.random.key(EVALUATION_SEED))

    def evaluate(state: Any, prefix: str, exploration: float) -> dict[str, Any]:
        began = time.monotonic()
        results = jax.device_get(program(state.learner.params, key, jnp.float32(exploration)))
        results = {name: _per_seed(value) for name, value in results.items()} | {"seconds": time.monotonic() - began}
        return {f"{prefix}/{name}": value for name, value in results.items()}

    return evaluate


def _count(run: Run, progress: Progress, metrics: Metrics, began: float) -> dict[str, Any]:
    """Adds one call to the progress; returns what it says of training.

    Raises:
      FloatingPointError: a loss or a gradient is not a number.
    """
    seconds = time.monotonic() - began
    counts = jax.tree.map(lambda x: x.sum(axis=1, dtype=np.float64), metrics.counts)  # [S, updates] -> [S]
    means = {name: value.mean(axis=1) for name, value in metrics.means.items()}
    progress.updates += run.updates_per_call
    progress.frames = progress.frames + counts.steps.astype(np.int64)
    progress.seconds += seconds
    # A loss is taken before its gradient step: what the last one makes of the parameters shows in no loss yet.
    for name in ("loss", "gradient_norm"):
        if not np.all(np.isfinite(means[name])):
            raise FloatingPointError(f"the {name} is {means[name]} after {progress.updates} updates")
    episodes = np.where(counts.episodes > 0, counts.episodes, np.nan)
    means |= {"return": counts.returns / episodes, "length": counts.lengths / episodes}
    algorithm = run.updater.algorithm
    if algorithm.compat.held_return:
        slots = run.updates_per_call * algorithm.rollout * run.updater.num_envs
        means["return_held"] = counts.held / slots
    return {
        "seconds": progress.seconds,
        "frames_per_second": float(counts.steps.sum() / seconds),
        **{f"train/{name}": _per_seed(value) for name, value in sorted(means.items())},
    }


def _per_seed(values: np.ndarray) -> Any:
    """A number where there is one seed, a list where there are several."""
    values = np.asarray(values).tolist()
    return values[0] if len(values) == 1 else values
