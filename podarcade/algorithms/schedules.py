"""Schedules: values as functions of progress, the fraction of the run that is done."""

import jax
import jax.numpy as jnp


def linear(progress: jax.Array, start: float, end: float, fraction: float) -> jax.Array:
    """From `start` at the run's beginning to `end` after `fraction` of it, then constant."""
    share = jnp.clip(progress / max(fraction, 1e-9), 0.0, 1.0)
    return jnp.float32(start) + jnp.float32(end - start) * share
