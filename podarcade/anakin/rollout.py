"""Rollouts: act, then step, under one scan; used wherever an agent interacts with an environment."""

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.algorithms import Algorithm, Params
from podarcade.envs.environment import Environment, split_keys
from podarcade.types import Actors, Batch, Slots


@struct.dataclass
class Counts:
    """Events of one step of each environment, or their sum over steps and environments."""

    steps: jax.Array  # int32  environment steps, without resets
    episodes: jax.Array  # int32  finished episodes
    returns: jax.Array  # float32  their undiscounted returns
    lengths: jax.Array  # int32  their lengths
    held: jax.Array  # float32  return of the last finished episode, at every slot


def init_actors(
    algorithm: Algorithm, environment: Environment, keys: jax.Array, partial: jax.Array | None = None
) -> Actors:
    """Return fresh actors, without history.

    Args:
      algorithm: algorithm whose recurrent state and previous action the actors hold.
      environment: environment to reset.
      keys: PRNG key data, one per environment.
      partial: bool[B], which environments show the partial twin; the environment's default if None.
    """
    batch = keys.shape[0]
    env_keys, act_keys = split_keys(keys, 2)
    partial = jnp.full(batch, environment.partial) if partial is None else partial
    env, timestep = jax.vmap(environment.reset)(env_keys, partial)
    return Actors(
        env=env,
        timestep=timestep.replace(observation=None),
        previous_action=algorithm.initial_action(batch),
        carry=algorithm.initial(batch),
        key=act_keys,
        history=None,
    )


def init_history(algorithm: Algorithm, actors: Actors, length: int) -> Batch:
    """Return the history of fresh actors, [B, length, ...]: padding with copies of their first slot.

    Padding is never trained on, and the first real slot is a start, which resets the memory.
    """
    slots = current_slot(algorithm, actors).map(lambda x: jnp.repeat(x[:, None], length, axis=1))
    return Batch(slots=slots, carry=actors.carry)


def current_slot(algorithm: Algorithm, actors: Actors) -> Slots:
    """Return the slot that the actors are in, [B, ...], before they act: action and extras are placeholders."""
    timestep, batch = actors.timestep, len(actors.previous_action)
    return Slots(
        latent=actors.env.latent,
        observation=None,
        action=jnp.zeros_like(actors.previous_action),
        previous_action=actors.previous_action,
        reward=timestep.reward,
        terminal=timestep.terminal,
        truncated=timestep.truncated,
        start=timestep.start,
        extras=algorithm.initial_extras(batch),
    )


def draw(environment: Environment, actors: Actors) -> jax.Array:
    """Return the current observations, [B, ...]."""
    return jax.vmap(environment.draw)(actors.env.latent)


def advance(
    algorithm: Algorithm,
    environment: Environment,
    params: Params,
    actors: Actors,
    observation: jax.Array,
    exploration: jax.Array,
) -> tuple[Actors, jax.Array, Slots, Counts]:
    """Act and step every environment once.

    Args:
      algorithm: policy to act with.
      environment: environment to step.
      params: parameters of the policy.
      actors: [B, ...]; `history` is passed through.
      observation: current observations, `draw(environment, actors)`.
      exploration: see `Algorithm.act`.

    Returns:
      The actors after the step, their observations, the slot they were in, and counts per environment.
    """
    key, act_keys = split_keys(actors.key, 2)
    carry, action, extras = algorithm.act(
        params,
        actors.carry,
        actors.timestep.replace(observation=observation),
        actors.previous_action,
        act_keys,
        exploration,
    )
    slot = current_slot(algorithm, actors).replace(action=action, extras=extras)
    env, timestep = jax.vmap(environment.step)(actors.env, action)
    finished = timestep.terminal | timestep.truncated
    counts = Counts(
        steps=(~timestep.start).astype(jnp.int32),
        episodes=finished.astype(jnp.int32),
        returns=jnp.where(finished, env.episode_return, 0.0),
        lengths=jnp.where(finished, env.episode_length, 0),
        held=env.last_return,
    )
    actors = actors.replace(
        env=env,
        timestep=timestep.replace(observation=None),
        previous_action=algorithm.next_previous_action(actors.previous_action, action, timestep.start),
        carry=carry,
        key=key,
    )
    return actors, timestep.observation, slot, counts


def rollout(
    algorithm: Algorithm, environment: Environment, params: Params, actors: Actors, exploration: jax.Array
) -> tuple[Actors, Batch, Counts]:
    """Run T steps of every environment.

    Returns:
      The actors, whose history is now the last H slots before the current one; a latent batch of H + T + 1 slots: the
      previous history, the rollout, and one slot to bootstrap from; and the summed counts. The carry of the new history
      is the actors' carry at its first slot, where H <= T.
    """
    length, history_length = algorithm.rollout_length, algorithm.history_length
    history, actors = actors.history, actors.replace(history=None)

    def step(state, index):
        actors, observation, history_carry = state
        # The carry before the first slot of the next history, if that slot is in this rollout.
        if history_length <= length:
            is_first = index == length - history_length
            history_carry = jax.tree.map(lambda old, new: jnp.where(is_first, new, old), history_carry, actors.carry)
        actors, observation, slot, counts = advance(algorithm, environment, params, actors, observation, exploration)
        return (actors, observation, history_carry), (slot, counts)

    state = actors, draw(environment, actors), actors.carry
    (actors, _, history_carry), (slots, counts) = jax.lax.scan(step, state, jnp.arange(length, dtype=jnp.int32))
    history_carry = history_carry if history_length else actors.carry
    slots = jax.tree.map(
        lambda old, new, last: jnp.concatenate([old.swapaxes(0, 1), new, last[None]]),
        history.slots,
        slots,
        current_slot(algorithm, actors),
    )
    latest = slots.map(lambda x: x[length : length + history_length].swapaxes(0, 1))
    actors = actors.replace(history=Batch(slots=latest, carry=history_carry))
    total = jax.tree.map(lambda x: jnp.sum(x, dtype=x.dtype), counts)
    return actors, Batch(slots=slots, carry=history.carry), total
