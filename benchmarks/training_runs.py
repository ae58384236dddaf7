"""Training as it is measured: one configuration in a process of its own. It defines no flags.

What is timed is the program that `podarcade.launch` trains with: a configuration is loaded and built as there, and its
`Updater.compile` is called, not copied.
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

from benchmarks import flops, peers, training_settings
from podarcade.anakin.update import Updater
from podarcade.runtime import backend, loop

HOST_CALLS = (5, 50)  # at least and at most so many calls of the program under the host's loop


def prepare_jax(cpu_devices: int) -> None:
    """As a run does it, but nothing compiled is taken from a cache: compilation is measured."""
    backend.configure(cpu_devices)
    jax.config.update("jax_enable_compilation_cache", False)


def stored_bytes(updater: Updater) -> dict[str, float]:
    """Bytes that a rollout keeps: of one transition, `latent` and `bookkeeping` (action, reward, flags), beside the
    `frame` that is not kept; and `carry`, the memory of one environment before its first slot."""
    state = flops.one_seed(updater)
    exploration = jax.ShapeDtypeStruct((), jnp.float32)

    def rollout(params, actors, exploration):
        return rollout.rollout(updater.algorithm, updater.environment, params, actors, exploration)

    _, trajectory, _ = jax.eval_shape(rollout, state.learner.params, state.actors, exploration)
    frame = jax.eval_shape(jax.vmap(jax.vmap(updater.environment.draw)), trajectory.latent)
    slots = trajectory.replace(carry=None, latent=None)
    count = math.prod(trajectory.action.shape)
    parts = {"latent": trajectory.latent, "bookkeeping": slots, "frame": frame}
    sizes = {name: _bytes(part) / count for name, part in parts.items()}
    return sizes | {"carry": _bytes(trajectory.carry) / updater.num_envs}


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def overhead(begins: Sequence[float], ends: Sequence[float]) -> dict[str, float]:
    """The host's share of a loop that calls a program, from when each call began and when its results were there.

        share = Σ host / (Σ host + Σ program),     host_i = begins_{i+1} - ends_i,     program_i = ends_i - begins_i

    The first call and what follows it are left out: they warm up. So is the last, which nothing follows.

    Returns:
      "share", and the medians "host_seconds" and "program_seconds" per call.

    Raises:
      ValueError: fewer than three calls.
    """
    if len(begins) < 3:
        raise ValueError(f"{len(begins)} calls; the host's share takes 3 or more")
    program = np.subtract(ends, begins)[1:-1]
    host = np.subtract(begins[1:], ends[:-1])[1:]
    return {
        "share": float(host.sum() / (host.sum() + program.sum())),
        "host_seconds": float(np.median(host)),
        "program_seconds": float(np.median(program)),
        "calls": len(host),
    }


class Timed:
    """An updater whose program is there already, and says when each call began and ended."""

    def __init__(self, updater: Updater, program: Callable, state: Any, total_updates: int, clock=time.perf_counter):
        self._updater, self._program, self._state, self._clock = updater, program, state, clock
        self.total_updates = total_updates
        self.begins, self.ends = [], []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._updater, name)

    def init(self, seeds: jax.Array) -> Any:
        """The state that was given."""
        return self._state

    def compile(self, state: Any, updates: int) -> Callable:
        """The program that was given, timed."""
        return self._call

    def _call(self, state: Any) -> tuple:
        self.begins.append(self._clock())
        result = jax.block_until_ready(self._program(state))
        self.ends.append(self._clock())
        return result


class Silent:
    """An evaluator that evaluates nothing."""

    def compile(self, params: Any) -> Callable:
        """A program without results."""
        return lambda params, key, exploration: {}


class Training:
    """A run, compiled and started. The program consumes its state, so there is one of it."""

    def __init__(self, run: loop.Run):
        self.run, self._metrics = run, None
        self._state = jax.block_until_ready(run.updater.init(jnp.asarray(run.seeds, jnp.int32)))
        begin = time.perf_counter()
        self._program = run.updater.compile(self._state, run.updates_per_call)
        self.compile_seconds = time.perf_counter() - begin

    def call(self) -> dict:
        """One call of the program, its metrics fetched: frames, restarts not counted, as in training; and seconds."""
        begin = time.perf_counter()
        self._state, metrics = self._program(self._state)
        self._metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - begin
        return {"frames": int(self._metrics.counts.steps.sum(dtype=np.int64)), "seconds": seconds}

    def calls_for(self, seconds: float) -> int:
        """How many calls take so long, judged by one that warms up."""
        return max(1, round(seconds / self.call()["seconds"]))

    def repeat(self, calls: int) -> dict:
        """Frames and seconds of so many calls together."""
        each = [self.call() for _ in range(calls)]
        return {key: sum(one[key] for one in each) for key in each[0]}

    @property
    def parameters(self) -> int:
        """Of one seed's network."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._state.learner.params)) // len(self.run.seeds)

    @property
    def program_bytes(self) -> dict[str, int]:
        """Memory of the program, on one device."""
        return peers.planned_bytes(self._program)

    @property
    def outcome(self) -> dict:
        """What all calls so far have made; nothing of an update could be left out without changing it."""
        leaves = jax.tree.leaves(jax.device_get(self._state.learner.params))
        digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()
        return {
            "updates": int(np.asarray(self._state.learner.updates)[0]),
            "loss": float(self._metrics.means["loss"].mean()),
            "sum_of_parameters": float(sum(np.abs(leaf).sum(dtype=np.float64) for leaf in leaves)),
            "checksum": digest[:16],
        }

    def host(self, calls: int) -> dict[str, float]:
        """The host's share while `loop.train` itself drives so many calls.

        A call counts as the program's time until all its results are ready on the device. Everything from there to
        the next call counts as the host's: fetching the metrics, adding them up, the record in metrics.jsonl and for
        TensorBoard, the console's line (to a buffer). Evaluations and checkpoints are no part of it: they come as
        often as a configuration asks.
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
        """Writes a trace of a few updates, for TensorBoard's profiler or Perfetto."""
        with jax.profiler.trace(str(folder)):
            self.repeat(math.ceil(updates / self.run.updates_per_call))


def peak_bytes(run: loop.Run) -> dict:
    """The most memory used so far: of the fullest device, or of this process where devices do not tell."""
    found = [(device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in run.updater.mesh.local_devices]
    return {"peak_bytes": max(found) or peers.peak_resident_bytes(), "peak_of": "device" if max(found) else "process"}


class Server:
    """The worker's side: what the measuring process asks for, in this order."""

    def prepare(self, arguments: list[str], seconds: float, cpu_devices: int) -> dict:
        """Compiles a configuration and warms it up; a repeat shall last about so long."""
        prepare_jax(cpu_devices)
        config, run = training_settings.load(arguments)
        self._row, self._training = training_settings.about(config, run), Training(run)
        self._calls = self._training.calls_for(seconds)
        return self._row | {
            "calls": self._calls,
            "compile_seconds": self._training.compile_seconds,
            "parameters": self._training.parameters,
            "program_bytes": self._training.program_bytes,
            "stored_bytes": stored_bytes(run.updater),
            "flops": flops.of_update(run.updater, len(run.seeds)),
        }

    def repeat(self) -> dict:
        """One more measurement."""
        return self._training.repeat(self._calls)

    def finish(self, seconds: float) -> dict:
        """All that is left: the outcome and the memory so far, then the host's share and the device's peak."""
        found = self._training.outcome | peak_bytes(self._training.run)
        calls = round(seconds / self._training.call()["seconds"])
        found["host"] = self._training.host(min(max(calls, HOST_CALLS[0]), HOST_CALLS[1]))
        devices = self._training.run.updater.mesh.size
        dtypes = dict.fromkeys(("float32", self._row["dtype"]))
        return found | {"matmul_peak": {dtype: devices * flops.matmul_peak(dtype) for dtype in dtypes}}

    def profile(self, folder: str) -> None:
        """Writes a trace."""
        self._training.profile(pathlib.Path(folder))


if __name__ == "__main__":
    server = Server()
    peers.serve({name: getattr(server, name) for name in ("prepare", "repeat", "finish", "profile")})
    os._exit(0)
