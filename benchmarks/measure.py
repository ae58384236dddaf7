"""Throughput of environments written in jax, measured one way for all. It imports jax alone: peers have no more."""

import time

import jax
import jax.numpy as jnp
import numpy as np


def checksum(frames: jax.Array) -> jax.Array:
    """uint32[B] of frames uint8[B, S, S, 3]: depends on every byte of every frame.

    Columns are summed modulo 256, then the sums are summed: the cheapest form we know on a CPU. The barrier makes the
    compiler write each frame to memory before it is read: without it the drawing could be fused away into the sum.
    """
    frames = jax.lax.optimization_barrier(frames)
    return frames.reshape(*frames.shape[:2], -1).sum(1, dtype=jnp.uint8).sum(1, dtype=jnp.uint32)


class Program:
    """Random play of a batch of environments, compiled: some steps per call, a checksum of every frame in the carry.

    Args:
      reset: key -> state, of one environment.
      step: (key, state, action) -> (state, frame), of one environment; it restarts by itself.
      batch: environments.
      steps: per call.
      frames: whether frames are drawn; else the compiler leaves the drawing out, and the latent step alone is measured.
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
        """Of so many calls."""
        begin = time.perf_counter()
        for _ in range(calls):
            self._carry = self._compiled(*self._carry)
        jax.block_until_ready(self._carry)
        return time.perf_counter() - begin

    def calls_for(self, seconds: float) -> int:
        """How many calls take so long; the first, which warms up, is not counted."""
        self.seconds()
        return max(1, round(seconds / self.seconds()))

    @property
    def checksum(self) -> int:
        """Of all frames so far; it is what makes each of them necessary."""
        return int(np.asarray(self._carry[1], np.uint64).sum())


def step_compile_seconds(reset, step, batch: int = 256) -> float:
    """Compile time of a vmapped step with its drawing."""
    keys = jax.random.split(jax.random.key(0), batch)
    state = jax.eval_shape(jax.vmap(reset), keys)
    lowered = jax.jit(jax.vmap(step)).lower(keys, state, jax.ShapeDtypeStruct((batch,), jnp.int32))
    begin = time.perf_counter()
    lowered.compile()
    return time.perf_counter() - begin


def copy_program(batch: int, side: int, steps: int):
    """A call that copies `steps` batches of frames from one buffer to another and gives the seconds."""
    frames = jnp.zeros((batch, side, side * 3), jnp.uint8), jnp.ones((batch, side, side * 3), jnp.uint8)

    @jax.jit
    def copy(frames):
        def one(frames, _):
            # One bit is turned, or the compiler would exchange names instead of copying.
            return jax.lax.optimization_barrier((frames[1], frames[0] ^ np.uint8(1))), None

        return jax.lax.scan(one, frames, None, length=steps)[0]

    def seconds() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(copy(frames))
        return time.perf_counter() - begin

    seconds()
    return seconds
