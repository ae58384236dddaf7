"""Description of a run, its progress counters, and its outcome."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from podarcade.anakin.evaluate import Evaluator
from podarcade.anakin.update import Updater
from podarcade.runtime import distributed
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.metrics import seed_mean
from podarcade.runtime.warm_start import WarmStart


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, ready to start.

    Attributes:
      updater: makes the initial state and the update.
      evaluator: plays whole episodes.
      seeds: seeds trained side by side; of a population, those of the first member, of the second, ...
      updates_per_call: number of updates in one call of the compiled program.
      evaluate_every: calls between evaluations.
      save_every: calls between checkpoints.
      keep: number of latest checkpoints to preserve.
      title: one-line description.
      switches: updates at which training switches to the other twin; evaluated right before and one call after.
      keep_every: preserve every `keep_every`-th checkpoint; 0 for none.
      keep_replay: whether checkpoints include the replay buffer. Without it a resumed run fills the buffer again, and
        does not learn until it holds enough for a window.
      max_skipped: skipped (non-finite) gradient steps of a seed at which the run stops.
      score: weights of the evaluation metrics that rank checkpoints, as {"return_partial": 1.0}.
      members: members of a population, with equally many of the seeds each; 1 for a run that is none.
      warm_start: which run the parameters come from; None for their own initialisation.
      diagnose: called at evaluations with the parameters, leaves [S, ...] on the host, the number of updates, and a
        function that returns a number other than 0 once the run is asked to stop; returns metrics by name. In the first
        process only.
      origin: {"config": ..., "versions": ...}, recorded in checkpoints.
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
    keep_every: int = 0
    keep_replay: bool = True
    max_skipped: int = 100
    members: int = 1
    warm_start: WarmStart | None = None
    diagnose: Callable[[Any, int, Callable[[], int]], dict[str, Any]] | None = None
    score: dict[str, float] = dataclasses.field(default_factory=dict)
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def total_updates(self) -> int:
        """Number of updates after which the run is complete."""
        return self.updater.total_updates

    def has_diverged(self, skipped: np.ndarray) -> np.ndarray:
        """Return which seeds belong to a member that has diverged: one of its seeds has skipped too many steps.

        Args:
          skipped: int64[S], gradient steps that each seed has skipped in total.

        Returns:
          bool[S].
        """
        member = skipped.reshape(self.members, -1)
        return np.broadcast_to((member >= self.max_skipped).any(axis=1, keepdims=True), member.shape).ravel()

    def should_evaluate(self, updates: int) -> bool:
        """Return whether to evaluate both twins after this number of updates."""
        calls, over = updates // self.updates_per_call, updates >= self.total_updates
        switched = updates in self.switches or updates - self.updates_per_call in self.switches
        return over or switched or calls % self.evaluate_every == 0

    def should_checkpoint(self, updates: int) -> bool:
        """Return whether a checkpoint is due after this number of updates."""
        return updates >= self.total_updates or updates // self.updates_per_call % self.save_every == 0

    def init(self) -> Any:
        """Return the initial state."""
        state = self.updater.init(np.asarray(self.seeds, np.int32))
        return state if self.warm_start is None else self.warm_start.apply(state)

    def abstract_state(self) -> Any:
        """Return the shapes, dtypes and shardings of the state."""
        return self.updater.abstract_state(len(self.seeds))

    def to_checkpoint(self, state: Any) -> Any:
        """Return the part of a state that checkpoints hold."""
        return state if self.keep_replay else state.replace(replay=None)

    def from_checkpoint(self, saved: Any) -> Any:
        """Return the state to resume from, given what a checkpoint held."""
        fresh = None if self.keep_replay else self.updater.init(np.asarray(self.seeds, np.int32))
        return saved if fresh is None else saved.replace(replay=fresh.replay)

    def checkpoints(self, workdir: pathlib.Path, log: Callable[[str], None] = print) -> Checkpoints:
        """Return the checkpoints of this run in its working directory."""
        keep_every = self.keep_every * self.save_every * self.updates_per_call
        return Checkpoints(workdir / "checkpoints", self.keep, keep_every, self.origin, log)

    def check_checkpoints(self, workdir: pathlib.Path) -> None:
        """Check that the newest checkpoint in the directory, if any, is of this run; writes nothing.

        Raises:
          Mismatch: it belongs to another program or configuration.
        """
        if (workdir / "checkpoints").is_dir():
            self.checkpoints(workdir).check(self.to_checkpoint(self.abstract_state()))

    def with_fixed_origin(self, workdir: pathlib.Path) -> tuple["Run", dict[str, Any]]:
        """Choose the checkpoint of another run that the parameters come from, once for all processes.

        Returns:
          The run, which will read that checkpoint, and what to record of it; the same run and nothing where the run
          starts from its own parameters or resumes.

        Raises:
          ValueError: the run is to start from a checkpoint that does not exist or does not fit.
        """
        begun = (workdir / "checkpoints").is_dir() and self.checkpoints(workdir).steps()
        begun = distributed.max_over_processes(bool(begun) and distributed.is_first_process())
        if begun or self.warm_start is None:
            return self, {}
        learner = self.abstract_state().learner
        first = distributed.is_first_process()
        found = distributed.run_on_all_processes(lambda: self.warm_start.check(learner) if first else 0)
        start = dataclasses.replace(self.warm_start, step=distributed.max_over_processes(found))
        return dataclasses.replace(self, warm_start=start), {"run": str(start.run.absolute()), "updates": start.step}

    def checkpoint_score(self, record: dict[str, Any]) -> float | None:
        """Return the score of a state by its metrics; None if it was not evaluated."""
        found = {name: seed_mean(record.get(f"eval/{name}")) for name in self.score}
        if not found or any(value is None or not np.isfinite(value) for value in found.values()):
            return None
        return sum(weight * found[name] for name, weight in self.score.items())


@dataclasses.dataclass
class Progress:
    """Counters of the host, saved in every checkpoint."""

    updates: int
    frames: np.ndarray  # int64[S]  environment steps, without resets
    skipped: np.ndarray  # int64[S]  non-finite gradient steps, which were skipped
    seconds: float  # spent in training calls
    unwritten: tuple[str, ...] = ()  # lines missing from metrics.jsonl because its disk was full

    @classmethod
    def initial(cls, num_seeds: int) -> "Progress":
        """Progress of a fresh run."""
        return cls(0, np.zeros(num_seeds, np.int64), np.zeros(num_seeds, np.int64), 0.0)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        """Inverse of `as_dict`."""
        counts = {name: np.asarray(saved[name], np.int64) for name in ("frames", "skipped")}
        return cls(**(saved | counts | {"unwritten": tuple(saved["unwritten"])}))

    def as_dict(self) -> dict[str, Any]:
        """Return the counters as JSON-serialisable values."""
        return vars(self) | {"frames": self.frames.tolist(), "skipped": self.skipped.tolist()}


class Outcome(NamedTuple):
    """Outcome of a run: complete, or stopped by a signal."""

    state: Any
    progress: Progress
    signal: int  # that stopped the run; 0 if it is complete
