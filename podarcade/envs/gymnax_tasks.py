"""Environments of gymnax 1.x as tasks, as in `game=gymnax:CartPole-v1`."""

import dataclasses
import functools
import importlib
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade import plugins
from podarcade.actions import ActionSpace, Continuous, Discrete
from podarcade.envs.tasks import Fields, Task

NEVER = 2**31 - 1  # a time limit from here on is none


@struct.dataclass
class GymnaxTaskState:
    """State of a gymnax environment, with what was seen of it."""

    inner: Any  # state of the environment
    seen: jax.Array  # float32[D] observation; part of the state, since it may be random
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps


@dataclasses.dataclass(frozen=True)
class _GymnaxTask(Task):
    """A gymnax environment with its default parameters; both twins are its observation, or a part of it.

    - observation: flattened to float32[D]; a discrete one is one-hot. With `mask`, the values at its indices are
      visible and the others are the hidden block.
    - action: discrete ones as they are; a Box is scaled from [-1, 1] to its bounds.
    - end: `terminated` is terminal; reaching `max_steps_in_episode` truncates.
    - twin: history, if what `mask` leaves out can be inferred from the past.

    Raises:
      ValueError: `mask` is not a list of different indices of the observation.
    """

    mask: str = ""  # indices of visible values, "0,2"; empty for all

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {"easy": {}}
    RETURNS: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    ENVIRONMENT: ClassVar[Any] = None
    PARAMS: ClassVar[Any] = None

    def __post_init__(self):
        super().__post_init__()
        given = str(self.mask).strip("[]() ")
        try:
            indices = [int(word) for word in given.replace(" ", "").split(",")] if given else []
        except ValueError:
            indices = [-1]
        size = _flat_size(self.ENVIRONMENT.observation_space(self.PARAMS))
        if len(set(indices)) < len(indices) or not all(0 <= index < size for index in indices):
            raise ValueError(f"mask={self.mask!r}; expected indices of the {size} values of the observation, as 0,2")
        object.__setattr__(self, "mask", ",".join(map(str, indices)))

    @property
    def actions(self) -> ActionSpace:
        """Action space: of n actions, or of as many components as the Box has."""
        space = self.ENVIRONMENT.action_space(self.PARAMS)
        return Discrete(int(space.n)) if hasattr(space, "n") else Continuous(math.prod(space.shape))

    @property
    def max_steps(self) -> int | None:
        """`max_steps_in_episode` of the default parameters, None for no limit."""
        limit = int(getattr(self.PARAMS, "max_steps_in_episode", NEVER))
        return limit if limit < NEVER else None

    def reset(self, key: jax.Array) -> GymnaxTaskState:
        """Start an episode."""
        observation, inner = self.ENVIRONMENT.reset_env(key, self.PARAMS)
        return GymnaxTaskState(
            inner=jax.tree.map(_strong, inner), seen=self._flat(observation), time=jnp.int32(0), score=jnp.int32(0)
        )

    def step(self, state: GymnaxTaskState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        observation, inner, reward, terminated, *_ = self.ENVIRONMENT.step_env(
            key, state.inner, self._scaled(action), self.PARAMS
        )
        inner = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype).reshape(old.shape), inner, state.inner)
        new = GymnaxTaskState(inner, self._flat(observation), state.time + 1, state.score + 1)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        return new, reward, self.is_over(new, jnp.asarray(terminated, bool).reshape(()))

    def visible(self, state: GymnaxTaskState) -> Fields:
        """Return the values at the indices of `mask`, or all."""
        return {"visible": state.seen[self._split()[0]]}

    def hidden(self, state: GymnaxTaskState) -> Fields:
        """Return the other values."""
        return {"hidden": state.seen[self._split()[1]]}

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        every = np.arange(_flat_size(self.ENVIRONMENT.observation_space(self.PARAMS)))
        visible = np.array([int(index) for index in self.mask.split(",")]) if self.mask else every
        return visible, np.setdiff1d(every, visible)

    def _flat(self, observation: jax.Array) -> jax.Array:
        space = self.ENVIRONMENT.observation_space(self.PARAMS)
        if hasattr(space, "n"):
            return jax.nn.one_hot(observation, space.n, dtype=jnp.float32)
        return jnp.asarray(observation, jnp.float32).reshape(-1)

    def _scaled(self, action: jax.Array) -> jax.Array:
        if isinstance(self.actions, Discrete):
            return action
        space = self.ENVIRONMENT.action_space(self.PARAMS)
        low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
        share = (jnp.clip(action, -1.0, 1.0).reshape(space.shape) + 1) / 2
        return low + share * (high - low)


@functools.cache
def task(name: str) -> type[Task]:
    """Return a gymnax environment as a task class.

    Args:
      name: an id that gymnax knows ("CartPole-v1"), or the dotted name of an environment class ("my.envs.Maze").

    Raises:
      ValueError: gymnax 1.x is not installed, or there is no such environment.
    """
    try:
        gymnax = importlib.import_module("gymnax")
        known = list(gymnax.registered_envs)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"game=gymnax:{name} needs gymnax 1.x ({error}); pip install 'podarcade[gymnax]'") from error
    if name in known:
        environment, params = gymnax.make(name)
    else:
        module, _, attribute = name.rpartition(".")
        try:
            environment = getattr(importlib.import_module(module), attribute)()
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(plugins.unknown("gymnax environment", name, known)) from error
        params = environment.default_params
    label = "".join(letter for letter in name.rpartition(".")[2] if letter.isalnum())
    members = {"ENVIRONMENT": environment, "PARAMS": params, "__doc__": _GymnaxTask.__doc__, "__module__": __name__}
    return dataclasses.dataclass(frozen=True)(type(label, (_GymnaxTask,), members))


def _flat_size(space: Any) -> int:
    return int(space.n) if hasattr(space, "n") else math.prod(space.shape)


def _strong(x: Any) -> jax.Array:
    """Return an array whose dtype is its own, not that of a Python number."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)
