"""The interface of gymnax 1.x. gymnax itself is neither needed nor imported."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.actions import Continuous
from podarcade.envs.environment import Environment, reset_where, transition

NEVER = 2**31 - 1


@struct.dataclass
class GymnaxState:
    """State that `reset` and `step` return."""

    game: Any  # the game's latent state
    partial: jax.Array  # bool[] whether the partial twin is drawn; may be replaced at any time, also under jit

    @property
    def time(self) -> jax.Array:
        """Steps since the episode began, int32[]."""
        return self.game.time


@struct.dataclass
class GymnaxParams:
    """Parameters that may be changed and traced."""

    max_steps_in_episode: int = NEVER


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0 to n - 1."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: Any = np.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a uniformly random action, int32[]."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: Any) -> jax.Array:
        """Return whether x is one of the actions, bool[]."""
        return (jnp.asarray(x) >= 0) & (jnp.asarray(x) < self.n)


@dataclasses.dataclass(frozen=True)
class Box:
    """Arrays of one shape and dtype with all values between low and high."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a uniformly random array."""
        if jnp.issubdtype(self.dtype, jnp.integer):
            return jax.random.randint(key, self.shape, int(self.low), int(self.high) + 1, jnp.int32).astype(self.dtype)
        return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)

    def contains(self, x: Any) -> jax.Array:
        """Return whether all values of x are within the bounds, bool[]."""
        return jnp.all((jnp.asarray(x) >= self.low) & (jnp.asarray(x) <= self.high))


@dataclasses.dataclass(frozen=True)
class Gymnax:
    """A single environment behind the interface of gymnax 1.x: pure functions of keys, states and parameters.

    The step that ends an episode also starts the next one: it returns the first observation of the new episode, and
    the final observation of the old one as `info["final_observation"]`, which is drawn only in programs that use it.

    Attributes:
      environment: the environment behind it.
      name: as in `podarcade.make`.
    """

    environment: Environment
    name: str

    @property
    def default_params(self) -> GymnaxParams:
        """Parameters with the game's own time limit; none under published rules, where the game ends there itself."""
        return GymnaxParams(self.environment.game.time_limit or NEVER)

    @property
    def num_actions(self) -> int:
        """Number of discrete actions, or of components of a continuous action."""
        return self.environment.game.actions.size

    def action_space(self, params: GymnaxParams | None = None) -> Discrete | Box:
        """Return the space of actions."""
        space = self.environment.game.actions
        return Box(-1.0, 1.0, space.shape, np.float32) if isinstance(space, Continuous) else Discrete(space.n)

    def observation_space(self, params: GymnaxParams | None = None) -> Box:
        """Return the space of observations: frames, or vectors for a task without pixels."""
        frame = self._frame
        if frame.dtype == np.uint8:
            return Box(0, 255, frame.shape, frame.dtype)
        return Box(-np.inf, np.inf, frame.shape, frame.dtype)

    @functools.partial(jax.jit, static_argnames="self")
    def reset(self, key: jax.Array, params: GymnaxParams | None = None) -> tuple[jax.Array, GymnaxState]:
        """Start an episode; return (observation, state)."""
        return self.reset_env(key, params)

    @functools.partial(jax.jit, static_argnames="self")
    def step(self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None) -> tuple:
        """Step, and start a new episode if this one ended.

        Returns:
          (observation, state, reward float32[], terminated bool[], truncated bool[], info).
        """
        step_key, reset_key = jax.random.split(key)
        last, reward, terminated, truncated = self._transition(step_key, state, action, params)
        over = terminated | truncated
        new = state.replace(game=reset_where(over, self.environment.game, last.game, reset_key))
        info = {"terminated": terminated, "truncated": truncated, "final_observation": self.get_obs(last)}
        return self.get_obs(new), new, reward, terminated, truncated, info

    def reset_env(self, key: jax.Array, params: GymnaxParams | None = None) -> tuple[jax.Array, GymnaxState]:
        """Start an episode; return (observation, state)."""
        state = GymnaxState(self.environment.game.reset(key), jnp.asarray(self.environment.partial))
        return self.get_obs(state), state

    def step_env(
        self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None
    ) -> tuple:
        """Step without auto-reset; return (observation, state, reward float32[], terminated bool[], info)."""
        state, reward, terminated, _ = self._transition(key, state, action, params)
        return self.get_obs(state), state, reward, terminated, {}

    def observe(
        self, key: jax.Array, state: GymnaxState, action: jax.Array | None, params: GymnaxParams | None = None
    ) -> jax.Array:
        """Return the observation of a state; no other argument is used."""
        return self.get_obs(state)

    def get_obs(
        self, state: GymnaxState, params: GymnaxParams | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Return the observation of a state; no other argument is used."""
        return self.environment.game.draw(state.game, state.partial)

    def is_truncated(self, state: GymnaxState, params: GymnaxParams | None = None) -> jax.Array:
        """Return whether the time limit is reached, bool[]."""
        return state.time >= self._time_limit(params)

    def _time_limit(self, params):
        return (params or self.default_params).max_steps_in_episode

    def _transition(self, key, state, action, params):
        """`environment.transition` for a `GymnaxState`."""
        game, *rest = transition(self.environment.game, state.game, action, key, self._time_limit(params))
        return state.replace(game=game), *rest

    @property
    def _frame(self) -> jax.ShapeDtypeStruct:
        return jax.eval_shape(lambda: self.reset_env(jax.random.key(0))[0])


def wrap(environment: Environment, name: str) -> Gymnax:
    """Return the environment behind the interface of gymnax 1.x."""
    return Gymnax(environment, name)
