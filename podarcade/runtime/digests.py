"""Digests of arrays, computed where the arrays are.

    h_i = mix(w_i ⊕ c·i),     digest = (Σ_i h_i, Σ_i (2i + 1)·h_i)  mod 2³²

with w_i the bits of element i and mix a bijection of 32-bit words. A sum does not depend on its order: the digest is
the same on any number of devices and processes, and needs no copy to the host. As mix is a bijection and 2i + 1 is odd,
a change of one element always changes both sums; any other by accident goes unnoticed in one of 2⁶⁴ cases. It is no
defence against people: they could forge it.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from podarcade.runtime import distributed

_CONSTANT = 0x9E3779B1  # odd, so that no two positions of an array are alike


def digests(leaves: dict[str, Any]) -> dict[str, str]:
    """Sixteen hexadecimal digits for each array.

    Args:
      leaves: arrays of any shape and dtype, on any devices.
    """
    sums = distributed.fetch(_sums(list(leaves.values())))
    return {name: f"{first:08x}{second:08x}" for name, (first, second) in zip(leaves, sums.tolist(), strict=True)}


@jax.jit
def _sums(leaves: list[jax.Array]) -> jax.Array:
    """uint32[leaves, 2]"""
    return jnp.stack([_sum(leaf) for leaf in leaves])


def _sum(x: jax.Array) -> jax.Array:
    words = _words(x)
    index = functools.reduce(
        lambda total, axis: (
            total * jnp.uint32(words.shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        ),
        range(words.ndim),
        jnp.zeros(words.shape, jnp.uint32),
    )
    mixed = _mix(words ^ (index * jnp.uint32(_CONSTANT)))
    return jnp.stack([jnp.sum(mixed, dtype=jnp.uint32), jnp.sum((2 * index + 1) * mixed, dtype=jnp.uint32)])


def _words(x: jax.Array) -> jax.Array:
    """The bits of every element, uint32; with one axis more where an element has 64."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], axis=-1)
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[x.dtype.itemsize]
    return jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)


def _mix(word: jax.Array) -> jax.Array:
    """The finaliser of MurmurHash3 (Appleby 2008), a bijection."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
