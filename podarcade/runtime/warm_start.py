"""Warm starts: a new run that begins with the parameters of another one."""

import dataclasses
import pathlib
import re
from typing import Any

import jax
import numpy as np

from podarcade.runtime import stored
from podarcade.runtime.differences import differences
from podarcade.runtime.leaves import named_leaves, signatures, unflatten_like
from podarcade.types import Learner, State

STEPS = ("latest", "best")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """Where the parameters of a new run come from.

    Attributes:
      run: folder of the other run.
      step: "latest", "best", or a number of updates.
      keep_optimiser: whether the optimiser's state is taken over too; its schedules then continue.
    """

    run: pathlib.Path
    step: str | int
    keep_optimiser: bool

    def check(self, learner: Learner) -> int:
        """Choose the checkpoint, and check that its parameters fit a run, without reading them.

        Args:
          learner: of the run that is to start, abstract, leaves [S, ...].

        Returns:
          The number of updates of the parameters.

        Raises:
          ValueError: there is no such checkpoint, or it has other shapes or seeds.
        """
        directory = self.run.absolute() / "checkpoints"
        try:
            updates = stored.choose(directory, self.step)
            leaves = stored.record(directory / str(updates))["leaves"]
        except ValueError as error:
            raise ValueError(f"init_from={self.run}: {error}") from None
        for part in self._parts:
            self._compare(part, leaves, named_leaves(getattr(learner, part)))
        return updates

    def apply(self, state: State) -> State:
        """Return an initial state with the parameters of the other run, and target parameters equal to them.

        One seed of the other run starts all seeds; otherwise seed i starts seed i. All processes call this, with the
        step as a number that `check` has returned.
        """
        parts = {part: self._read(part, getattr(state.learner, part)) for part in self._parts}
        # A copy, since the update donates its argument, and no buffer may be donated twice.
        target = None if state.learner.target is None else jax.tree.map(lambda x: x.copy(), parts["params"])
        return state.replace(learner=state.learner.replace(target=target, **parts))

    @property
    def _parts(self) -> tuple[str, ...]:
        return ("params", "opt_state") if self.keep_optimiser else ("params",)

    def _compare(self, part: str, found: dict[str, str], expected: dict[str, Any]) -> None:
        """Raise ValueError unless the signatures of a part fit, up to the seeds that they lead with."""
        prefix = f"learner.{part}."
        found = {name.removeprefix(prefix): text for name, text in found.items() if name.startswith(prefix)}
        seeds = len(next(iter(expected.values())))
        given = int(re.search(r"\[(\d+)", next(iter(found.values())))[1])
        if given not in (1, seeds):
            raise ValueError(f"init_from={self.run}: it has {given} seeds; expected 1, or {seeds} as this run")
        single = {name: jax.ShapeDtypeStruct((given, *leaf.shape[1:]), leaf.dtype) for name, leaf in expected.items()}
        if different := differences(found, signatures(single)):
            raise ValueError(f"init_from={self.run}: its {part} do not fit this run ({different})")

    def _read(self, part: str, like: Any) -> Any:
        """Return a part of the other run's learner in the structure and placement of `like`, leaves [S, ...]."""
        found = stored.read(self.run / "checkpoints", self.step, f"learner.{part}")
        placed = {}
        for name, leaf in named_leaves(like).items():
            array = np.broadcast_to(found.arrays[name], leaf.shape)
            placed[name] = jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index, x=array: x[index])
        return unflatten_like(like, placed)


def parse(text: str, keep_optimiser: bool) -> WarmStart | None:
    """Read "RUN" or "RUN:STEP"; None for an empty text.

    Raises:
      ValueError: an optimiser is to be kept, but there is no run.
    """
    if not text:
        if keep_optimiser:
            raise ValueError("keep_optimiser=True without init_from; expected --init_from=RUN")
        return None
    name, colon, step = text.rpartition(":")
    if not colon or not (step in STEPS or step.isdecimal()):
        name, step = text, "latest"
    return WarmStart(pathlib.Path(name).expanduser(), int(step) if step.isdecimal() else step, keep_optimiser)
