"""Disturbances of episodes: noise, swaps and shuffles of their observations.

A replay takes the features of each step from a pool of those that were encoded, so that a disturbance is a table of
indices: which row of the pool each step of each lane shows.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import struct

from podarcade.diagnostics import Agent
from podarcade.diagnostics.episodes import Episodes, encode_step
from podarcade.types import Pytree

WHITE = 255  # of a frame


def noise_scale(played: Episodes, sigma: jax.Array) -> jax.Array:
    """Return the standard deviation of the noise on each feature, in the units of the observations.

    A constant feature gets no noise: what a network does with a value that it has never seen was never trained.

    Args:
      played: B episodes.
      sigma: float32[], in units of the range of a pixel, or of a feature's standard deviation over all steps of all
        episodes.

    Returns:
      float32[] of frames, float32[D] of vectors.
    """
    observation = played.timestep.observation
    if observation.dtype == jnp.uint8:
        return sigma * WHITE
    inside = played.inside.reshape(*played.inside.shape, *(1 for _ in observation.shape[2:]))
    difference = observation - observation[:1, :1]  # exactly 0 for a constant feature
    return sigma * jnp.std(difference, axis=(0, 1), where=inside)


def add_noise(observation: jax.Array, noise: jax.Array, scale: jax.Array) -> jax.Array:
    """Return observations with noise; frames are rounded and clipped to [0, 255], so that they stay frames.

    Args:
      observation: uint8[B, side, side, 3] or float32[B, D].
      noise: float32, likewise, of standard deviation 1.
      scale: from `noise_scale`.
    """
    noisy = observation + noise * jnp.broadcast_to(scale, observation.shape)
    if observation.dtype == jnp.uint8:
        return jnp.clip(jnp.round(noisy), 0, WHITE).astype(jnp.uint8)
    return noisy.astype(observation.dtype)


def other_lanes(key: jax.Array, *shape: int) -> jax.Array:
    """Return random lanes that are not the own one, int32[..., B], for a shape that ends with B >= 2."""
    lanes = shape[-1]
    own = jnp.broadcast_to(jnp.arange(lanes), shape)
    return (own + jax.random.randint(key, shape, 1, lanes)) % lanes


def encode_with_noise(agent: Agent, played: Episodes, key: jax.Array, scale: jax.Array) -> Pytree:
    """Return features [2 T, B, ...]: of the T observations as they were, and of the same with noise.

    One program encodes one step of either kind at a time, which bounds memory, and noise of scale 0 gives the same
    bits. No noise is drawn for steps after the last decision of all episodes: of frames that costs more than all else.
    """
    length, longest = len(played.inside), jnp.max(played.last)

    def with_noise(observation: jax.Array, time: jax.Array) -> jax.Array:
        noise = jax.random.normal(jax.random.fold_in(key, time), observation.shape, jnp.float32)
        return add_noise(observation, noise, scale)

    def at(row: jax.Array) -> Pytree:
        time = row % length
        observation, is_noisy = played.timestep.observation[time], (row >= length) & (time <= longest)
        seen = jax.lax.cond(is_noisy, with_noise, lambda observation, _: observation, observation, time)
        return encode_step(agent, played, seen, time)

    return jax.lax.map(at, jnp.arange(2 * length))


def shuffled(key: jax.Array, window: tuple[int, int], shape: tuple[int, int, int]) -> jax.Array:
    """Return which step each of T steps shows, int32[R, T, B]: a permutation of the window for each lane."""
    permutations, length, lanes = shape
    first, last = window
    time = jnp.arange(max(length, last + 1))[None, :, None]  # a window longer than T is cut off, and never looked at
    time = jnp.broadcast_to(time, (permutations, time.shape[1], lanes))
    moved = jax.random.permutation(key, time[:, first : last + 1], axis=1, independent=True)
    return time.at[:, first : last + 1].set(moved)[:, :length]


@struct.dataclass
class Source:
    """Where a replay takes its inputs from, and the steps at which it is compared."""

    row: jax.Array  # int32[T, B]  of the pool of features
    lane: jax.Array  # int32[T, B]
    action: jax.Array  # int32[T, B]  step of the previous action
    origin: jax.Array  # int32[]  step that lags are counted from
    first: jax.Array  # int32[]  first step that counts


Sources = dict[str, tuple[Sequence[int], Callable[[jax.Array], Source]]]


def sources(played: Episodes, other: jax.Array, orders: jax.Array, end: int) -> Sources:
    """Return the replays to make: {kind: (first step that differs of each, function of its number)}.

    The undisturbed one is the first.

    Args:
      played: B episodes.
      other: int32[T, B], lane of another episode.
      orders: int32[R, T, B], of `shuffled`.
      end: last step of the window that is shuffled.
    """
    length = len(other)
    time = jnp.broadcast_to(jnp.arange(length)[:, None], other.shape)
    lane = jnp.broadcast_to(played.lane[None], other.shape)

    def undisturbed(number: jax.Array) -> Source:
        return Source(time, lane, time, number, number)

    def noise(step: jax.Array) -> Source:
        return Source(time.at[step].add(length), lane, time, step, step)

    def swap(step: jax.Array) -> Source:
        shown = jnp.minimum(step, played.last[other[step]])
        return Source(time.at[step].set(shown), lane.at[step].set(other[step]), time, step, step)

    def shuffle(number: jax.Array, moved: bool = False) -> Source:
        order, origin = orders[number], jnp.int32(end)
        return Source(order, lane, order if moved else time, origin, origin + 1)

    return {
        "undisturbed": ([0], undisturbed),
        "noise": (range(length), noise),
        "swap": (range(length), swap),
        "shuffle": ([0] * len(orders), shuffle),
        "shuffle_moved": ([0] * len(orders), functools.partial(shuffle, moved=True)),
    }
