"""Saliency: which pixels, or which features, of which past observations a decision depends on."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import ranges
from podarcade.diagnostics import Agent, Diagnostic, gradients
from podarcade.diagnostics.episodes import Episodes, decision, encode, play, replay, steps_of
from podarcade.envs.observability import NAMES

TWINS = tuple(NAMES)


@dataclasses.dataclass(frozen=True)
class Saliency(Diagnostic):
    """Gradients of decisions by each pixel or feature along an episode, on both twins from the same starts.

        S_nt(i) = ‖ ∂ y_n(a) / ∂ o_t(i) ‖₂      over actions a, and over the channels of a pixel i

    y are action values, of a stochastic policy log-probabilities, less their mean over actions: what all actions share
    decides nothing. (POPGym Arcade, section on pixel saliency; the released scripts take the gradient of Σ_a y, in
    which what distinguishes the actions cancels, and for PPO that of a sum of logits, which are defined up to a
    constant only.) Two decisions n are looked at: that of each step on its own observation, S_tt, and the last one of
    the episode on all observations before it, S_nt.

    Actions are those of the greedy episode and do not change with the observations. A gradient is large where a small
    change of a pixel would matter, whether or not games ever show that change.

    Attributes:
      episodes: B.
      length: T, steps that are shown at most; 0 for those of the longest episode, up to 32.
    """

    RANGES: ClassVar[dict[str, ranges.Range]] = {"episodes": ranges.COUNT, "length": ranges.NON_NEGATIVE}

    episodes: int = 1
    length: int = 0

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return arrays of each twin, with "full/" or "partial/" before their names.

        "past": float16[B, T, ...], S of the last decision; "present": float16[B, T, ...], S of each step's own
        observation: [side, side] for pixels, [D] for vectors; "seen": float32[B, T, D], vectors only; "picture":
        uint8[B, T, H, W, 3] for display, where the game has any; "decision": float32[B, T, A]; "action"; and "last":
        int32[B], n. All are 0 after n, and S is in units of the largest in its episode.
        """
        length = self.length or min(steps_of(agent.environment.game, 0), 32)
        found = {}
        for index, twin in enumerate(TWINS):
            arrays = _measure(agent, key, jnp.asarray(bool(index)), self.episodes, length)
            found |= {f"{twin}/{name}": value for name, value in arrays.items()}
        return found

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return the share of the last decision's saliency that is on its own observation, by twin; None if it is 0."""
        shares = {}
        for twin in TWINS:
            past, last = np.asarray(found[f"{twin}/past"], float), np.asarray(found[f"{twin}/last"])
            mass = past.reshape(*past.shape[:2], -1).sum(axis=-1)
            total = mass.sum(axis=1)
            own = mass[np.arange(len(last)), last][total > 0] / total[total > 0]
            shares[twin] = {"now": round(float(own.mean()), 5) if len(own) else None}
        return shares


@functools.partial(jax.jit, static_argnames=("episodes", "length"))
def _measure(agent: Agent, key: jax.Array, partial: jax.Array, episodes: int, length: int) -> dict[str, jax.Array]:
    played = play(agent, key, episodes, length, partial)
    observation, environment = played.timestep.observation, agent.environment
    found = {
        "past": gradients.of_last_decision(agent, played, gradients.seen(played), _size),
        "present": jax.lax.map(lambda time: _present(agent, played, time), jnp.arange(length)),
        "decision": replay(agent, played, encode(agent, played)),
        "action": played.action,
    }
    for name in ("past", "present"):
        inside = _where_inside(found[name], played.inside)
        largest = jnp.max(inside, axis=(0, *range(2, inside.ndim)), keepdims=True)
        found[name] = (inside / jnp.where(largest > 0, largest, 1)).astype(jnp.float16)
    if observation.ndim == 3:
        found["seen"] = observation
    if environment.has_picture:
        found["picture"] = jax.lax.map(jax.vmap(environment.render), played.latent)
    inside = {name: _where_inside(x, played.inside) for name, x in found.items()}
    return {name: jnp.swapaxes(x, 0, 1) for name, x in inside.items()} | {"last": played.last}


def _where_inside(x: jax.Array, inside: jax.Array) -> jax.Array:
    return jnp.where(inside.reshape(*inside.shape, *(1,) * (x.ndim - 2)), x, jnp.zeros_like(x))


def _present(agent: Agent, played: Episodes, time: jax.Array) -> jax.Array:
    """Return the saliency of a step's own observation for its decision, from the recurrent state before it."""
    memory, timestep, previous_action = jax.tree.map(
        lambda x: x[time], (played.memories, played.timestep, played.previous_action)
    )

    def decide(seen: jax.Array) -> jax.Array:
        steps = jax.tree.map(lambda x: x[None], timestep.replace(observation=seen))
        return decision(agent.unroll(memory, steps, previous_action[None]))[0]

    chosen, pull_back = jax.vjp(decide, gradients.seen(played)(time))
    rows = jnp.eye(chosen.shape[1], dtype=chosen.dtype)[:, None]
    return _size(jax.lax.map(lambda row: pull_back(jnp.broadcast_to(row, chosen.shape))[0], rows), time)


def _size(gradient: jax.Array, time: jax.Array) -> jax.Array:
    """Return the norm over actions, less their mean, and over channels: [A, B, side, side, 3] -> [B, side, side]."""
    if len(gradient) > 1:
        gradient -= jnp.mean(gradient, axis=0, keepdims=True)
    return jnp.sqrt(jnp.sum(gradient**2, axis=(0, 4) if gradient.ndim == 5 else 0))
