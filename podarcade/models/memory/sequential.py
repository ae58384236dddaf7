"""Recurrences without a parallel form: one step after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory.resets import forget


def sequential_scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, start: jax.Array
) -> tuple[Any, Any]:
    """(cₜ, yₜ) = step(cₜ₋₁, inputsₜ), where a start at t makes cₜ₋₁ zero.

    Whatever does not depend on the carry is best computed for all times at once, before.

    Args:
      step: (carry, inputs of one time) -> (carry, y).
      carry: arrays [B, ...].
      inputs: arrays [T, B, ...].
      start: bool[T, B].

    Returns:
      The last carry, and y of all times, [T, B, ...].
    """

    def restarted(carry, inputs):
        inputs, start = inputs
        return step(forget(start, carry), inputs)

    if start.shape[0] == 1:  # acting: one plain step
        carry, y = restarted(carry, jax.tree.map(lambda part: part[0], (inputs, start)))
        return carry, jax.tree.map(lambda part: part[None], y)
    # Selecting by the first start makes a carry that is the same on all devices differ between them as time does.
    return jax.lax.scan(restarted, forget(start[0], carry), (inputs, start))


def orthogonal_blocks(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """An initialiser: square orthogonal matrices side by side, float32[n, m n], one for each gate."""
    size, columns = shape
    keys = jax.random.split(key, columns // size)
    return jnp.concatenate([nn.initializers.orthogonal()(key, (size, size)) for key in keys], axis=1)
