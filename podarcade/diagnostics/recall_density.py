"""Recall Density: which past observations a decision depends on (POPGym Arcade, section on value smearing)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from podarcade.diagnostics import Agent, Diagnostic
from podarcade.diagnostics.episodes import Episodes, play, replay, steps_of

MEASURES = ("l1", "l2", "spread", "occlusion")
CURVE = 20  # bins of normalised time


@dataclasses.dataclass(frozen=True)
class RecallDensity(Diagnostic):
    """The share of each observation in a decision, along the first episode of each of B environments.

        δ_t = w_t / Σ_i w_i,      i = 0 ... n,      w_t = Σ_a ‖ ∂ y_n(a) / ∂ o_t ‖

    n is the last time at which the episode asks for an action. y are the action values; of a stochastic policy, the
    log-probabilities log π(a), since logits are defined up to a constant only; of a Gaussian one, its mean. The norm is
    over all features or pixels of o_t: L1, as published, or L2. Actions are those of the greedy episode and do not
    change with o_t.

    A gradient says how a decision would change with an observation, not whether that observation ever changes: a clock,
    or the fields that the partial twin leaves at zero, may have most of the mass. "spread" is the L1 norm of the
    gradient with each feature in units of its standard deviation over episodes at time t. "occlusion" needs no
    gradient: o_t is replaced by what another episode showed at time t, and w_t is the L1 change of y_n, averaged over
    `swaps` other episodes.

    The released scripts differ in four ways: the absolute value of a sum over actions, in which actions cancel; the
    last one or two observations dropped; ten steps; and a time axis padded to the longest episode that the game allows,
    so that a short episode looks like early recall. Here t / n is normalised in each episode.

    A memoryless network has δ_n = 1. An untrained one with memory also spreads its density, so that it is the control:
    see `untrained`.

    Attributes:
      episodes: B.
      length: T, actions that are played at most; 0 for those of the longest episode of the game, up to 128.
      swaps: other episodes that occlusion takes an observation from.
    """

    episodes: int = 32
    length: int = 0
    swaps: int = 4

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return a density float32[B, T] for each of `MEASURES`, and {"last": int32[B], "needed": int32[B]}.

        Densities are 0 after `last`, the time n, and NaN where nothing changes the decision. `needed` is when the
        partial twin showed what the decision needs, -1 where that is unknown or the episode is longer than T.
        """
        length = steps_of(agent.environment.game, self.length)
        return _measure(agent, key, self.episodes, length, self.swaps)

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return {measure: {"now": ..., "thirds": [...], ...}}: `summary`, averaged over episodes with a density."""
        return {measure: _means(summary(found, measure)) for measure in MEASURES}


def _means(summed: dict[str, np.ndarray]) -> dict[str, Any]:
    there = np.isfinite(summed["now"])
    means = {name: np.asarray(values, float)[there] for name, values in summed.items()}
    means = {name: values.mean(axis=0) if there.any() else np.array(np.nan) for name, values in means.items()}
    return {name: None if np.isnan(value).any() else value.round(5).tolist() for name, value in means.items()}


@functools.partial(jax.jit, static_argnames=("episodes", "length", "swaps"))
def _measure(agent: Agent, key: jax.Array, episodes: int, length: int, swaps: int) -> dict[str, jax.Array]:
    played = play(agent, key, episodes, length)
    inside = jnp.arange(length)[:, None] <= played.last[None]
    weights = {**_gradients(agent, played, inside), "occlusion": _occlusion(agent, played, swaps)}
    game, final = agent.environment.game, jax.tree.map(lambda x: x[played.last, played.lane], played.latent.game)
    needed = jnp.broadcast_to(jnp.asarray(game.needed_time(final.time), jnp.int32), played.last.shape)
    needed = jnp.where(played.complete, needed, -1)  # an episode that is cut off has no last decision
    return {name: _share(w, inside).T for name, w in weights.items()} | {"last": played.last, "needed": needed}


def _gradients(agent: Agent, played: Episodes, inside: jax.Array) -> dict[str, jax.Array]:
    """Return the norms of the gradient of the last decision by each observation, summed over actions, float32[T, B]."""
    observation = played.timestep.observation.astype(jnp.float32)
    chosen, pull_back = jax.vjp(lambda seen: replay(agent, played, seen)[played.last, played.lane], observation)
    features = tuple(range(2, observation.ndim))
    within = inside.reshape(*inside.shape, *(1 for _ in features))
    spread = jnp.std(observation, axis=1, where=within, keepdims=True)

    def norms(action: jax.Array) -> dict[str, jax.Array]:
        (gradient,) = pull_back(jnp.broadcast_to(jax.nn.one_hot(action, chosen.shape[1]), chosen.shape))
        size = jnp.abs(gradient)
        sizes = {"l1": size, "l2": size**2, "spread": size * spread}
        sums = {name: jnp.sum(values, features) for name, values in sizes.items()}
        return sums | {"l2": jnp.sqrt(sums["l2"])}

    return jax.tree.map(lambda x: jnp.sum(x, axis=0), jax.lax.map(norms, jnp.arange(chosen.shape[1])))


def _occlusion(agent: Agent, played: Episodes, swaps: int) -> jax.Array:
    """Return the mean L1 change of the decision when each observation is that of another episode, float32[T, B]."""
    features, last, lane = agent.encode(played.timestep, played.previous_action), played.last, played.lane

    def decide(features: Any) -> jax.Array:
        return replay(agent, played, features)[last, lane]

    def swapped(time: jax.Array, shift: jax.Array) -> jax.Array:
        other = (lane + shift) % len(last)
        return decide(jax.tree.map(lambda x: x.at[time].set(x[jnp.minimum(time, last[other]), other]), features))

    def at(time: jax.Array) -> jax.Array:
        # A shift of 0 changes nothing: the same program gives both, so that rounding cancels exactly.
        found = jax.lax.map(lambda shift: swapped(time, shift), jnp.arange(swaps + 1))
        return jnp.mean(jnp.sum(jnp.abs(found[1:] - found[:1]), axis=-1), axis=0)

    return jax.lax.map(at, jnp.arange(len(played.inside)))


def _share(weights: jax.Array, inside: jax.Array) -> jax.Array:
    weights = jnp.where(inside, weights, 0.0)
    return weights / jnp.sum(weights, axis=0, keepdims=True)


def untrained(agent: Agent, key: jax.Array) -> Agent:
    """Return the agent with parameters that are newly drawn: the control for a spread density."""
    _, timestep = agent.environment.reset(key)
    return agent.replace(params=agent.algorithm.init(key, timestep))


def summary(found: dict[str, np.ndarray], measure: str = "l1") -> dict[str, np.ndarray]:
    """Summarise densities by episode.

    Args:
      found: what `RecallDensity` returned.
      measure: one of `MEASURES`.

    Returns:
      {"now": δ_n [B], "thirds": the mass of each third of normalised time [B, 3], "curve": mass in bins of normalised
      time [B, 20], "needed": mass at the time that is needed [B], "distance": Σ_t δ_t |t - needed| [B] in steps}; the
      last two are NaN where the time is unknown. An observation between two bins counts for the one that its middle
      is in.
    """
    density, last, needed = (np.asarray(found[name]) for name in (measure, "last", "needed"))
    lane, time = np.arange(len(last)), np.arange(density.shape[1])
    middle = (time + 0.5) / (last[:, None] + 1.0)  # n + 1 observations have equal parts of [0, 1]
    known = needed >= 0
    at_needed = np.where(known, density[lane, np.maximum(needed, 0)], np.nan)
    distance = np.where(known, np.sum(density * np.abs(time - needed[:, None]), axis=1), np.nan)
    return {
        "now": density[lane, last],
        "thirds": _binned(density, middle, 3),
        "curve": _binned(density, middle, CURVE),
        "needed": at_needed,
        "distance": distance,
    }


def _binned(density: np.ndarray, position: np.ndarray, bins: int) -> np.ndarray:
    index = np.minimum((position * bins).astype(int), bins - 1)
    return np.stack([np.sum(density * (index == k), axis=1) for k in range(bins)], axis=1)
