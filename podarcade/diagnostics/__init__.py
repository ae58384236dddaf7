"""The Diagnostic contract: what a trained agent is measured by, as a pure function of the agent and a key."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import jax
import numpy as np

from podarcade import ranges
from podarcade.envs.environment import Environment
from podarcade.types import Pytree, TimeStep


class Agent(Protocol):
    """What a diagnostic needs of an agent, as `podarcade.load` returns it: a pytree of its parameters."""

    params: Pytree
    algorithm: Any
    environment: Environment

    def initial(self, batch: int) -> Any:
        """Return the carry before the first step; its `memory` is the recurrent state."""

    def act(self, carry: Any, timestep: TimeStep) -> tuple[Any, jax.Array]:
        """Return the new carry and the greedy actions of B environments; a start resets the memory."""

    def rollout(self, length: int, batch: int, key: jax.Array, partial: jax.Array | None = None) -> Any:
        """Play; returns a trajectory [T, B, ...]."""

    def encode(self, timestep: TimeStep, previous_action: jax.Array) -> Pytree:
        """Return features that `unroll` takes in place of the observations of steps that were seen."""

    def unroll(self, memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> dict[str, jax.Array]:
        """Return the outputs along steps that were seen, [T, B, ...]."""

    def attention(self, memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> list[jax.Array]:
        """Return the weights of each attention layer along steps that were seen, [T, B, T]."""


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """Base class of diagnostics; each subclass lives in a file of its own, and its fields are its options.

    Shapes depend on the options and on the game alone, so that a diagnostic is compiled once for all seeds and
    checkpoints of a network.

    Raises:
      ValueError: an option is out of its range.
    """

    CONTROL: ClassVar[bool] = False  # whether `podarcade diagnose` measures untrained networks too, as the control
    RANGES: ClassVar[dict[str, ranges.Range]] = {"episodes": ranges.COUNT, "length": ranges.NON_NEGATIVE}

    def __post_init__(self):
        options = {field.name for field in dataclasses.fields(self)}
        for name, allowed in ranges.inherited(type(self), "RANGES").items():
            if name in options:
                ranges.check(name, getattr(self, name), allowed)

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return arrays by name: rank 0 a scalar, 1 a curve, 3 an image, 4 a video, with a leading axis for episodes.

        Args:
          agent: the agent.
          key: a typed PRNG key.
        """
        raise NotImplementedError

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return the numbers that a table needs, JSON-serialisable, None for unknown ones.

        Args:
          found: what calling the diagnostic returned, of one agent.
        """
        return {}


def untrained(agent: Agent, key: jax.Array) -> Agent:
    """Return the agent with newly drawn parameters: the control for what an architecture does without learning."""
    _, timestep = agent.environment.reset(key)
    return agent.replace(params=agent.algorithm.init(key, timestep))


def numbers(summary: Any, longest: int, path: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield a path, such as "swap/thirds/0", and a value for every number of a summary; None for unknown ones.

    Args:
      summary: from `Diagnostic.summarise`.
      longest: number of entries of the longest list whose entries are yielded; longer ones are curves.
      path: where the summary is.
    """
    if isinstance(summary, dict):
        for name, value in summary.items():
            yield from numbers(value, longest, f"{path}/{name}" if path else str(name))
    elif isinstance(summary, list):
        if len(summary) <= longest:
            for index, value in enumerate(summary):
                yield from numbers(value, longest, f"{path}/{index}")
    elif summary is None or isinstance(summary, int | float):
        yield path, summary
