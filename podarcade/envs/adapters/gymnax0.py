"""The interface of gymnax 0.0.x and of the released benchmark: a step returns five values."""

import functools

import jax
import jax.numpy as jnp

from podarcade.envs.adapters.gymnax import Gymnax, GymnaxParams, GymnaxState
from podarcade.envs.environment import Environment


class Gymnax0(Gymnax):
    """As `Gymnax`, but `step` and `step_env` return (observation, state, reward, done, info).

    `done` is set at both kinds of end. `info` holds "terminated", "truncated" and "discount" (0 where terminated, else
    1): scalars only, since agents written for this interface stack every `info` of a rollout. So final observations
    are lost, as they are in gymnax 0.0.x.
    """

    @functools.partial(jax.jit, static_argnames="self")
    def step(self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None) -> tuple:
        """Step with auto-reset; return (observation, state, reward float32[], done bool[], info)."""
        observation, state, reward, terminated, truncated, _ = super().step(key, state, action, params)
        return observation, state, reward, terminated | truncated, _info(terminated, truncated)

    def step_env(
        self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None
    ) -> tuple:
        """Step without auto-reset; return (observation, state, reward float32[], done bool[], info)."""
        state, reward, terminated, truncated = self._transition(key, state, action, params)
        return self.get_obs(state), state, reward, terminated | truncated, _info(terminated, truncated)


def _info(terminated: jax.Array, truncated: jax.Array) -> dict[str, jax.Array]:
    return {"terminated": terminated, "truncated": truncated, "discount": 1 - terminated.astype(jnp.float32)}


def wrap(environment: Environment, name: str) -> tuple[Gymnax0, GymnaxParams]:
    """Return the environment behind the interface of gymnax 0.0.x, and its parameters."""
    made = Gymnax0(environment, name)
    return made, made.default_params
