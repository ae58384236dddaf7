"""Throughput of environments written in jax, measured in one way for all. Imports only jax and numpy, as peers do."""

import time

import jax
import jax.numpy as jnp
import numpy as np


def checksum(frames: jax.Array) -> jax.Array:
    """Return checksums uint32[B] of frames uint8[B, S, S, 3] that depend on every byte of every frame.

    Columns are summed modulo 256, then the sums are added: the cheapest form we know on a CPU. The barrier makes the
    compiler write each frame to memory before it is read; otherwise the drawing could be fused into the sum.
    """
    frames = jax.lax.optimization_barrier(frames)
    return frames.reshape(*frames.shape[:2], -1).sum(1, dtype=jnp.uint8).sum(1, dtype=jnp.uint32)


class Program:
    """Compiled random play of a batch of environments, with a checksum of every frame in the carry.

    Args:
      reset: key -> state, for one environment.
      step: (key, state, action) -> (state, frame), for one environment with auto-reset.
      batch: number of environments.
      steps: steps per call.
      frames: whether frames are drawn; otherwise the compiler removes the drawing and only the latent step is measured.
    """

    def __init__(self, reset, step, batch: int, steps: int, frames: bool):
        self.frames_per_call = batch * steps

        def one(carry, key):
            state, total = carry
            action_key, key = jax.random.split(key)
            action = jax.random.randint(action_key, (batch,), 0, 5)
            state, frame = jax.vmap(step)(jax.random.split(key, batch), state, action)
            return (state, total + checksum(frame) if frames else total), None

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
        """Checksum of all frames so far, which keeps the compiler from leaving any out."""
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
