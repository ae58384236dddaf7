"""Digests of arrays, computed on the devices that hold them.

    h_i = mix(w_i ⊕ c·i),     digest = (Σ_i h_i, Σ_i (2i + 1)·h_i)  mod 2³²

where w_i are the bits of element i (row-major, in the global array) and mix is a bijection of 32-bit words. Sums do not
depend on their order, so the digest is the same on any number of devices and processes and needs no copy to the host.
Because mix is a bijection and 2i + 1 is odd, changing a single element always changes both sums; any other accidental
change goes undetected with probability 2⁻⁶⁴. The digest is not cryptographic.

Both sums are one variadic reduction: XLA fuses the elementwise work into it, so that a digest takes no temporary array
(as two separate reductions the hashed words would be materialised, four bytes for each element).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from podarcade.runtime import distributed

_POSITION = 0x9E3779B1  # odd, so that multiplication by it is a bijection of positions


def digests(leaves: dict[str, Any]) -> dict[str, str]:
    """Return the digest of each array, sixteen hexadecimal digits.

    All processes of a run must call it.

    Args:
      leaves: arrays of any shape, dtype and sharding, by name.
    """
    sums = distributed.fetch(digest_words(list(leaves.values())))
    return {name: f"{first:08x}{second:08x}" for name, (first, second) in zip(leaves, sums.tolist(), strict=True)}


@jax.jit
def digest_words(leaves: list[jax.Array]) -> jax.Array:
    """Return the two sums of each array, uint32[leaves, 2]."""
    return jnp.stack([_digest(leaf) for leaf in leaves])


def _digest(x: jax.Array) -> jax.Array:
    """Return the two sums of one array, uint32[2]."""
    words = _words(x)
    index = functools.reduce(
        lambda index, axis: (
            index * jnp.uint32(words.shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        ),
        range(words.ndim),
        jnp.zeros(words.shape, jnp.uint32),
    )
    mixed = _mix(words ^ (index * jnp.uint32(_POSITION)))
    weighted = (jnp.uint32(2) * index + jnp.uint32(1)) * mixed
    zero = jnp.uint32(0)
    return jnp.stack(jax.lax.reduce((mixed, weighted), (zero, zero), _add, tuple(range(words.ndim))))


def _add(one: tuple, other: tuple) -> tuple:
    return one[0] + other[0], one[1] + other[1]


def _words(x: jax.Array) -> jax.Array:
    """Return the bits of each element as uint32, with a trailing axis of two where an element has 64 bits."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], axis=-1)
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[x.dtype.itemsize]
    return jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)


def _mix(word: jax.Array) -> jax.Array:
    """Apply the 32-bit finaliser of MurmurHash3 (Appleby 2008), a bijection."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
