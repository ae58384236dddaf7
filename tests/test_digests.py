"""Digests: any changed bit changes them, no layout does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podarcade.anakin import sharding
from podarcade.runtime.digests import digests

M = 0xFFFFFFFF


def mix(word):
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & M
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & M
    return word ^ (word >> 16)


def by_hand(words):
    mixed = [mix(word ^ (i * 0x9E3779B1 & M)) for i, word in enumerate(words)]
    return f"{sum(mixed) & M:08x}{sum((2 * i + 1) * h for i, h in enumerate(mixed)) & M:08x}"


def digest(array):
    return digests({"x": array})["x"]


@pytest.mark.parametrize(
    "array",
    [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.float32(2.5), np.asarray([[7, 8]], np.uint32),
     np.asarray([True, False, True]), np.arange(-3, 5, dtype=np.int32), np.arange(9, dtype=np.uint8)],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_it_is_the_sum_of_the_docstring(array):
    words = array.view(np.uint32) if array.dtype.itemsize == 4 else array.astype(np.uint32)
    assert digest(jnp.asarray(array)) == by_hand(np.asarray(words).ravel().tolist())


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["float32", "bfloat16", "int32", "uint32", "uint8", "complex64"]),
    place=st.integers(0, 59),
    bit=st.integers(0, 63),
)
def test_every_bit_counts(dtype, place, bit):
    array = np.asarray(jnp.arange(60).astype(dtype))
    changed = array.copy()
    size = array.dtype.itemsize
    changed.view(np.uint8).reshape(60, size)[place, bit // 8 % size] ^= 1 << bit % 8
    assert digest(jnp.asarray(changed)) != digest(jnp.asarray(array))


def test_order_and_sign_of_zero_and_nans_count():
    x = jnp.arange(8.0)
    assert len({digest(x), digest(x[::-1]), digest(x.at[0].set(-0.0)), digest(x.at[0].set(jnp.nan))}) == 4


def test_it_is_the_same_on_any_mesh():
    x = np.random.default_rng(0).normal(size=(4, 16, 5)).astype(np.float32)
    mesh = sharding.make_mesh(2, 4)
    placed = [
        jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        for spec in (sharding.P(), sharding.P("seed"), sharding.P("seed", "data"), sharding.P(None, ("seed", "data")))
    ]
    assert {digest(y) for y in placed} == {digest(jnp.asarray(x))}
