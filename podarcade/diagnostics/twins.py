"""Paired twins: how the outputs of an agent differ between the two twins on identical state sequences."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.actions import is_near_tie
from podarcade.diagnostics import Agent, Diagnostic
from podarcade.diagnostics.episodes import (
    Episodes,
    decision,
    join_groups,
    num_groups,
    play,
    preferences,
    step,
    steps_of,
)
from podarcade.envs.observability import NAMES
from podarcade.types import Pytree

PATHS = TWINS = tuple(NAMES)
NEAR_TIE = 0.01  # share of the mean preference up to which a gap between the best two actions is a near-tie


@dataclasses.dataclass(frozen=True)
class Twins(Diagnostic):
    """Differences between twins that see the same B greedy episodes, played once on either twin.

    The states of an episode are drawn as both twins, and the agent sees each of the two sequences with its own memory
    and the actions of the episode (teacher forcing). What differs is what the twin shows, and no return enters, so that
    few episodes are enough. At each time t, with A the values minus their mean over actions, f and p the full and the
    partial twin, and means over episodes and actions:

        preference    mean |A_f - A_p| / ½ mean (|A_f| + |A_p|)       0 if equal, 2 if one is zero or they are opposite
        value         mean (V_f - V_p),  V = max_a Q, or the value output of a policy, in units of return
        value_size    mean |V_f - V_p|
        flips         share of greedy actions that differ
        clear_flips   likewise, of the steps at which neither twin's choice is a near-tie, within 1 % of the mean |A|
        kl, variation   KL(π_f ‖ π_p) in nats, and ½ Σ |π_f - π_p|, of a stochastic policy with discrete actions;
                      of a Gaussian one KL alone

    For stochastic policies A are log-probabilities minus their mean; for Gaussian ones, the mean actions.

    Two further sequences tell apart what is seen from what is remembered, in the units of "preference":

        seeing        the memory of the partial twin, and the present observation of either twin
        remembering   the present observation of the partial twin, and the memory of either twin

    Without memory, remembering is 0 and seeing is the preference gap. At time 0 both twins show the same, so that all
    are 0. An agent is measured on two twins whether or not it has been trained on both: on one that it has not seen, a
    difference is also one of generalisation.

    Attributes:
      episodes: B.
      length: T, as of `RecallDensity`.
    """

    episodes: int = 64
    length: int = 0

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return curves over time and means over all steps of the measures above.

        "PATH/NAME_at" is float32[T] and "PATH/NAME" float32[], PATH being the twin that episodes were played on, with
        "PATH/steps_at" int32[T], the episodes that had not ended. NaN where there is none. Steps at which no action is
        asked for are left out.
        """
        return _measure(agent, key, self.episodes, steps_of(agent.environment.game, self.length))

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return {path: {measure: mean over steps}}."""
        summary: dict[str, Any] = {path: {} for path in PATHS}
        for name, value in found.items():
            path, measure = name.split("/")
            if np.ndim(value) == 0:
                summary[path][measure] = None if np.isnan(value) else round(float(value), 6)
        return summary


@functools.partial(jax.jit, static_argnames=("episodes", "length"))
def _measure(agent: Agent, key: jax.Array, episodes: int, length: int) -> dict[str, jax.Array]:
    groups = num_groups(agent, episodes, length)
    keys = jax.random.split(key, groups)  # the same for both paths, and so the same starts

    def on(partial: jax.Array) -> dict[str, jax.Array]:
        def group(key: jax.Array) -> tuple:
            played = play(agent, key, episodes // groups, length, partial)
            return _outputs(agent, played), played.inside

        return _compare(*join_groups(jax.lax.map(group, keys)))

    found = jax.lax.map(on, jnp.array([path == "partial" for path in PATHS]))
    return {f"{path}/{name}": x[number] for number, path in enumerate(PATHS) for name, x in found.items()}


def _outputs(agent: Agent, played: Episodes) -> dict[tuple[str, str], dict[str, jax.Array]]:
    """Return outputs [T, B, ...] for memories that saw one twin, and present observations of one: (memory, present)."""

    def features(twin: str) -> Pytree:
        latent = played.latent.replace(partial=jnp.full_like(played.latent.partial, twin == "partial"))
        timestep = played.timestep.replace(observation=jax.vmap(jax.vmap(agent.environment.draw))(latent))
        return timestep.replace(observation=agent.encode(timestep, played.previous_action))

    def body(memories: dict[str, Pytree], now: tuple) -> tuple[dict[str, Pytree], Any]:
        timesteps, previous_action = now
        found = {
            (memory, seen): step(agent, memories[memory], timesteps[seen], previous_action)
            for memory in TWINS
            for seen in TWINS
        }
        return {twin: found[twin, twin][0] for twin in TWINS}, {pair: outputs for pair, (_, outputs) in found.items()}

    steps = {twin: features(twin) for twin in TWINS}, played.previous_action
    return jax.lax.scan(body, dict.fromkeys(TWINS, played.memory), steps)[1]


def _compare(outputs: dict[tuple[str, str], dict[str, jax.Array]], inside: jax.Array) -> dict[str, jax.Array]:
    """Return the measures of `Twins`, curves and means, from outputs [T, B, ...]."""
    full, partial = outputs["full", "full"], outputs["partial", "partial"]
    discrete = "mean" not in full
    a = {pair: preferences(decision(found), discrete) for pair, found in outputs.items()}
    size = 0.5 * jnp.mean(jnp.abs(a["full", "full"]) + jnp.abs(a["partial", "partial"]), axis=-1)
    pairs = {
        "preference": ("full", "full"),
        "seeing": ("partial", "full"),
        "remembering": ("full", "partial"),
    }
    found: dict[str, jax.Array] = {}
    for name, pair in pairs.items():
        found |= _mean(name, jnp.mean(jnp.abs(a[pair] - a["partial", "partial"]), axis=-1), inside, size)
    change = _value(full) - _value(partial)
    found |= _mean("value", change, inside) | _mean("value_size", jnp.abs(change), inside)
    if discrete:
        found |= _flips(a["full", "full"], a["partial", "partial"], inside, size)
    for name, distance in _distances(full, partial).items():
        found |= _mean(name, distance, inside)
    return found | {"steps_at": jnp.sum(inside, axis=1)}


def _value(outputs: dict[str, jax.Array]) -> jax.Array:
    return outputs["value"] if "value" in outputs else jnp.max(outputs["q"], axis=-1)


def _mean(name: str, x: jax.Array, inside: jax.Array, size: jax.Array | None = None) -> dict[str, jax.Array]:
    """Return means of x over episodes and over all steps, divided by those of `size`; 0 / 0 is 0 if there are steps."""
    size = jnp.ones_like(x) if size is None else size
    found = {}
    for ending, axes in (("_at", 1), ("", (0, 1))):
        total, whole = (jnp.sum(jnp.where(inside, values, 0.0), axes) for values in (x, size))
        ratio = jnp.where(whole > 0, total / jnp.where(whole > 0, whole, 1.0), 0.0)
        found[name + ending] = jnp.where(jnp.any(inside, axes), ratio, jnp.nan)
    return found


def _flips(full: jax.Array, partial: jax.Array, inside: jax.Array, size: jax.Array) -> dict[str, jax.Array]:
    """Return the rates at which greedy actions differ, of all steps and of those with clear choices."""
    flips = (jnp.argmax(full, axis=-1) != jnp.argmax(partial, axis=-1)).astype(jnp.float32)
    scale = jnp.sum(jnp.where(inside, size, 0.0)) / jnp.maximum(jnp.sum(inside), 1)
    close = is_near_tie(full, NEAR_TIE * scale) | is_near_tie(partial, NEAR_TIE * scale)
    return _mean("flips", flips, inside) | _mean("clear_flips", flips, inside & ~close)


def _distances(full: dict[str, jax.Array], partial: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Return distances between the policies that outputs stand for, float32[T, B] by name; none of values."""
    if "logits" in full:
        p, q = (jax.nn.log_softmax(found["logits"]) for found in (full, partial))
        kl = jnp.sum(jnp.exp(p) * (p - q), axis=-1)
        return {"kl": kl, "variation": 0.5 * jnp.sum(jnp.abs(jnp.exp(p) - jnp.exp(q)), axis=-1)}
    if "log_std" in full:
        spread = jnp.exp(2 * (full["log_std"] - partial["log_std"]))
        shift = (full["mean"] - partial["mean"]) ** 2 * jnp.exp(-2 * partial["log_std"])
        kl = 0.5 * (spread + shift - 1) - (full["log_std"] - partial["log_std"])
        return {"kl": jnp.sum(kl, axis=-1)}
    return {}
