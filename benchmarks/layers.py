"""Compiled programs of memory layers for timing, and their sizes. Defines no flags."""

import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from podarcade import configuration
from podarcade.models.memory import Memory, scan, sizes
from podarcade.models.platform import platform


class Program:
    """A function compiled for given arguments, with its compilation time and temporary memory."""

    def __init__(self, function, *arguments):
        begin = time.perf_counter()
        self._compiled = jax.jit(function).lower(*arguments).compile()
        self.compile_seconds = time.perf_counter() - begin
        self.temporary_bytes = self._compiled.memory_analysis().temp_size_in_bytes
        self._arguments = arguments
        self._result = None

    def seconds(self, calls: int = 1) -> float:
        """Return the mean duration of a call over `calls` calls, in seconds."""
        begin = time.perf_counter()
        for _ in range(calls):
            self._result = self._compiled(*self._arguments)
        jax.block_until_ready(self._result)
        return (time.perf_counter() - begin) / calls

    def calls_for(self, seconds: float) -> int:
        """Return how many calls take about `seconds`, at most 1000; a first call warms up."""
        self.seconds()
        return max(1, min(1000, round(seconds / self.seconds())))

    @property
    def checksum(self) -> float:
        """The sum of the magnitudes of all results of the last call."""
        return float(sum(np.abs(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(self._result)))


def compiled_forms(forms: tuple[str, ...]) -> list[str]:
    """Return the forms worth timing: without "fused" on a CPU, which interprets it."""
    return [form for form in forms if form != "fused" or platform() != "cpu"]


def layer_programs(memory: Memory, length: int, batch: int) -> dict[str, Program]:
    """Compile forward, and forward with gradients of parameters and inputs; starts have probability 0.02."""
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (length, batch, memory.width))
    start = jax.random.uniform(keys[1], (length, batch)) < 0.02
    carry = memory.initial(batch)
    params = jax.jit(memory.init)(keys[2], carry, x[:1], start[:1])

    def both(params, carry, x, start, cotangent):
        def layer(params, x):
            new_carry, y = memory.apply(params, carry, x, start)
            return y, new_carry

        y, pull, new_carry = jax.vjp(layer, params, x, has_aux=True)
        return y, new_carry, pull(cotangent)

    # Everything is an argument: XLA takes minutes to fold constants of this size.
    arguments = params, carry, x, start
    return {
        "forward": Program(memory.apply, *arguments),
        "forward_backward": Program(both, *arguments, jax.random.normal(keys[3], x.shape)),
    }


def scan_programs(form: str, length: int, batch: int, states: int) -> dict[str, Program]:
    """Compile the complex diagonal scan with a time-varying decay, forward and with gradients."""
    keys = jax.random.split(jax.random.key(0), 4)
    decay, drive = (
        tuple(0.6 * jax.random.uniform(key, (length, batch, states)) for key in jax.random.split(key))
        for key in keys[:2]
    )
    start = jax.random.uniform(keys[2], (length, batch)) < 0.02
    initial = jax.tree.map(lambda part: part[0], drive)

    def forward(*arguments):
        return scan.linear_scan(*arguments, form)

    def both(decay, drive, start, initial, cotangent):
        hidden, pull = jax.vjp(lambda decay, drive: forward(decay, drive, start, initial), decay, drive)
        return hidden, pull(cotangent)

    arguments = decay, drive, start, initial
    return {"forward": Program(forward, *arguments), "forward_backward": Program(both, *arguments, drive)}


def copy_seconds(read: int, written: int, repeats: int = 5) -> float:
    """Return the median seconds of a copy with `read` + `written` bytes of memory traffic in total."""
    half = jnp.zeros((read + written) // 8, jnp.float32)
    copy = Program(lambda x: x + 1.0, half)
    copy.seconds()
    return statistics.median(copy.seconds() for _ in range(repeats))


def horizon(memory: Memory, lags: tuple[int, ...] = (32, 128), seeds: int = 3) -> list[float]:
    """Measure the horizon of a layer at initialisation.

    It is |∂(w · y[T])/∂x[T - k]| / |∂(w · y[T])/∂x[T]| for normal x and w and no starts, the geometric mean over seeds.

    Args:
      memory: the layer.
      lags: values of k.
      seeds: number of seeds for parameters, x and w.

    Returns:
      The relative gradient at each lag.
    """
    length = max(lags) + 64
    start = jnp.zeros((length, 1), bool)

    def relative(key):
        keys = jax.random.split(key, 3)
        x = jax.random.normal(keys[0], (length, 1, memory.width), jnp.float32)
        w = jax.random.normal(keys[1], (memory.width,), jnp.float32)
        params = memory.init(keys[2], memory.initial(1), x[:1], start[:1])
        gradient = jax.grad(lambda x: jnp.vdot(w, memory.apply(params, memory.initial(1), x, start)[1][-1, 0]))(x)
        # Scaled before squaring, which would underflow at 1e-23.
        scale = jnp.abs(gradient).max(axis=(1, 2), keepdims=True) + 1e-37
        norm = scale[:, 0, 0] * jnp.linalg.norm(gradient / scale, axis=(1, 2))
        return norm[-1 - jnp.array(lags)] / norm[-1]

    found = np.asarray(
        jax.jit(lambda keys: jax.lax.map(relative, keys))(jax.random.split(jax.random.key(0), seeds)), np.float64
    )
    return np.exp(np.log(np.maximum(found, 1e-45)).mean(axis=0)).tolist()


def initialisations(memory: type[Memory]) -> dict[str, dict[str, float]]:
    """Return the options of a layer by `init`; without "matched" for a layer that has no time scale."""
    found: dict[str, dict[str, float]] = {"paper": {}}
    if any(field.name == "init_horizon" for field in dataclasses.fields(memory)):
        found["matched"] = {"init_horizon": configuration.MATCHED_HORIZON}
    return found


def size_row(name: str, memory: type[Memory], width: int, match: str) -> dict:
    """Return a layer's parameters, carry bytes and FLOPs of one acting step at a width.

    Args:
      name: name of the layer.
      memory: its class.
      width: number of features.
      match: "width" for the default size, "parameters" for that of `sizes.matched_size`.
    """
    size = sizes.matched_size(memory, width) if match == "parameters" else getattr(memory, memory.SIZE, None)
    layer = memory(width=width, **({memory.SIZE: size} if memory.SIZE else {}))
    carry, x = layer.initial(1), jnp.zeros((1, 1, width))
    start = jnp.zeros((1, 1), bool)
    params = jax.eval_shape(layer.init, jax.random.key(0), carry, x, start)
    cost = jax.jit(layer.apply).lower(params, carry, x, start).compile().cost_analysis()
    return {
        "memory": name,
        "width": width,
        "match": match,
        "size": f"{memory.SIZE}={size}" if size else f"{memory.SIZE} by width",
        "parameters": sizes.parameters(layer),
        "carry_bytes": sizes.carry_bytes(layer),
        "flops_per_step": int(cost["flops"]) if cost.get("flops", 0) > 0 else 0,
    }
