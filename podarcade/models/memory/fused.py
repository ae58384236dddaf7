"""A recurrence over time as one kernel: its inputs are read once and its states written once.

Each program holds the state of a tile of environments and states in registers, and loops over time. The kernel is
written in Pallas, which compiles it with Triton for a GPU and with Mosaic for a TPU:

    GPU   a program has one environment and TILE_GPU states, over all of time
    TPU   a program has a tile of TILE_TPU; blocks of time follow each other, with the state kept in between

On a CPU Pallas interprets the program of a TPU, which is slow and meant for tests; inside `jax.shard_map` it cannot,
since the interpreter of jax 0.10 fails the checks of varying axes. Nor is there a kernel for other platforms, for
dtypes other than float32, or for arrays without elements. `supports` returns whether there is one.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu, triton

# Environments and states. One warp of a GPU has 32 threads: small tiles spread over most processors. A vector register
# of a TPU has 8 x 128 numbers.
TILE_GPU = (1, 32)
TILE_TPU = (8, 128)
# Steps in a block of a TPU: blocks of a complex recurrence then take 7 MB of the 16 MB of its vector memory.
BLOCK = 128
# Steps whose inputs are loaded before the first of them is computed: loads take longer than a step.
UNROLL = 8


def supports(numbers: Any, platform: str) -> bool:
    """Return whether there is a kernel for arrays of these shapes and dtypes on a platform."""
    leaves = jax.tree.leaves(numbers)
    if platform == "cpu" and _varying(leaves):
        return False
    return platform in ("cpu", "gpu", "tpu") and all(x.dtype == jnp.float32 and x.size > 0 for x in leaves)


def _varying(leaves: list[jax.Array]) -> frozenset[str]:
    """Return the axes of the mesh that any array varies over, inside `jax.shard_map` with its checks."""
    return frozenset().union(*(jax.typeof(x).manual_axis_type.varying for x in leaves))


def recurrence(
    step: Callable, decay: Any, drive: Any, flags: jax.Array, initial: Any, platform: str, interpret: bool = False
) -> Any:
    """Compute hₜ = step(aₜ, bₜ, fₜ, hₜ₋₁) elementwise in one kernel.

    Axes of aₜ of time or of environments that have size 1 are read as they are, other axes are broadcast.

    Args:
      step: (a, b, flag, h) -> h, of equal shapes up to broadcasting.
      decay: aₜ, a tree of float32 arrays of the rank of bₜ and broadcastable to it.
      drive: bₜ, a tree of float32[T, B, ...].
      flags: fₜ, bool[T, B, 1, ...].
      initial: h₀, a tree like bₜ of float32[B, ...].
      platform: that the kernel is laid out for, "cpu", "gpu" or "tpu"; see `supports`.
      interpret: interpret the kernel, as on a CPU.

    Returns:
      hₜ for t = 1..T, a tree like bₜ.
    """
    shape = jax.tree.leaves(drive)[0].shape

    def flat(x):
        return jnp.broadcast_to(x, x.shape[:2] + shape[2:]).reshape(*x.shape[:2], -1)

    inputs = [jax.tree.map(flat, tree) for tree in (decay, drive, jax.tree.map(lambda part: part[None], initial))]
    inputs.insert(2, flags.reshape(*flags.shape[:2], 1).astype(jnp.int32))
    sizes = jax.tree.leaves(inputs[1])[0].shape
    if platform == "gpu":
        tiles = (sizes[0], TILE_GPU[0], min(TILE_GPU[1], pl.next_power_of_2(sizes[2])))
        options = triton.CompilerParams(num_warps=1, num_stages=1)
    else:
        tiles = tuple(map(min, sizes, (BLOCK, *TILE_TPU)))
        options = tpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary"))
    grid = tuple(pl.cdiv(size, tile) for size, tile in zip(sizes, tiles, strict=True))
    in_specs, out_specs = (jax.tree.map(functools.partial(_spec, tiles), tree) for tree in (inputs, inputs[1]))
    varying = jax.sharding.ManualAxisType(varying=_varying(jax.tree.leaves(inputs)))
    result = jax.ShapeDtypeStruct(sizes, jnp.float32, manual_axis_type=varying)
    (hidden,) = pl.pallas_call(
        functools.partial(_kernel, step, sizes[2] if platform == "gpu" and sizes[2] % tiles[2] else None),
        grid=(grid[1], grid[2], grid[0]),
        in_specs=in_specs,
        out_specs=(out_specs,),
        out_shape=(jax.tree.map(lambda _: result, drive),),
        scratch_shapes=jax.tree.map(lambda _: tpu.VMEM((1, *tiles[1:]), jnp.float32), [drive] * (grid[0] > 1)),
        compiler_params=options,
        interpret=interpret or platform == "cpu",
        name="recurrence",
    )(*inputs)
    return jax.tree.map(lambda part: part.reshape(shape), hidden)


def _spec(tiles: tuple[int, int, int], x: jax.Array) -> pl.BlockSpec:
    """Return the blocks of an array [T, B, N] on the grid (B, N, T); axes of size 1 have one block."""

    def index(batch, state, time):
        return tuple(0 if size == 1 else at for size, at in zip(x.shape, (time, batch, state), strict=True))

    return pl.BlockSpec(tuple(1 if size == 1 else tile for size, tile in zip(x.shape, tiles, strict=True)), index)


def _kernel(step, states, decay, drive, flags, initial, hidden, *carry):
    """Run the steps of one block of time. References are to blocks [time, B, N], and a step is one of [1, B, N].

    Args:
      step: see `recurrence`.
      states: size of the last axis if blocks have to be masked beyond it.
      decay, drive, flags, initial: inputs; initial has one step.
      hidden: output.
      carry: the state between blocks of time, where there are several.
    """
    steps, _, width = jax.tree.leaves(drive)[0].shape
    mask = None
    if states is not None:
        lane = jax.lax.broadcasted_iota(jnp.int32, (1, 1, width), 2)
        mask = pl.program_id(1) * width + lane < states

    def load(tree, at):
        return jax.tree.map(lambda ref: triton.load(ref.at[pl.ds(at, 1)], mask=mask), tree)

    def store(tree, at, values):
        jax.tree.map(lambda ref, value: triton.store(ref.at[pl.ds(at, 1)], value, mask=mask), tree, values)

    constant = load(decay, 0) if jax.tree.leaves(decay)[0].shape[0] == 1 else None

    def run(at, count, h):
        """Run `count` steps from `at`: all loads first, which a store could hold up."""
        inputs = [
            (load(decay, at + k) if constant is None else constant, load(drive, at + k), flags[pl.ds(at + k, 1)] != 0)
            for k in range(count)
        ]
        for k, (a, b, flag) in enumerate(inputs):
            h = step(a, b, flag, h)
            store(hidden, at + k, h)
        return h

    for state in carry:
        pl.when(pl.program_id(2) == 0)(lambda state=state: store(state, 0, load(initial, 0)))
    h = load(carry[0] if carry else initial, 0)
    h = jax.lax.fori_loop(0, steps // UNROLL, lambda chunk, h: run(chunk * UNROLL, UNROLL, h), h)
    h = run(steps // UNROLL * UNROLL, steps % UNROLL, h)
    for state in carry:
        store(state, 0, h)
