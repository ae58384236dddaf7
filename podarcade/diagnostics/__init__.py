"""The Diagnostic contract: what a trained agent is measured by, as a pure function of the agent and a key."""

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

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

    def rollout(self, length: int, batch: int, key: jax.Array, partial: bool | None = None) -> Any:
        """Play; returns a trajectory [T, B, ...]."""

    def encode(self, timestep: TimeStep, previous_action: jax.Array) -> Pytree:
        """Return features that `unroll` takes in place of the observations of steps that were seen."""

    def unroll(self, memory: Pytree, timestep: TimeStep, previous_action: jax.Array) -> dict[str, jax.Array]:
        """Return the outputs along steps that were seen, [T, B, ...]."""


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """Base class of diagnostics; each subclass lives in a file of its own, and its fields are its options.

    Shapes depend on the options and on the game alone, so that a diagnostic is compiled once for all seeds and
    checkpoints of a network.
    """

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
