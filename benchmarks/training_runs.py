"""One training run under measurement, in a process of its own. This module defines no flags.

The timed program is the one that `podarcade.launch` uses: the configuration is loaded and built in the same way, and
`Updater.compile` is called, not reimplemented.
"""

import contextlib
import dataclasses
import hashlib
import io
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flops, peers, training_settings, update_parts
from podarcade.anakin import rollout
from podarcade.anakin.update import Updater
from podarcade.runtime import backend, loop

HOST_CALLS = (5, 50)  # fewest and most program calls when the host's share is measured


def prepare_jax(cpu_devices: int) -> None:
    """Configure jax as a run does, without the compilation cache: compilation is measured."""
    backend.configure(cpu_devices)
    jax.config.update("jax_enable_compilation_cache", False)


def stored_bytes(updater: Updater) -> dict[str, float]:
    """Return the bytes that a rollout stores.

    Returns:
      Per transition: `latent`, `bookkeeping` (action, reward, flags) and, for comparison, the `frame` that is not
      stored; per environment: `carry`, the memory before its first slot.
    """
    state = flops.one_seed(updater)
    exploration = jax.ShapeDtypeStruct((), jnp.float32)

    def roll(params, actors, exploration):
        return rollout.rollout(updater.algorithm, updater.environment, params, actors, exploration)

    _, batch, _ = jax.eval_shape(roll, state.learner.params, state.actors, exploration)
    slots = batch.slots
    frame = jax.eval_shape(jax.vmap(jax.vmap(updater.environment.draw)), slots.latent)
    parts = {"latent": slots.latent, "bookkeeping": slots.replace(latent=None), "frame": frame}
    sizes = {name: _bytes(part) / math.prod(slots.action.shape) for name, part in parts.items()}
    return sizes | {"carry": _bytes(batch.carry) / updater.num_envs}


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def overhead(begins: Sequence[float], ends: Sequence[float]) -> dict[str, float]:
    """Return the host's share of a loop that calls a program.

        share = Σ host / (Σ host + Σ program),     host_i = begins_{i+1} - ends_i,     program_i = ends_i - begins_i

    The first call is a warm-up and the last has no successor; both are left out.

    Args:
      begins: seconds, when each call began.
      ends: seconds, when its results were ready.

    Returns:
      "share", and the medians "host_seconds" and "program_seconds" per call.

    Raises:
      ValueError: fewer than three calls.
    """
    if len(begins) < 3:
        raise ValueError(f"{len(begins)} calls; expected at least 3")
    program = np.subtract(ends, begins)[1:-1]
    host = np.subtract(begins[1:], ends[:-1])[1:]
    return {
        "share": float(host.sum() / (host.sum() + program.sum())),
        "host_seconds": float(np.median(host)),
        "program_seconds": float(np.median(program)),
        "calls": len(host),
    }


class Timed:
    """Updater with a compiled program, which records when each call begins and ends."""

    def __init__(self, updater: Updater, program: Callable, state: Any, total_updates: int, clock=time.perf_counter):
        self._updater, self._program, self._state, self._clock = updater, program, state, clock
        self.total_updates = total_updates
        self.begins, self.ends = [], []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._updater, name)

    def init(self, seeds: jax.Array) -> Any:
        """Return the given state."""
        return self._state

    def compile(self, state: Any, updates: int) -> Callable:
        """Return the given program, timed."""
        return self._call

    def _call(self, state: Any) -> tuple:
        self.begins.append(self._clock())
        result = jax.block_until_ready(self._program(state))
        self.ends.append(self._clock())
        return result


class Silent:
    """Evaluator that evaluates nothing."""

    episodes = 1

    def compile(self, params: Any) -> Callable:
        """Return a program without results."""
        return lambda params, key, first, exploration: {}


class Training:
    """A compiled and initialised run. The program donates its state, so only the latest exists."""

    def __init__(self, run: loop.Run):
        self.run, self._metrics = run, None
        self._state = jax.block_until_ready(run.updater.init(jnp.asarray(run.seeds, jnp.int32)))
        begin = time.perf_counter()
        self._program = run.updater.compile(self._state, run.updates_per_call)
        self.compile_seconds = time.perf_counter() - begin

    def call(self) -> dict:
        """Call the program once and fetch its metrics; return "frames" (real environment steps) and "seconds"."""
        begin = time.perf_counter()
        self._state, metrics = self._program(self._state)
        self._metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - begin
        return {"frames": int(self._metrics.counts.steps.sum(dtype=np.int64)), "seconds": seconds}

    def repeat(self, calls: int) -> dict:
        """Return total "frames" and "seconds" of a number of calls."""
        each = [self.call() for _ in range(calls)]
        return {key: sum(one[key] for one in each) for key in each[0]}

    @property
    def parameters(self) -> int:
        """Number of parameters of one seed's network."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._state.learner.params)) // len(self.run.seeds)

    @property
    def program_bytes(self) -> dict[str, int]:
        """Memory of the program on one device."""
        return peers.planned_bytes(self._program.compiled)

    @property
    def outcome(self) -> dict:
        """Result of all calls so far; the checksum of the parameters changes if any part of an update is left out."""
        leaves = jax.tree.leaves(jax.device_get(self._state.learner.params))
        digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()
        return {
            "updates": int(np.asarray(self._state.learner.updates)[0]),
            "loss": float(self._metrics.means["loss"].mean()),
            "sum_of_parameters": float(sum(np.abs(leaf).sum(dtype=np.float64) for leaf in leaves)),
            "checksum": digest[:16],
        }

    def host(self, calls: int) -> dict[str, float]:
        """Return the host's share while `loop.train` drives a number of calls.

        Until all results of a call are ready on the device, time counts as the program's; from there to the next call
        it is the host's: fetching and summing metrics, the record in metrics.jsonl and for TensorBoard, the console
        line (to a buffer). Evaluations and checkpoints are excluded, as their frequency depends on the configuration.
        """
        updates = calls * self.run.updates_per_call
        timed = Timed(self.run.updater, self._program, self._state, updates)
        run = dataclasses.replace(
            self.run, updater=timed, evaluator=Silent(), evaluate_every=calls + 1, save_every=calls + 1
        )
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            self._state = loop.train(run, pathlib.Path(folder)).state
        return overhead(timed.begins, timed.ends)

    def profile(self, folder: pathlib.Path, updates: int = 3) -> None:
        """Write a trace of a few updates for TensorBoard's profiler or Perfetto."""
        with jax.profiler.trace(str(folder)):
            self.repeat(math.ceil(updates / self.run.updates_per_call))


def peak_bytes(run: loop.Run) -> dict:
    """Return the peak memory so far: of the fullest device, or of this process where devices do not report it."""
    found = [(device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in run.updater.mesh.local_devices]
    return {"peak_bytes": max(found) or peers.peak_resident_bytes(), "peak_of": "device" if max(found) else "process"}


class Server:
    """Worker side: the commands of the measuring process, in this order."""

    def prepare(self, arguments: list[str], seconds: float, cpu_devices: int) -> dict:
        """Compile a configuration and warm it up; repeats are sized to last about `seconds`."""
        prepare_jax(cpu_devices)
        config, run = training_settings.load(arguments)
        self._row, self._training = training_settings.about(config, run), Training(run)
        first = self._training.call()["seconds"]
        self._calls = max(1, round(seconds / first))
        return self._row | {
            "calls": self._calls,
            "compile_seconds": self._training.compile_seconds,
            "first_call_seconds": first,
            "parameters": self._training.parameters,
            "program_bytes": self._training.program_bytes,
            "stored_bytes": stored_bytes(run.updater),
            "flops": flops.of_update(run.updater, len(run.seeds)),
        }

    def repeat(self) -> dict:
        """Measure once more."""
        return self._training.repeat(self._calls)

    def finish(self, seconds: float) -> dict:
        """Return outcome and peak memory, then the host's share and the peak matmul rate of the devices."""
        found = self._training.outcome | peak_bytes(self._training.run)
        calls = round(seconds / self._training.call()["seconds"])
        found["host"] = self._training.host(min(max(calls, HOST_CALLS[0]), HOST_CALLS[1]))
        devices = self._training.run.updater.mesh.size
        dtypes = dict.fromkeys(("float32", self._row["dtype"]))
        return found | {"matmul_peak": {dtype: devices * flops.matmul_peak(dtype) for dtype in dtypes}}

    def parts(self, seconds: float, repeats: int) -> dict:
        """Measure the parts of an update."""
        return update_parts.measure(self._training.run.updater, seconds, repeats)

    def profile(self, folder: str) -> None:
        """Write a trace."""
        self._training.profile(pathlib.Path(folder))


if __name__ == "__main__":
    server = Server()
    peers.serve({name: getattr(server, name) for name in ("prepare", "repeat", "finish", "parts", "profile")})
    os._exit(0)
