"""Gradients of the last decision of an episode by each observation, all actions in one pass over time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from podarcade.diagnostics import Agent
from podarcade.diagnostics.episodes import Episodes, encode_step, map_steps, replay
from podarcade.types import Pytree

Observe = Callable[[jax.Array], jax.Array]  # time int32[] -> what is seen then, float32[B, ...]


def of_last_decision(
    agent: Agent, played: Episodes, observe: Observe, reduce: Callable[[jax.Array, jax.Array], Pytree]
) -> Pytree:
    """Return reduce(∂ yₙ(a) / ∂ oₜ, t) for every time t, leaves [T, ...]; zeros after the last n of all episodes.

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
    by_feature = _by_feature(agent, played, features)

    def at(time: jax.Array) -> Pytree:
        _, pull_back = jax.vjp(lambda seen: encode_step(agent, played, seen, time), observe(time))
        return reduce(jax.lax.map(lambda row: pull_back(row)[0], jax.tree.map(lambda x: x[:, time], by_feature)), time)

    return map_steps(played, at, times)


def along(agent: Agent, played: Episodes, observe: Observe, direction: Observe) -> jax.Array:
    """Return Σ_i ∂ yₙ(a) / ∂ oₜᵢ · dₜᵢ for every time t, float32[T, A, B].

    The derivative of the features along d takes one pass through the encoder, where gradients take one for each action:

        Σ_i ∂ yₙ(a) / ∂ oₜᵢ · dₜᵢ = Σ_j ∂ yₙ(a) / ∂ fₜⱼ · (∂ fₜ / ∂ oₜ d)ⱼ

    Args:
      agent: the agent.
      played: episodes of B environments.
      observe: gives the observations at which the gradient is taken.
      direction: gives d.
    """

    def at(time: jax.Array) -> tuple[Pytree, Pytree]:
        features, pull_back = jax.vjp(lambda seen: encode_step(agent, played, seen, time), observe(time))
        # The derivative of a pull-back by what it pulls back pushes forward. Encoders whose backward pass is their own
        # have no other forward derivative.
        _, push_forward = jax.vjp(lambda row: pull_back(row)[0], jax.tree.map(jnp.zeros_like, features))
        return features, push_forward(direction(time))[0]

    features, moved = jax.lax.map(at, jnp.arange(len(played.inside)))
    by_feature = _by_feature(agent, played, features)

    def share(gradient: jax.Array, moved: jax.Array) -> jax.Array:
        return jnp.sum(gradient * moved[None], axis=tuple(range(3, gradient.ndim)))  # [A, T, B]

    parts = jax.tree.leaves(jax.tree.map(share, by_feature, moved))
    return jnp.swapaxes(sum(parts[1:], parts[0]), 0, 1)


def _by_feature(agent: Agent, played: Episodes, features: Pytree) -> Pytree:
    """Return the gradients of the last decision by features [T, B, ...], leaves [A, T, B, ...]."""
    chosen, pull_back = jax.vjp(lambda x: replay(agent, played, x)[played.last, played.lane], features)
    actions = jnp.eye(chosen.shape[1], dtype=chosen.dtype)[:, None]
    return jax.lax.map(lambda row: pull_back(jnp.broadcast_to(row, chosen.shape))[0], actions)


def seen(played: Episodes) -> Observe:
    """Return what was seen, as numbers that have a gradient."""
    return lambda time: played.timestep.observation[time].astype(jnp.float32)
