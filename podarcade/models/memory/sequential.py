"""Recurrences without a parallel form, computed step by step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from podarcade.models.memory.resets import zero_where

Step = Callable[[Any, Any, jax.Array], tuple[Any, Any]]


def sequential_scan(
    step: Step, carry: Any, inputs: Any, start: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[Any, Any]:
    """Scan a recurrence over time, with the carry set to zero where a start is.

        cₜ, yₜ = step(cₜ₋₁, inputsₜ, hₜ₋₁ U + b),        h the first leaf of c

    Compute whatever does not depend on the carry for all times at once, before the scan. The gradient of U and b is one
    product over all times, where differentiating the scan would add a small product to it at every step.

    Args:
      step: elementwise part; it may close over constants, but not over anything that is differentiated.
      carry: tree of arrays [B, ...], the first float32[B, n].
      inputs: tree of arrays [T, B, ...].
      start: bool[T, B].
      kernel: U, float32[n, m].
      bias: b, float32[m].

    Returns:
      The last carry, and y of all time steps, [T, B, ...].
    """
    if start.shape[0] == 1:  # acting: a single plain step
        carry = zero_where(start[0], carry)
        carry, y = step(carry, jax.tree.map(lambda part: part[0], inputs), _recur(carry, kernel, bias))
        return carry, jax.tree.map(lambda part: part[None], y)
    # Under shard_map the select makes a replicated initial carry device-varying, like the carries that follow it, and
    # the zeros do that to replicated parameters, as their gradient has to be.
    zero = jnp.zeros_like(jax.tree.leaves(inputs)[0].ravel()[0], jnp.float32)
    return _scan(step, zero_where(start[0], carry), inputs, start, kernel + zero, bias + zero)


def _recur(carry: Any, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return jax.tree.leaves(carry)[0] @ kernel + bias[None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(step: Step, carry: Any, inputs: Any, start: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[Any, Any]:
    return _forward(step, carry, inputs, start, kernel, bias)[0]


def _forward(step, carry, inputs, start, kernel, bias):
    def body(carry, now):
        inputs, start = now
        carry = zero_where(start, carry)
        product = _recur(carry, kernel, bias)
        after, y = step(carry, inputs, product)
        return after, (y, carry, product)

    carry, (y, before, products) = jax.lax.scan(body, carry, (inputs, start))
    return (carry, y), (before, products, inputs, start, kernel)


def _backward(step, residuals, cotangents):
    before, products, inputs, start, kernel = residuals

    def body(to_carry, now):
        before, product, inputs, start, to_y = now
        _, pull_back = jax.vjp(step, before, inputs, product)
        to_before, to_inputs, to_product = pull_back((to_carry, to_y))
        leaves, structure = jax.tree.flatten(to_before)
        leaves[0] = leaves[0] + to_product @ kernel.T
        return zero_where(start, structure.unflatten(leaves)), (to_inputs, to_product)

    to_carry, to_y = cotangents
    to_carry, (to_inputs, to_products) = jax.lax.scan(
        body, to_carry, (before, products, inputs, start, to_y), reverse=True
    )
    to_kernel = jnp.einsum("tbn,tbm->nm", jax.tree.leaves(before)[0], to_products)
    return to_carry, to_inputs, None, to_kernel, jnp.sum(to_products, axis=(0, 1))


_scan.defvjp(_forward, _backward)


def orthogonal_blocks(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Initialise a matrix float32[n, m n] as m square orthogonal blocks side by side, one per gate."""
    size, columns = shape
    keys = jax.random.split(key, columns // size)
    blocks = [nn.initializers.orthogonal()(key, (size, size), jnp.float32) for key in keys]
    return jnp.concatenate(blocks, axis=1)
