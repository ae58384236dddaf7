"""Gradients of the last decision of an episode by each observation, all actions in one pass over time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from podarcade.diagnostics import Agent
from podarcade.diagnostics.episodes import Episodes, replay
from podarcade.types import Pytree


def of_last_decision(
    agent: Agent, played: Episodes, observation: jax.Array, reduce: Callable[[jax.Array, jax.Array], Pytree]
) -> Pytree:
    """Return reduce(∂ yₙ(a) / ∂ oₜ, t) for every time t, leaves [T, ...].

    The gradient by the features of all observations is taken once for each action; it is pulled back through the
    encoder one time step after another, so that memory holds the frames of one step instead of those of all.

    Args:
      agent: the agent.
      played: episodes of B environments.
      observation: float32[T, B, ...], where the gradient is taken.
      reduce: called with the gradient float32[A, B, ...] and the time int32[].
    """

    def encode(seen: jax.Array, steps: Pytree) -> Pytree:
        timestep, previous_action = steps
        return agent.encode(timestep.replace(observation=seen), previous_action)

    features = encode(observation, (played.timestep, played.previous_action))
    chosen, pull_back = jax.vjp(lambda x: replay(agent, played, x)[played.last, played.lane], features)
    actions = jnp.eye(chosen.shape[1], dtype=chosen.dtype)[:, None]
    by_feature = jax.lax.map(lambda row: pull_back(jnp.broadcast_to(row, chosen.shape))[0], actions)  # [A, T, B, ...]

    def at(time: jax.Array) -> Pytree:
        def here(x: jax.Array, axis: int = 0) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(x, time, 1, axis)

        steps = jax.tree.map(here, (played.timestep, played.previous_action))
        _, pull_back = jax.vjp(lambda seen: encode(seen, steps), here(observation))
        gradient = jax.lax.map(lambda row: pull_back(row)[0][0], jax.tree.map(lambda x: here(x, 1), by_feature))
        return reduce(gradient, time)

    return jax.lax.map(at, jnp.arange(len(observation)))
