"""Recurrences without a parallel form, computed step by step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory.resets import zero_where


def sequential_scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, start: jax.Array
) -> tuple[Any, Any]:
    """Scan (cₜ, yₜ) = step(cₜ₋₁, inputsₜ) over time, with cₜ₋₁ set to zero where a start is.

    Compute whatever does not depend on the carry for all times at once, before the scan.

    Args:
      step: (carry, inputs of one time step) -> (carry, y).
      carry: tree of arrays [B, ...].
      inputs: tree of arrays [T, B, ...].
      start: bool[T, B].

    Returns:
      The last carry, and y of all time steps, [T, B, ...].
    """

    def reset_then_step(carry, inputs):
        inputs, start = inputs
        return step(zero_where(start, carry), inputs)

    if start.shape[0] == 1:  # acting: a single plain step
        carry, y = reset_then_step(carry, jax.tree.map(lambda part: part[0], (inputs, start)))
        return carry, jax.tree.map(lambda part: part[None], y)
    # Under shard_map the select makes a replicated initial carry device-varying, like the carries that follow it.
    return jax.lax.scan(reset_then_step, zero_where(start[0], carry), (inputs, start))


def orthogonal_blocks(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Initialise a matrix float32[n, m n] as m square orthogonal blocks side by side, one per gate."""
    size, columns = shape
    keys = jax.random.split(key, columns // size)
    blocks = [nn.initializers.orthogonal()(key, (size, size), jnp.float32) for key in keys]
    return jnp.concatenate(blocks, axis=1)
