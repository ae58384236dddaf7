"""What a run is, how far it is, and how it ended."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from podarcade.anakin.evaluate import Evaluator
from podarcade.anakin.update import Updater
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.metrics import seed_mean


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
      keep: how many of the latest checkpoints are kept.
      keep_every: of so many checkpoints one is kept for good; 0 for none.
      keep_replay: whether checkpoints hold what is replayed. A run that is resumed without it collects anew, and learns
        nothing until there is enough for a window.
      max_skipped: gradient steps of a seed that may be skipped because they are not finite, in all.
      score: what makes a checkpoint the best: results of an evaluation, by weight, as {"return_partial": 1.0}.
      origin: {"config": ..., "versions": ...}, for checkpoints.
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
    keep_every: int = 0
    keep_replay: bool = True
    max_skipped: int = 100
    score: dict[str, float] = dataclasses.field(default_factory=dict)
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def total_updates(self) -> int:
        """Updates after which the run is over."""
        return self.updater.total_updates

    def wants_evaluation(self, updates: int) -> bool:
        """Whether both twins are evaluated after so many updates."""
        calls, over = updates // self.updates_per_call, updates >= self.total_updates
        switched = updates in self.switches or updates - self.updates_per_call in self.switches
        return over or switched or calls % self.evaluate_every == 0

    def wants_checkpoint(self, updates: int) -> bool:
        """Whether the state is saved after so many updates."""
        return updates >= self.total_updates or updates // self.updates_per_call % self.save_every == 0

    def init(self) -> Any:
        """The state before the first update."""
        return self.updater.init(np.asarray(self.seeds, np.int32))

    def abstract_state(self) -> Any:
        """Shapes, dtypes and places of the state."""
        return self.updater.abstract_state(len(self.seeds))

    def saved(self, state: Any) -> Any:
        """The part of a state that checkpoints hold."""
        return state if self.keep_replay else state.replace(replay=None)

    def restored(self, saved: Any) -> Any:
        """The state that goes on from what a checkpoint held."""
        return saved if self.keep_replay else saved.replace(replay=self.init().replay)

    def checkpoints(self, workdir: pathlib.Path, say: Callable[[str], None] = print) -> Checkpoints:
        """The checkpoints of this run in its directory."""
        keep_every = self.keep_every * self.save_every * self.updates_per_call
        return Checkpoints(workdir / "checkpoints", self.keep, keep_every, self.origin, say)

    def scored(self, record: dict[str, Any]) -> float | None:
        """How good the state is by its record; None where it was not evaluated."""
        found = {name: seed_mean(record.get(f"eval/{name}")) for name in self.score}
        if not found or any(value is None or not np.isfinite(value) for value in found.values()):
            return None
        return sum(weight * found[name] for name, weight in self.score.items())


@dataclasses.dataclass
class Progress:
    """What the host counts, kept in every checkpoint."""

    updates: int
    frames: np.ndarray  # int64[S]  real environment steps: restarts are none
    skipped: np.ndarray  # int64[S]  gradient steps that were not finite, and changed nothing
    seconds: float  # spent in training calls
    unwritten: tuple[str, ...] = ()  # lines that metrics.jsonl lacks, because its disk was full

    @classmethod
    def none(cls, seeds: int) -> "Progress":
        """Of a run that has not begun."""
        return cls(0, np.zeros(seeds, np.int64), np.zeros(seeds, np.int64), 0.0)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        """What `as_dict` made."""
        counts = {name: np.asarray(saved[name], np.int64) for name in ("frames", "skipped")}
        return cls(**(saved | counts | {"unwritten": tuple(saved["unwritten"])}))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"frames": self.frames.tolist(), "skipped": self.skipped.tolist()}


class Outcome(NamedTuple):
    """How a run ended, or why it did not."""

    state: Any
    progress: Progress
    signal: int  # that asked it to stop, 0 where it is complete
