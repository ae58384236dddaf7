"""The closed loop: episodes that are played while the agent sees one disturbed observation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from podarcade.diagnostics import Agent
from podarcade.diagnostics.disturbances import add_noise, other_lanes
from podarcade.diagnostics.episodes import Episodes


def paired_returns(agent: Agent, key: jax.Array, played: Episodes, scale: jax.Array) -> dict[str, jax.Array]:
    """Play the same starts three times: undisturbed, and with noise or a swap at one step of each episode.

    The step is uniform over the steps of the undisturbed episode, so that it is always reached: up to there all three
    are the same. After it the agent acts on what its memory makes of it. The three are played by one program, so that
    noise of scale 0 has exactly the return of the undisturbed episode.

    Args:
      agent: the agent.
      key: a typed PRNG key.
      played: B other episodes of up to T steps, of which a swap shows the observation at the same step.
      scale: from `noise_scale`.

    Returns:
      {"return_undisturbed": float32[B], "return_noise": ..., "return_swap": ..., "disturbed": int32[B]}: undiscounted
      returns of the first T actions of each episode, and the step that was disturbed.
    """
    length, lanes = played.inside.shape
    start_key, step_key, noise_key, swap_key = jax.random.split(key, 4)
    starts, fraction = jax.random.split(start_key, lanes), jax.random.uniform(step_key, (lanes,), jnp.float32)
    noise = jax.random.normal(noise_key, played.timestep.observation.shape[1:], jnp.float32)
    other = other_lanes(swap_key, lanes)

    def play(step: jax.Array, kind: jax.Array) -> tuple[jax.Array, jax.Array]:
        shown = played.timestep.observation[jnp.minimum(step, played.last[other]), other]

        def disturb(time: jax.Array, observation: jax.Array) -> jax.Array:
            now = (kind > 0) & (time == step)

            def change(observation: jax.Array) -> jax.Array:
                changed = jnp.where(kind == 1, add_noise(observation, noise, scale), shown)
                return jax.vmap(jnp.where)(now, changed, observation)

            return jax.lax.cond(jnp.any(now), change, lambda observation: observation, observation)

        total, steps = _play_disturbed(agent, starts, length, disturb)
        drawn = jnp.minimum((fraction * steps).astype(jnp.int32), steps - 1)
        return jnp.where(kind == 0, drawn, step), total

    step, totals = jax.lax.scan(play, jnp.zeros(lanes, jnp.int32), jnp.arange(3))
    names = ("return_undisturbed", "return_noise", "return_swap")
    return dict(zip(names, totals, strict=True)) | {"disturbed": step}


def _play_disturbed(
    agent: Agent, starts: jax.Array, length: int, disturb: Callable[[jax.Array, jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Return the returns float32[B] and lengths int32[B] of episodes whose observations `disturb` changes."""
    state, timestep = jax.vmap(agent.environment.reset)(starts)
    running, total = jnp.ones(len(starts), bool), jnp.zeros(len(starts), jnp.float32)

    def step(playing, time):
        state, timestep, carry, running, total = playing
        seen = timestep.replace(observation=disturb(time, timestep.observation))
        carry, action = agent.act(carry, seen)
        state, timestep = jax.vmap(agent.environment.step)(state, action)
        total += jnp.where(running, timestep.reward, 0.0)
        return (state, timestep, carry, running & ~(timestep.terminal | timestep.truncated), total), running

    playing = state, timestep, agent.initial(len(starts)), running, total
    (*_, total), running = jax.lax.scan(step, playing, jnp.arange(length))
    return total, jnp.sum(running, axis=0, dtype=jnp.int32)
