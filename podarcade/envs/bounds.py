"""Recorded returns of scripted policies without and with memory, which returns of agents are compared with.

`python -m benchmarks.bounds` plays the policies and writes bounds.json beside this file; docs/environments.md shows it.
"""

import functools
import json
import pathlib
from typing import NamedTuple

RECORD = pathlib.Path(__file__).with_name("bounds.json")
LEAST_GAP = 0.02  # of the best return above the random policy's, below which a task separates nothing


class Bounds(NamedTuple):
    """Mean returns at one level under strict rules; all but `random` are lower bounds of the best of their kind.

    Attributes:
      random: of the uniformly random policy.
      memoryless: of the best known policy without memory on the partial twin, which sees no previous action.
      memory: of the best known policy with memory.
    """

    random: float
    memoryless: float
    memory: float

    @property
    def separates(self) -> bool:
        """Whether memory is worth something: the gap is above `LEAST_GAP` of the best return over the random one."""
        return self.memory - self.memoryless > LEAST_GAP * (self.memory - self.random)

    def share(self, value: float) -> float | None:
        """Return where a return lies from the memoryless policy, 0, to the one with memory, 1; None without a gap."""
        return (value - self.memoryless) / (self.memory - self.memoryless) if self.separates else None


@functools.cache
def record() -> dict:
    """Return the content of bounds.json: {environment: {"random": {"mean": ..., "error": ...}, ...}}."""
    return json.loads(RECORD.read_text(encoding="utf-8"))["environments"] if RECORD.exists() else {}


def find(name: str) -> Bounds | None:
    """Return the bounds of an environment such as "TMazeEasy"; None where they are unknown."""
    row = record().get(name)
    if row is None or any(kind not in row for kind in Bounds._fields):
        return None
    return Bounds(*(row[kind]["mean"] for kind in Bounds._fields))
