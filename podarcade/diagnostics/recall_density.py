"""Recall Density: which past observations a decision depends on (POPGym Arcade, section on value smearing)."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import ranges
from podarcade.diagnostics import Agent, Diagnostic, gradients
from podarcade.diagnostics.episodes import Episodes, encode, map_steps, play, replay, steps_of, tails
from podarcade.types import Pytree

MEASURES = ("l1", "l2", "spread", "integrated", "occlusion")
ATTENTION = "attention"  # one more, of networks that attend to single steps
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
    gradient with each feature in units of its standard deviation over episodes at time t. "integrated" are integrated
    gradients (Sundararajan et al. 2017, arXiv 1703.01365) with the observations o' of another episode as the baseline,

        w_t = Σ_a | Σ_i (o_t - o'_t)_i ∫ ∂ y_n(a) / ∂ o_ti  dα |      at o' + α (o - o')

    whose signed attributions add up to y_n(o) - y_n(o'). "occlusion" needs no gradient: o_t is replaced by what
    another episode showed at time t, and w_t is the L1 change of y_n, averaged over `swaps` other episodes.

    Where the memory attends to single steps (`transformer`), "attention" is the attention roll-out (Abnar and Zuidema
    2020, arXiv 2005.00928): the product over layers of (weights + identity) / 2. With one layer at least half of it is
    at the present step.

    The released scripts differ in four ways: the absolute value of a sum over actions, in which actions cancel; the
    last one or two observations dropped; ten steps; and a time axis padded to the longest episode that the game allows,
    so that a short episode looks like early recall. Here t / n is normalised in each episode.

    A memoryless network has δ_n = 1. An untrained one with memory also spreads its density, so that it is the control:
    see `podarcade.diagnostics.untrained`. Where the needed time is known, two more nulls cost nothing: targets shuffled
    over episodes, and over the observations of an episode; see `summary`.

    Attributes:
      episodes: B.
      length: T, actions that are played at most; 0 for those of the longest episode of the game, up to 128.
      swaps: other episodes that occlusion takes an observation from.
      points: points of the path of integrated gradients; 0 for 8, or 4 for games with pixels.
    """

    CONTROL: ClassVar[bool] = True
    RANGES: ClassVar[dict[str, ranges.Range]] = {
        "episodes": ranges.Range(2, 1e12),
        "swaps": ranges.COUNT,
        "points": ranges.NON_NEGATIVE,
    }

    episodes: int = 32
    length: int = 0
    swaps: int = 4
    points: int = 0

    def __call__(self, agent: Agent, key: jax.Array) -> dict[str, jax.Array]:
        """Return a density float32[B, T] for each of `MEASURES`, and {"last": int32[B], "needed": int32[B]}.

        Densities are 0 after `last`, the time n, and NaN where nothing changes the decision. `needed` is when the
        partial twin showed what the decision needs, -1 where that is unknown or the episode is longer than T.
        """
        length = steps_of(agent.environment.game, self.length)
        return _measure(agent, key, self.episodes, length, self.swaps, self.points)

    def summarise(self, found: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return {measure: {"now": ..., "thirds": [...], ...}}: `summary`, averaged over episodes with a density."""
        return {name: _means(summary(found, name)) for name in (*MEASURES, ATTENTION) if name in found}


def _means(summed: dict[str, np.ndarray]) -> dict[str, Any]:
    there = np.isfinite(summed["now"])
    means = {}
    for name, array in summed.items():
        values = np.asarray(array, float)
        known = values[there & np.isfinite(values)] if name == "agreement" else values[there]
        means[name] = known.mean(axis=0) if len(known) else np.array(np.nan)
    return {name: None if np.isnan(value).any() else value.round(5).tolist() for name, value in means.items()}


@functools.partial(jax.jit, static_argnames=("episodes", "length", "swaps", "points"))
def _measure(agent: Agent, key: jax.Array, episodes: int, length: int, swaps: int, points: int) -> dict[str, jax.Array]:
    played = play(agent, key, episodes, length)
    weights = _gradients(agent, played)
    is_pixels = played.timestep.observation.ndim == 5
    weights["integrated"] = _integrated(agent, played, points or (4 if is_pixels else 8))
    weights["occlusion"] = _occlusion(agent, played, swaps)
    weights |= _attention(agent, played)
    game, final = agent.environment.game, jax.tree.map(lambda x: x[played.last, played.lane], played.latent.game)
    needed = jnp.broadcast_to(jnp.asarray(game.needed_time(final.time), jnp.int32), played.last.shape)
    needed = jnp.where(played.complete, needed, -1)  # an episode that is cut off has no last decision
    inside = jnp.arange(length)[:, None] <= played.last[None]
    return {name: _share(w, inside).T for name, w in weights.items()} | {"last": played.last, "needed": needed}


def _gradients(agent: Agent, played: Episodes) -> dict[str, jax.Array]:
    """Return the norms of the gradient by each observation, summed over actions, float32[T, B]."""
    observe = gradients.seen(played)

    def norms(gradient: jax.Array, time: jax.Array) -> dict[str, jax.Array]:
        features, here = tuple(range(2, gradient.ndim)), played.last >= time
        here = here.reshape(-1, *(1 for _ in features))
        spread = jnp.std(observe(time), axis=0, where=here, keepdims=True)
        size = jnp.abs(gradient)
        l1, l2, scaled = (jnp.sum(x, features) for x in (size, size**2, size * spread[None]))
        return {name: jnp.sum(x, axis=0) for name, x in {"l1": l1, "l2": jnp.sqrt(l2), "spread": scaled}.items()}

    return gradients.of_last_decision(agent, played, observe, norms)


def _integrated(agent: Agent, played: Episodes, points: int) -> jax.Array:
    """Return Σ_a |attribution of each observation|, float32[T, B], from those of another episode to those seen."""
    observe, other = gradients.seen(played), (played.lane + 1) % len(played.lane)

    def baseline(time: jax.Array) -> jax.Array:
        """Return what another episode showed at a time, or at its end if that was earlier."""
        return played.timestep.observation[jnp.minimum(time, played.last[other]), other].astype(jnp.float32)

    def moved(time: jax.Array) -> jax.Array:
        return observe(time) - baseline(time)

    def at(share: jax.Array) -> jax.Array:
        return gradients.along(agent, played, lambda time: baseline(time) + share * moved(time), moved)

    shares = (jnp.arange(points, dtype=jnp.float32) + 0.5) / points
    return jnp.sum(jnp.abs(jnp.mean(jax.lax.map(at, shares), axis=0)), axis=1)


def _attention(agent: Agent, played: Episodes) -> dict[str, jax.Array]:
    """Return {"attention": the roll-out of attention to each step, float32[T, B]}, or nothing without attention."""
    timestep = played.timestep.replace(observation=encode(agent, played))
    layers = agent.attention(played.memory, timestep, played.previous_action)
    if not layers:
        return {}
    length = len(played.inside)
    rolled = jnp.broadcast_to(jax.nn.one_hot(played.last, length)[:, None], (len(played.lane), 1, length))
    for weights in reversed(layers):
        through = 0.5 * (jnp.swapaxes(weights, 0, 1) + jnp.eye(length)[None])  # half of it is the residual
        rolled = rolled @ through
    return {ATTENTION: rolled[:, 0].T}


def _occlusion(agent: Agent, played: Episodes, swaps: int) -> jax.Array:
    """Return the mean L1 change of the decision when each observation is that of another episode, float32[T, B]."""
    features = encode(agent, played)
    parts = [_occluded(agent, played, features, swaps, *tail) for tail in tails(agent, played, features)]
    return jnp.concatenate(parts)


def _occluded(
    agent: Agent, played: Episodes, features: Pytree, swaps: int, begin: int, end: int, tail: Episodes
) -> jax.Array:
    """Return `_occlusion` of the observations at times [begin, end), replayed from `begin` on, float32[end - begin, B].

    A shift of 0 changes nothing: the same program gives all decisions, so that rounding cancels exactly.
    """
    last, lane, later = played.last, played.lane, jax.tree.map(lambda x: x[begin:], features)

    def swapped(time: jax.Array, shift: jax.Array) -> jax.Array:
        other = (lane + shift) % len(lane)
        shown = jax.tree.map(lambda x: x[jnp.minimum(time, last[other]), other], features)
        return replay(agent, tail, jax.tree.map(lambda x, y: x.at[time - begin].set(y), later, shown))[tail.last, lane]

    times = jnp.repeat(jnp.arange(begin, end), swaps)
    shifts = jnp.tile(jnp.arange(1, swaps + 1), end - begin)
    found = map_steps(played, swapped, jnp.append(begin, times), jnp.append(0, shifts))
    return jnp.mean(jnp.sum(jnp.abs(found[1:] - found[:1]), axis=-1).reshape(end - begin, swaps, len(lane)), axis=1)


def _share(weights: jax.Array, inside: jax.Array) -> jax.Array:
    weights = jnp.where(inside, weights, 0.0)
    return weights / jnp.sum(weights, axis=0, keepdims=True)


def summary(found: dict[str, np.ndarray], measure: str = "l1") -> dict[str, np.ndarray]:
    """Summarise densities by episode.

    Args:
      found: what `RecallDensity` returned.
      measure: one of `MEASURES`.

    Returns:
      {"now": δ_n [B], "horizon": Σ_t δ_t (n - t) [B] in steps, "thirds": the mass of each third of normalised time
      [B, 3], "curve": mass in bins of normalised time [B, 20], "needed": mass at the time that is needed [B], and its
      `nulls` "shuffled" and "chance", "distance": Σ_t δ_t |t - needed| [B] in steps, "agreement": Spearman's rank
      correlation over time with occlusion [B]}. NaN: the needed time is unknown, or a correlation of constants. An
      observation between two bins counts for the one that its middle is in.
    """
    density, last, needed = (np.asarray(found[name]) for name in (measure, "last", "needed"))
    lane, time = np.arange(len(last)), np.arange(density.shape[1])
    middle = (time + 0.5) / (last[:, None] + 1.0)  # n + 1 observations have equal parts of [0, 1]
    known = needed >= 0
    at_needed = np.where(known, density[lane, np.maximum(needed, 0)], np.nan)
    distance = np.where(known, np.sum(density * np.abs(time - needed[:, None]), axis=1), np.nan)
    return {
        "now": density[lane, last],
        "horizon": np.sum(density * (last[:, None] - time), axis=1),
        "thirds": _binned(density, middle, 3),
        "curve": _binned(density, middle, CURVE),
        "needed": at_needed,
        **nulls(density, last, needed),
        "distance": distance,
        "agreement": np.array([_spearman(*both) for both in zip(density, found["occlusion"], last, strict=True)]),
    }


def nulls(density: np.ndarray, last: np.ndarray, needed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mass that would be at the needed time if targets were shuffled.

        shuffled_b = mean over c ≠ b of δ_b(round(n_b · needed_c / n_c)),      chance_b = 1 / (n_b + 1)

    "shuffled" permutes targets over episodes: it is what a memory gets that puts its mass where answers are shown in
    other episodes, whatever it saw in its own. The mean over all pairs is that over all permutations without fixed
    points, so that nothing is drawn. A density that is the same in all episodes has needed = shuffled on average. So
    has any density where the needed observation has the same place in all episodes: there "needed" does not say
    whether the memory knows when the answer was shown, and "chance", targets permuted over the observations of an
    episode, is the null that is left.

    Args:
      density: float[B, T], δ.
      last: int[B], n.
      needed: int[B], -1 where it is unknown.

    Returns:
      {"shuffled": float64[B], "chance": float64[B]}, NaN where the target of the episode, or every other, is unknown.
    """
    known = needed >= 0
    place = np.where(known, needed / np.maximum(last, 1), 0.0)
    lane = np.arange(len(last))
    mass = density[lane[:, None], np.rint(last[:, None] * place[None]).astype(int)]  # [B, B]: own density, other target
    pairs = known[None] & known[:, None] & (lane[:, None] != lane[None])
    count = pairs.sum(axis=1)
    mean = np.where(pairs, mass, 0.0).sum(axis=1) / np.maximum(count, 1)
    return {"shuffled": np.where(count > 0, mean, np.nan), "chance": np.where(known, 1 / (last + 1.0), np.nan)}


def _spearman(one: np.ndarray, other: np.ndarray, last: int) -> float:
    """Return Spearman's rank correlation of two densities of one episode; NaN where one of them is constant."""
    ranks = [_ranks(density[: last + 1]) for density in (one, other)]
    if not np.isfinite([one[last], other[last]]).all() or min(np.ptp(rank) for rank in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def _binned(density: np.ndarray, position: np.ndarray, bins: int) -> np.ndarray:
    index = np.minimum((position * bins).astype(int), bins - 1)
    return np.stack([np.sum(density * (index == k), axis=1) for k in range(bins)], axis=1)
