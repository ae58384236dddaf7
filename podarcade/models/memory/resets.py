"""What a start separates, for the forms that see a stretch of time at once.

A start at t means: forget everything before t, then take xₜ in. Time and batch lead every array, [T, B, ...].
A product with a mask of zeros does not forget (0 · NaN is NaN); so a matrix form sets what is not finite aside
with `quarantine`, and puts NaN back where `reached` says that a step may see it.
"""

from typing import Any

import jax
import jax.numpy as jnp


def segments(start: jax.Array) -> jax.Array:
    """int32[T, B]: how many starts there were up to t, t included; at 0 the carry is still remembered."""
    return jax.lax.optimization_barrier(jnp.cumsum(start.astype(jnp.int32), axis=0))


def latest(time: jax.Array) -> jax.Array:
    """The largest number so far, along the first axis.

    As in `segments` the barrier has it computed once: fused into what uses it, a cumulative operation is repeated
    as a whole for every element there, which can cost more than the layer.
    """
    return jax.lax.optimization_barrier(jax.lax.cummax(time, axis=0))


def steps_since_start(start: jax.Array, before: jax.Array) -> jax.Array:
    """int32[T, B]: 1 at a start, 2 after it, ...; where there was none yet, counted on from `before`, int32[B]."""
    time = jnp.arange(start.shape[0])[:, None]
    last = latest(jnp.where(start, time, -1))
    return jnp.where(last >= 0, time - last + 1, before[None] + time + 1)


def quarantine(*parts: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Sets aside the steps at which a number is not finite.

    Args:
      parts: [A, B, ...], any ranks; A is time or another axis that is kept.

    Returns:
      The parts with zeros at those steps, and bool[A, B] where they are. No gradient flows into what was set aside.
    """
    bad = jnp.zeros(parts[0].shape[:2], bool)
    for part in parts:
        bad |= ~jnp.all(jnp.isfinite(part), axis=tuple(range(2, part.ndim)))
    return tuple(jnp.where(_trail(bad, part.ndim), 0.0, part) for part in parts), bad


def reached(sees: jax.Array, bad: jax.Array) -> jax.Array:
    """bool[T, B]: whether step i sees a bad step j, from `sees` bool[B, T, J] and `bad` bool[J, B]."""
    return jnp.any(sees & bad.T[:, None, :], axis=-1).T


def spoil(x: Any, bad: jax.Array) -> Any:
    """Puts NaN where `bad`, whose axes lead those of every array in x."""
    return jax.tree.map(lambda part: jnp.where(_trail(bad, part.ndim), jnp.nan, part), x)


def forget(start: jax.Array, x: Any) -> Any:
    """x with zeros where a start is; the axes of `start` lead those of every array in x."""
    return jax.tree.map(lambda part: jnp.where(_trail(start, part.ndim), jnp.zeros_like(part), part), x)


def _trail(flags: jax.Array, rank: int) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (rank - flags.ndim))
