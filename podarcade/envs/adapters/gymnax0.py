"""The interface of gymnax 0.0.x and of the released benchmark: a step gives five values."""

import functools

import jax
import jax.numpy as jnp

from podarcade.envs.adapters.gymnax import Gymnax, GymnaxParams, GymnaxState
from podarcade.envs.environment import Environment


class Gymnax0(Gymnax):
    """As `Gymnax`, but `step` and `step_env` return (observation, state, reward, done, info).

    `done` tells either end. `info` holds "terminated", "truncated" and "discount" (0 after a true end, else 1): numbers
    alone, since agents written for this interface keep every `info` of a run. So true last frames are lost, as they
    are there.
    """

    @functools.partial(jax.jit, static_argnames="self")
    def step(self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None) -> tuple:
        """(key, state, int32[]) -> (observation, state, reward, done, info)."""
        observation, state, reward, terminated, truncated, _ = super().step(key, state, action, params)
        return observation, state, reward, terminated | truncated, _info(terminated, truncated)

    def step_env(
        self, key: jax.Array, state: GymnaxState, action: jax.Array, params: GymnaxParams | None = None
    ) -> tuple:
        """(key, state, int32[]) -> (observation, state, reward, done, info); it starts no new episode."""
        observation, state, reward, terminated, _ = super().step_env(key, state, action, params)
        truncated = self.is_truncated(state, params) & ~terminated
        return observation, state, reward, terminated | truncated, _info(terminated, truncated)


def _info(terminated: jax.Array, truncated: jax.Array) -> dict[str, jax.Array]:
    return {"terminated": terminated, "truncated": truncated, "discount": 1 - terminated.astype(jnp.float32)}


def face(environment: Environment, name: str) -> tuple[Gymnax0, GymnaxParams]:
    """The environment as gymnax 0.0.x has it, and its parameters."""
    made = Gymnax0(environment, name)
    return made, made.default_params
