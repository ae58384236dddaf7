"""Rollouts: act, then step, under one scan; used wherever an agent meets an environment."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.algorithms import Algorithm
from podarcade.envs.environment import Environment
from podarcade.types import Actors, TimeStep, Trajectory


@struct.dataclass
class Counts:
    """What happened in one step of each environment, or its sum."""

    steps: jax.Array  # int32  real environment steps: a restart is none
    episodes: jax.Array  # int32  episodes that ended
    returns: jax.Array  # float32  undiscounted returns of those
    lengths: jax.Array  # int32  their lengths
    held: jax.Array  # float32  return of the last finished episode, at every slot


def start_actors(
    algorithm: Algorithm, environment: Environment, keys: jax.Array, partial: jax.Array | None = None
) -> Actors:
    """Fresh actors, one for each of the keys uint32[B, 2]; `partial` bool[B] chooses twins."""
    batch = keys.shape[0]
    env_keys, act_keys = jnp.moveaxis(jax.vmap(lambda key: _split(key, 2))(keys), 1, 0)
    partial = jnp.full(batch, environment.partial) if partial is None else partial
    env, timestep = jax.vmap(environment.reset)(env_keys, partial)
    return Actors(
        env=env,
        reward=timestep.reward,
        terminal=timestep.terminal,
        truncated=timestep.truncated,
        start=timestep.start,
        previous=jnp.full(batch, 0 if algorithm.compat.action_leak else -1),
        carry=algorithm.initial(batch),
        key=act_keys,
        history=None,
    )


def start_history(actors: Actors, length: int) -> Trajectory:
    """A history for fresh actors, [B, length, ...]: copies of their first slot.

    It is never learnt from, and the true first slot is a start, which forgets it.
    """
    slot = current_slot(actors, jnp.zeros_like(actors.previous))
    slots = jax.tree.map(lambda x: jnp.repeat(x[:, None], length, axis=1), slot)
    return slots.replace(carry=actors.carry)


def current_slot(actors: Actors, action: jax.Array) -> Trajectory:
    """The slot that the actors are in, [B, ...], with the action chosen there."""
    return Trajectory(
        latent=actors.env.latent,
        observation=None,
        action=action,
        previous=actors.previous,
        reward=actors.reward,
        terminal=actors.terminal,
        truncated=actors.truncated,
        start=actors.start,
        carry=None,
    )


def draw(environment: Environment, actors: Actors) -> jax.Array:
    """What the actors see now, [B, ...]."""
    return jax.vmap(environment.draw)(actors.env.latent)


def advance(
    algorithm: Algorithm,
    environment: Environment,
    params: Any,
    actors: Actors,
    observation: jax.Array,
    exploration: jax.Array,
) -> tuple[Actors, jax.Array, Trajectory, Counts]:
    """One step of every environment.

    Args:
      algorithm: acts.
      environment: is stepped.
      params: of the algorithm.
      actors: [B, ...], `history` untouched.
      observation: what the actors see, `draw(environment, actors)`.
      exploration: as in `Algorithm.act`.

    Returns:
      The actors after the step, what they see, the slot they were in, and counts per environment.
    """
    keys = jax.vmap(lambda key: _split(key, 2))(actors.key)
    timestep = TimeStep(observation, actors.reward, actors.terminal, actors.truncated, actors.start)
    carry, action = algorithm.act(params, actors.carry, timestep, actors.previous, keys[:, 1], exploration)
    slot = current_slot(actors, action)
    env, timestep = jax.vmap(environment.step)(actors.env, action)
    finished = timestep.terminal | timestep.truncated
    counts = Counts(
        steps=(~timestep.start).astype(jnp.int32),
        episodes=finished.astype(jnp.int32),
        returns=jnp.where(finished, env.episode_return, 0.0),
        lengths=jnp.where(finished, env.episode_length, 0),
        held=env.last_return,
    )
    before_start = actors.previous if algorithm.compat.action_leak else -1
    actors = actors.replace(
        env=env,
        reward=timestep.reward,
        terminal=timestep.terminal,
        truncated=timestep.truncated,
        start=timestep.start,
        previous=jnp.where(timestep.start, before_start, action),
        carry=carry,
        key=keys[:, 0],
    )
    return actors, timestep.observation, slot, counts


def rollout(
    algorithm: Algorithm, environment: Environment, params: Any, actors: Actors, exploration: jax.Array
) -> tuple[Actors, Trajectory, Counts]:
    """T steps of every environment, between the H slots of the actors' history and one to bootstrap from.

    Returns:
      The actors, whose history now is the last H slots before the current one; a trajectory of H + T + 1 slots, latent;
      and the counts, summed. The carry of the history is what the actors had there, where H <= T.
    """
    length, kept_slots = algorithm.rollout_length, algorithm.history
    before, actors = actors.history, actors.replace(history=None)

    def step(state, index):
        actors, observation, kept = state
        # The memory as it is before the slot where the next update's history begins, if that is in this rollout.
        if kept_slots <= length:
            kept = jax.tree.map(lambda old, new: jnp.where(index == length - kept_slots, new, old), kept, actors.carry)
        actors, observation, slot, counts = advance(algorithm, environment, params, actors, observation, exploration)
        return (actors, observation, kept), (slot, counts)

    state = actors, draw(environment, actors), actors.carry
    (actors, _, kept), (slots, counts) = jax.lax.scan(step, state, jnp.arange(length))
    kept = kept if kept_slots else actors.carry
    last = current_slot(actors, jnp.zeros_like(actors.previous))
    trajectory = jax.tree.map(
        lambda old, new, now: jnp.concatenate([old, new, now[None]]), _swap(before.replace(carry=None)), slots, last
    )
    history = _swap(jax.tree.map(lambda x: x[length : length + kept_slots], trajectory)).replace(carry=kept)
    return actors.replace(history=history), trajectory.replace(carry=before.carry), jax.tree.map(jnp.sum, counts)


def _swap(slots: Trajectory) -> Trajectory:
    """Time-major to environment-major, and back: what is kept between updates leads with environments."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1), slots)


def _split(key: jax.Array, number: int) -> jax.Array:
    return jax.random.key_data(jax.random.split(jax.random.wrap_key_data(key), number))
