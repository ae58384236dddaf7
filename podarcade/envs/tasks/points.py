"""What the tasks with a point robot on a plane share."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.actions import ActionSpace, Continuous
from podarcade.envs.tasks import Task

STRIDE = 0.1  # distance per action and coordinate


@dataclasses.dataclass(frozen=True)
class _PointTask(Task):
    """A point on a plane, whose every coordinate moves by up to 0.1 with each action.

    Published rules draw what differs between episodes from a list that was drawn once, `TRAINING` entries for training
    and `HELD_OUT` for evaluation, which `held_out=True` chooses.
    """

    held_out: bool = False

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}}
    TRAINING: ClassVar[int] = 0
    HELD_OUT: ClassVar[int] = 0
    actions: ClassVar[ActionSpace] = Continuous(2)

    def __post_init__(self):
        super().__post_init__()
        if self.held_out and self.rules == "strict":
            raise ValueError("held_out=True, rules='strict'; expected rules='published', strict draws from all")

    @property
    def hidden_at_start(self) -> bool:
        """Whether the hidden block is zero at time 0: always, since it is not visible then."""
        return True

    def parameters(self, uniform: jax.Array) -> jax.Array:
        """Return what differs between episodes, in units of its range.

        Args:
          uniform: float32[n], uniform on [0, 1).

        Returns:
          The same, or under published rules the entry of the list that `uniform[0]` points to, float32[n].
        """
        if self.rules == "strict":
            return uniform
        first, count = (self.TRAINING, self.HELD_OUT) if self.held_out else (0, self.TRAINING)
        entries = _list(self.TRAINING + self.HELD_OUT, uniform.shape[0])[first : first + count]
        index = jnp.minimum((uniform[0] * count).astype(jnp.int32), count - 1)
        return jnp.asarray(entries)[index]


def move(position: jax.Array, action: jax.Array) -> jax.Array:
    """Return the position after an action, float32[2]."""
    return position + STRIDE * jnp.clip(action, -1.0, 1.0)


def reached(position: jax.Array, goal: jax.Array, radius: float) -> jax.Array:
    """Return whether a position is within a radius of a goal, bool[]."""
    return jnp.sum((position - goal) ** 2) <= radius**2


@functools.cache
def _list(count: int, size: int) -> np.ndarray:
    """Return the list that was drawn once, uniform numbers float32[count, size], by the generator of the authors."""
    return np.random.RandomState(1337).uniform(size=(count, size)).astype(np.float32)
