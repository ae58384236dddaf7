"""The interface of gymnax 1.x, for code that was written for it. gymnax itself is neither needed nor imported."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.environment import Environment

NEVER = 2**31 - 1


@struct.dataclass
class GymnaxState:
    """What `step` and `reset` hand around."""

    game: Any  # the game's own latent state
    partial: jax.Array  # bool[] which twin is drawn; may be replaced at any time, also in a traced program

    @property
    def time(self) -> jax.Array:
        """int32[]: steps since the episode began."""
        return self.game.time


@struct.dataclass
class GymnaxParams:
    """The parameters that may be changed, and traced."""

    max_steps_in_episode: int = NEVER


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0 to n - 1."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: Any = np.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """int32[], uniform."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: Any) -> jax.Array:
        """bool[]: whether x is one of them."""
        return (jnp.asarray(x) >= 0) & (jnp.asarray(x) < self.n)


@dataclasses.dataclass(frozen=True)
class Box:
    """Arrays of one shape and type with all values from low to high."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any

    def sample(self, key: jax.Array) -> jax.Array:
        """An array, uniform."""
        if jnp.issubdtype(self.dtype, jnp.integer):
            return jax.random.randint(key, self.shape, int(self.low), int(self.high) + 1, jnp.int32).astype(self.dtype)
        return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)

    def contains(self, x: Any) -> jax.Array:
        """bool[]: whether all values of x lie within."""
        return jnp.all((jnp.asarray(x) >= self.low) & (jnp.asarray(x) <= self.high))


@dataclasses.dataclass(frozen=True)
class Gymnax:
    """A single environment as gymnax 1.x has it: pure functions with keys and parameters handed in.

    An episode that ends is followed by the first frame of the next one in the same step; its true last frame is
    `info["final_observation"]`. A program that does not use that frame does not draw it.

    Attributes:
      environment: the environment behind it.
      name: as in `podarcade.make`.
    """

    environment: Environment
    name: str

    @property
    def default_params(self) -> GymnaxParams:
        """The game's own time limit; under published rules the game itself ends there."""
        return GymnaxParams(self.environment.game.time_limit or NEVER)

    @property
    def num_actions(self) -> int:
        """How many actions there are."""
        return self.environment.game.NUM_ACTIONS

    def action_space(self, params: GymnaxParams | None = None) -> Discrete:
        """The actions."""
        return Discrete(self.num_actions)

    def observation_space(self, params: GymnaxParams | None = None) -> Box:
        """The frames, or the vectors of a task without pixels."""
        frame = self._frame
        if frame.dtype == np.uint8:
            return Box(0, 255, frame.shape, frame.dtype)
        return Box(-np.inf, np.inf, frame.shape, frame.dtype)

    @functools.partial(jax.jit, static_argnames="self")
    def reset(self, key: jax.Array, params: GymnaxParams | None = None) -> tuple[jax.Array, GymnaxState]:
        """key -> (observation, state)."""
        return self.reset_env(key, params)

    @functools.partial(jax.jit, static_argnames="self")
    def step(self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None) -> tuple:
        """(key, state, int32[]) -> (observation, state, reward, terminated, truncated, info)."""
        step_key, reset_key = jax.random.split(key)
        stepped, reward, terminated = self._step(step_key, state, action)
        truncated = self.is_truncated(stepped, params) & ~terminated
        over = terminated | truncated
        fresh = state.replace(game=self.environment.game.reset(reset_key))
        new = jax.tree.map(lambda after, last: jnp.where(over, after, last), fresh, stepped)
        info = {"terminated": terminated, "truncated": truncated, "final_observation": self.get_obs(stepped)}
        return self.get_obs(new), new, reward, terminated, truncated, info

    def reset_env(self, key: jax.Array, params: GymnaxParams | None = None) -> tuple[jax.Array, GymnaxState]:
        """key -> (observation, state)."""
        state = GymnaxState(self.environment.game.reset(key), jnp.asarray(self.environment.partial))
        return self.get_obs(state), state

    def step_env(
        self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None
    ) -> tuple:
        """(key, state, int32[]) -> (observation, state, reward, terminated, info); it starts no new episode."""
        state, reward, terminated = self._step(key, state, action)
        return self.get_obs(state), state, reward, terminated, {}

    def observe(
        self, key: jax.Array, state: GymnaxState, action: jax.Array | None, params: GymnaxParams | None = None
    ) -> jax.Array:
        """The observation of a state, which alone it depends on."""
        return self.get_obs(state)

    def get_obs(
        self, state: GymnaxState, params: GymnaxParams | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """The observation of a state, which alone it depends on."""
        return self.environment.game.draw(state.game, state.partial)

    def is_truncated(self, state: GymnaxState, params: GymnaxParams | None = None) -> jax.Array:
        """bool[]: whether the time is up."""
        return state.time >= (params or self.default_params).max_steps_in_episode

    def _step(self, key, state, action):
        game, reward, terminated = self.environment.game.step(state.game, action, key)
        return state.replace(game=game), reward, terminated

    @property
    def _frame(self) -> jax.ShapeDtypeStruct:
        return jax.eval_shape(lambda: self.reset_env(jax.random.key(0))[0])


def face(environment: Environment, name: str) -> Gymnax:
    """The environment as gymnax 1.x has it."""
    return Gymnax(environment, name)
