"""Throughput of environments written in jax, measured in one way for all. Imports only jax and numpy, as peers do."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checksum(outputs: Any) -> jax.Array:
    """Return checksums uint32[B] of a tree of arrays [B, ...] that depend on every byte of every array.

    Bytes of frames uint8[B, S, S, 3] are summed along columns modulo 256, then the sums are added: the cheapest form we
    know on a CPU. Other values are added up as 32-bit words. The barrier makes the compiler write all outputs to memory
    before they are read; otherwise the drawing could be fused into the sum.
    """
    return sum(map(_checksum, jax.tree.leaves(jax.lax.optimization_barrier(outputs))))


def _checksum(values):
    if values.dtype == jnp.uint8:
        return values.reshape(*values.shape[:2], -1).sum(1, dtype=jnp.uint8).sum(1, dtype=jnp.uint32)
    if values.dtype == jnp.bool_:
        values = values.astype(jnp.uint32)
    words = jax.lax.bitcast_convert_type(values, jnp.uint32)
    return words.reshape(len(words), -1).sum(1, dtype=jnp.uint32)


def five_actions(key: jax.Array, batch: int) -> jax.Array:
    """Return random actions of games with pixels, int32[batch] in 0..4."""
    return jax.random.randint(key, (batch,), 0, 5)


class Program:
    """Compiled random play of a batch of environments, with a checksum of every output in the carry.

    Args:
      reset: key -> state, for one environment.
      step: (key, state, action) -> (state, outputs), for one environment with auto-reset; outputs are a frame, or any
        tree of 32-bit numbers and flags.
      batch: number of environments.
      steps: steps per call.
      frames: whether frames are drawn; otherwise the compiler removes the drawing and only the latent step is measured.
      sample: (key, batch) -> random actions of a batch.
    """

    def __init__(self, reset, step, batch: int, steps: int, frames: bool, sample=five_actions):
        self.frames_per_call = batch * steps

        def one(carry, key):
            state, total = carry
            action_key, key = jax.random.split(key)
            state, outputs = jax.vmap(step)(jax.random.split(key, batch), state, sample(action_key, batch))
            return (state, total + checksum(outputs) if frames else total), None

        def play(state, total, key):
            key, roll_key = jax.random.split(jax.random.wrap_key_data(key))
            (state, total), _ = jax.lax.scan(one, (state, total), jax.random.split(roll_key, steps))
            return state, total, jax.random.key_data(key)

        keys = jax.random.split(jax.random.key(0), batch)
        state = jax.jit(jax.vmap(reset))(keys)
        self._carry = (state, jnp.zeros(batch, jnp.uint32), jax.random.key_data(jax.random.key(1)))
        begin = time.perf_counter()
        self._compiled = jax.jit(play, donate_argnums=(0, 1, 2)).lower(*self._carry).compile()
        self.compile_seconds = time.perf_counter() - begin
        memory = self._compiled.memory_analysis()
        self.bytes = memory.temp_size_in_bytes + memory.argument_size_in_bytes

    def seconds(self, calls: int = 1) -> float:
        """Return the duration of a number of calls."""
        begin = time.perf_counter()
        for _ in range(calls):
            self._carry = self._compiled(*self._carry)
        jax.block_until_ready(self._carry)
        return time.perf_counter() - begin

    def calls_for(self, seconds: float) -> int:
        """Return how many calls take about that many seconds, after one warm-up call."""
        self.seconds()
        return max(1, round(seconds / self.seconds()))

    @property
    def checksum(self) -> int:
        """Checksum of all outputs so far, which keeps the compiler from leaving any out."""
        return int(np.asarray(self._carry[1], np.uint64).sum())


def step_compile_seconds(reset, step, batch: int = 256) -> float:
    """Return the compile time of a vmapped step with its drawing."""
    keys = jax.random.split(jax.random.key(0), batch)
    state = jax.eval_shape(jax.vmap(reset), keys)
    lowered = jax.jit(jax.vmap(step)).lower(keys, state, jax.ShapeDtypeStruct((batch,), jnp.int32))
    begin = time.perf_counter()
    lowered.compile()
    return time.perf_counter() - begin


def copy_program(batch: int, side: int, steps: int):
    """Return a function that copies `steps` batches of frames between two buffers and returns the seconds."""
    frames = jnp.zeros((batch, side, side * 3), jnp.uint8), jnp.ones((batch, side, side * 3), jnp.uint8)

    @jax.jit
    def copy(frames):
        def one(frames, _):
            # One bit is flipped; otherwise the compiler would swap the buffers instead of copying.
            return jax.lax.optimization_barrier((frames[1], frames[0] ^ np.uint8(1))), None

        return jax.lax.scan(one, frames, None, length=steps)[0]

    def seconds() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(copy(frames))
        return time.perf_counter() - begin

    seconds()
    return seconds
