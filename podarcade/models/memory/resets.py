"""Episode boundaries for layers that process a segment of time at once.

A start at t discards everything before t; x[t] is then read from the initial state. Arrays are time-major,
[T, B, ...]. Multiplying by a mask of zeros does not discard a NaN (0 · NaN is NaN), so a matrix form first replaces
non-finite numbers by zeros (`zero_non_finite`) and then writes NaN to every step that can see one
(`sees_non_finite`, `fill_nan`).
"""

from typing import Any

import jax
import jax.numpy as jnp


def segment_ids(start: jax.Array) -> jax.Array:
    """Return the number of starts up to and including t, int32[T, B]; steps with id 0 still see the carry."""
    return jax.lax.optimization_barrier(jnp.cumsum(start.astype(jnp.int32), axis=0, dtype=jnp.int32))


def running_max(time: jax.Array) -> jax.Array:
    """Return the running maximum along the first axis.

    The barrier here and in `segment_ids` makes XLA compute the result once: fused into its consumers, a cumulative
    operation is repeated for every element of theirs, which can cost more than the layer. A single step is its own
    maximum; ONNX has no cumulative one of integers.
    """
    if len(time) == 1:
        return time
    return jax.lax.optimization_barrier(jax.lax.cummax(time, axis=0))


def steps_since_start(start: jax.Array, before: jax.Array) -> jax.Array:
    """Count the steps of the current episode: 1 at a start, 2 after it, ...

    Args:
      start: bool[T, B].
      before: int32[B], the count at the end of the previous segment.

    Returns:
      int32[T, B]; where no start has occurred in this segment, the count continues from `before`.
    """
    time = jnp.arange(start.shape[0], dtype=jnp.int32)[:, None]
    last = running_max(jnp.where(start, time, -1))
    return jnp.where(last >= 0, time - last + 1, before[None] + time + 1)


def zero_non_finite(*parts: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Replace whole steps that hold a NaN or an infinity by zeros.

    Args:
      *parts: arrays [A, B, ...] of any rank; A is time or any other leading axis.

    Returns:
      The parts with zeros at the affected steps, into which no gradient flows, and bool[A, B], True at those steps.
    """
    bad = jnp.zeros(parts[0].shape[:2], bool)
    for part in parts:
        bad |= ~jnp.all(jnp.isfinite(part), axis=tuple(range(2, part.ndim)))
    return tuple(jnp.where(_expand(bad, part.ndim), 0.0, part) for part in parts), bad


def sees_non_finite(sees: jax.Array, bad: jax.Array) -> jax.Array:
    """Return which steps i see a non-finite step j, bool[T, B], from `sees` bool[B, T, J] and `bad` bool[J, B]."""
    return jnp.any(sees & bad.T[:, None, :], axis=-1).T


def fill_nan(x: Any, where: jax.Array) -> Any:
    """Write NaN to all arrays in x where a flag is set; the axes of `where` lead those of every array."""
    return jax.tree.map(lambda part: jnp.where(_expand(where, part.ndim), jnp.nan, part), x)


def zero_where(start: jax.Array, x: Any) -> Any:
    """Write zeros to all arrays in x where a start is; the axes of `start` lead those of every array."""
    return jax.tree.map(lambda part: jnp.where(_expand(start, part.ndim), jnp.zeros_like(part), part), x)


def _expand(flags: jax.Array, rank: int) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (rank - flags.ndim))
