"""Gradients of the last decision of an episode by each observation, all actions in one pass over time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from podarcade.diagnostics import Agent
from podarcade.diagnostics.episodes import Episodes, encode_step, replay
from podarcade.types import Pytree

Observe = Callable[[jax.Array], jax.Array]  # time int32[] -> what is seen then, float32[B, ...]


def of_last_decision(
    agent: Agent, played: Episodes, observe: Observe, reduce: Callable[[jax.Array, jax.Array], Pytree]
) -> Pytree:
    """Return reduce(∂ yₙ(a) / ∂ oₜ, t) for every time t, leaves [T, ...].

    The gradient by the features of all observations is taken once for each action; it is pulled back through the
    encoder one time step after another. Memory holds the frames of one step as numbers instead of those of all.

    Args:
      agent: the agent.
      played: episodes of B environments.
      observe: gives the observations at which the gradient is taken.
      reduce: called with the gradient float32[A, B, ...] and the time int32[].
    """
    times = jnp.arange(len(played.inside))
    features = jax.lax.map(lambda time: encode_step(agent, played, observe(time), time), times)
    chosen, pull_back = jax.vjp(lambda x: replay(agent, played, x)[played.last, played.lane], features)
    actions = jnp.eye(chosen.shape[1], dtype=chosen.dtype)[:, None]
    by_feature = jax.lax.map(lambda row: pull_back(jnp.broadcast_to(row, chosen.shape))[0], actions)  # [A, T, B, ...]

    def at(time: jax.Array) -> Pytree:
        _, pull_back = jax.vjp(lambda seen: encode_step(agent, played, seen, time), observe(time))
        return reduce(jax.lax.map(lambda row: pull_back(row)[0], jax.tree.map(lambda x: x[:, time], by_feature)), time)

    return jax.lax.map(at, times)


def seen(played: Episodes) -> Observe:
    """Return what was seen, as numbers that have a gradient."""
    return lambda time: played.timestep.observation[time].astype(jnp.float32)
