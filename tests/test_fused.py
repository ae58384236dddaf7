"""The kernel of the fused scan: interpreted in the layouts of both accelerators, and lowered for them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from podarcade.anakin import sharding
from podarcade.models.memory import fused, scan
from podarcade.models.platform import tracing_for

CALLS = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}
PLATFORMS = {"cuda": "gpu", "tpu": "tpu"}


def problem(steps, batch, states, *, real=False, decay_shape=None, seed=0):
    """Arguments of `linear_scan`, with a NaN before a start where there are enough steps."""
    keys = iter(jax.random.split(jax.random.key(seed), 7))

    def number(*shape):
        parts = tuple(0.68 * jax.random.uniform(next(keys), shape, minval=-1) for _ in range(2))
        return parts[0] if real else parts

    decay, drive = number(*(decay_shape or (steps, batch, states))), number(steps, batch, states)
    start = jax.random.uniform(jax.random.key(seed + 1), (steps, batch)) < 0.1
    if steps > 4:
        drive = jax.tree.map(lambda part: part.at[2, 0].set(jnp.nan), drive)
        start = start.at[4].set(True)
    return decay, drive, start, number(batch, states)


def assert_equal(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["gpu", "tpu"])
@pytest.mark.parametrize(
    ("sizes", "decay_shape", "real"),
    [
        ((2, 1, 1), None, False),
        ((7, 9, 130), None, True),  # tiles of 8 environments and of 32 or 128 states, all uneven
        ((19, 3, 5), (19, 1, 5), False),  # one decay for all environments
        ((300, 2, 33), (1, 1, 33), False),  # uneven blocks of 128 steps
        ((8, 2, 40), (1, 2, 1), True),
    ],
)
def test_layouts_are_the_sequential_form(sizes, decay_shape, real, layout):
    decay, drive, start, initial = problem(*sizes, real=real, decay_shape=decay_shape)
    run = functools.partial(fused.recurrence, scan._step, platform=layout, interpret=True)
    found = jax.jit(run)(decay, drive, start[..., None], initial)
    assert_equal(found, scan.linear_scan(decay, drive, start, initial, "sequential"))
    assert all(part.dtype == jnp.float32 for part in jax.tree.leaves(found))


@pytest.mark.parametrize("states", [32, 33])
def test_uneven_tiles_of_a_gpu_are_masked(states):
    """Triton has no bounds: what lies outside is another environment, or another array."""
    with tracing_for("gpu"):
        found = jax.make_jaxpr(functools.partial(scan.linear_scan, form="fused"))(*problem(9, 1, states))
    moved = [line for line in str(found).splitlines() if "f32[1,1,32]" in line and "<-" in line]
    assert len(moved) > 6 * 8 and {"mask=" in line for line in moved} == {states == 33}


def gradient(form, decay, drive, start, initial):
    """The gradient of a loss by decay, drive and initial; and h."""

    def loss(decay, drive, initial):
        hidden = scan.linear_scan(decay, drive, start, initial, form)
        return sum(jnp.sum(jnp.sin(part)) for part in jax.tree.leaves(hidden)), hidden

    return jax.grad(loss, (0, 1, 2), has_aux=True)(decay, drive, initial)


def test_seeds_are_mapped():
    arguments = [problem(9, 2, 3, seed=seed, decay_shape=(1, 1, 3)) for seed in range(3)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *arguments)
    found = jax.jit(jax.vmap(functools.partial(gradient, "fused")))(*stacked)
    assert_equal(found, jax.vmap(functools.partial(gradient, "sequential"))(*stacked))


def test_shards_are_interpreted_without_checks():
    """The interpreter fails the checks of varying axes: with them the associative form runs on a CPU."""
    arguments = problem(9, 4, 3)
    over_time, batch = P(None, "data"), P("data")
    specs = (over_time, over_time, over_time, batch)

    def mapped(form, check):
        return jax.shard_map(
            functools.partial(gradient, form), mesh=sharding.make_mesh(1, 2), in_specs=specs,
            out_specs=((over_time, over_time, batch), over_time), check_vma=check,
        )  # fmt: skip

    for check in (False, True):
        program = jax.jit(mapped("fused", check)).trace(*arguments)
        assert ("pallas_call" in str(program.jaxpr)) == (not check)
        assert_equal(program.lower().compile()(*arguments), gradient("sequential", *arguments))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("target", CALLS)
def test_it_lowers_to_a_kernel_in_each_direction(target, real):
    """Over seeds and shards, as the trainer runs it, with one decay for all steps."""
    steps, seeds, batch, states = 200, 2, 20, 130
    arguments = jax.eval_shape(lambda: problem(steps, batch, states, real=real, decay_shape=(1, 1, states)))
    arguments = jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), arguments)
    over_time, batch = P(None, None, "data"), P(None, "data")

    def shard(decay, *inputs):
        run = functools.partial(gradient, "fused")
        (by_decay, *rest), hidden = jax.vmap(run)(sharding.vary(decay), *inputs)
        return sharding.total(by_decay), rest, hidden

    mapped = jax.shard_map(
        shard, mesh=sharding.abstract_mesh(1, 2, PLATFORMS[target]), in_specs=(P(), over_time, over_time, batch),
        out_specs=(P(), [over_time, batch], over_time),
    )  # fmt: skip
    text = jax.jit(mapped).trace(*arguments).lower(lowering_platforms=(target,)).as_text()
    assert text.count(f"custom_call @{CALLS[target]}") == 2


@pytest.mark.parametrize("name", ["cpu", "gpu", "tpu", "other"])
def test_there_are_kernels_for_float32_on_known_platforms(name):
    numbers = problem(2, 1, 1)[1]
    assert fused.supports(numbers, name) == (name != "other")
    assert not fused.supports(jax.tree.map(lambda part: part[:, :0], numbers), name)
    assert not fused.supports((numbers, jnp.zeros((), jnp.bfloat16)), name)
    with tracing_for(name):
        text = str(jax.make_jaxpr(functools.partial(scan.linear_scan, form="fused"))(*problem(5, 1, 1)))
    assert ("pallas_call" in text) == (name != "other")
