"""Digests detect every changed bit, do not depend on sharding, and take no temporary memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podarcade.anakin import sharding
from podarcade.runtime.digests import digest_words, digests

M = 0xFFFFFFFF


def mix(word):
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & M
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & M
    return word ^ (word >> 16)


def reference(words):
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
def test_digest_matches_the_equation_of_the_docstring(array):
    words = array.view(np.uint32) if array.dtype.itemsize == 4 else array.astype(np.uint32)
    assert digest(jnp.asarray(array)) == reference(np.asarray(words).ravel().tolist())


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["float32", "bfloat16", "int32", "uint32", "uint8", "complex64"]),
    place=st.integers(0, 59),
    bit=st.integers(0, 63),
)
def test_a_flipped_bit_changes_the_digest(dtype, place, bit):
    array = np.asarray(jnp.arange(60).astype(dtype))
    changed = array.copy()
    size = array.dtype.itemsize
    changed.view(np.uint8).reshape(60, size)[place, bit // 8 % size] ^= 1 << bit % 8
    assert digest(jnp.asarray(changed)) != digest(jnp.asarray(array))


def test_order_sign_of_zero_and_nan_change_the_digest():
    x = jnp.arange(8.0)
    assert len({digest(x), digest(x[::-1]), digest(x.at[0].set(-0.0)), digest(x.at[0].set(jnp.nan))}) == 4


def test_digest_does_not_depend_on_the_sharding():
    x = np.random.default_rng(0).normal(size=(4, 16, 5)).astype(np.float32)
    mesh = sharding.make_mesh(2, 4)
    placed = [
        jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        for spec in (sharding.P(), sharding.P("seed"), sharding.P("seed", "data"), sharding.P(None, ("seed", "data")))
    ]
    assert {digest(y) for y in placed} == {digest(jnp.asarray(x))}


def test_digest_does_not_depend_on_64_bit_mode():
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = digest(jnp.asarray(x))
    with jax.enable_x64(True):
        assert digest(jnp.asarray(x)) == expected
        wide = jnp.asarray(x, jnp.float64)
        assert wide.dtype == jnp.float64 and digest(wide.at[3, 5].add(1e-12)) != digest(wide)


@pytest.mark.parametrize("dtype", ["int8", "bool", "uint8", "bfloat16", "float32", "uint32"])
@pytest.mark.parametrize("spec", [sharding.P(), sharding.P("seed", "data")], ids=str)
def test_digest_of_a_large_array_takes_no_temporary_copy(dtype, spec):
    """A ring of 200 MB is digested as it lies; hashed words kept in memory would take up to four times its size."""
    placement = jax.sharding.NamedSharding(sharding.make_mesh(2, 4), spec)
    ring = jax.ShapeDtypeStruct((2, 100, 1000, 1000), jnp.dtype(dtype), sharding=placement)
    plan = digest_words.lower([ring]).compile().memory_analysis()
    assert plan.argument_size_in_bytes >= 25e6 and plan.temp_size_in_bytes < 1e6
