"""Measurement of peers whose training is one compiled program. Imports only jax and numpy, as peers do."""

import hashlib
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import peers


class Setting(NamedTuple):
    """What a peer is to train.

    Attributes:
      task: file of our task.
      algorithm: "ppo" or "pqn".
      memory: the peer's memory layer, "none" for none.
      width: of the memory and of dense layers.
      envs: number of environments.
      rollout_length: steps per update and environment.
      num_epochs: passes over a rollout.
      num_minibatches: gradient steps of a pass.
      updates: updates per call.
    """

    task: str
    algorithm: str
    memory: str
    width: int
    envs: int
    rollout_length: int
    num_epochs: int
    num_minibatches: int
    updates: int

    @property
    def frames(self) -> int:
        """Environment steps of one call."""
        return self.updates * self.envs * self.rollout_length


class Training(NamedTuple):
    """A peer's training.

    Attributes:
      train: trains for a fixed number of updates; traceable by jax.
      arguments: arguments of the first call.
      proceed: results of a call -> arguments of the next.
      params: results of a call -> trained parameters.
    """

    train: Callable
    arguments: tuple
    proceed: Callable[[Any], tuple]
    params: Callable[[Any], Any]


class Server:
    """Commands of a peer's process, in this order: prepare, any number of runs, finish.

    Args:
      make: `Setting` -> `Training`.
      packages: installed packages whose versions are reported.
    """

    def __init__(self, make: Callable[[Setting], Training], *packages: str):
        self._make, self._packages = make, packages

    def prepare(self, platform: str, seconds: float, **setting) -> dict:
        """Compile the training and call it once; later runs are sized to last about `seconds`.

        Args:
          platform: backend of our own jax.
          seconds: approximate duration of a run, at least one call.
          **setting: fields of `Setting`.

        Raises:
          RuntimeError: the peer's jax would run on another kind of device.
        """
        if jax.default_backend() != platform:
            raise RuntimeError(f"the peer runs on {jax.default_backend()}, ours on {platform}; install that jax for it")
        chosen = Setting(**setting)
        training = self._make(chosen)
        self._training, self._arguments = training, training.arguments
        self._frames = chosen.frames
        begin = time.perf_counter()
        self._program = jax.jit(training.train).lower(*training.arguments).compile()
        compile_seconds = time.perf_counter() - begin
        self._calls = 1
        first = self.run()["seconds"]
        self._calls = max(1, round(seconds / first))
        return {
            "compile_seconds": compile_seconds,
            "first_call_seconds": first,
            "calls": self._calls,
            "program_bytes": peers.planned_bytes(self._program),
            "device": jax.devices()[0].device_kind,
            "versions": {name: importlib.metadata.version(name) for name in self._packages},
        }

    def run(self) -> dict:
        """Train on; return "frames" (environment steps, each of which counts) and "seconds"."""
        begin = time.perf_counter()
        for _ in range(self._calls):
            results = self._program(*self._arguments)
            self._arguments = self._training.proceed(results)
        self._params = jax.block_until_ready((self._training.params(results), results))[0]
        return {"frames": self._calls * self._frames, "seconds": time.perf_counter() - begin}

    def finish(self) -> dict:
        """Return size and checksum of the parameters, and the peak memory of the device or of this process."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self._params)]
        statistics = jax.local_devices()[0].memory_stats() or {}
        return {
            "parameters": sum(leaf.size for leaf in leaves),
            "sum_of_parameters": float(sum(np.abs(leaf).sum(dtype=np.float64) for leaf in leaves)),
            "checksum": hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()[:16],
            "peak_bytes": statistics.get("peak_bytes_in_use") or peers.peak_resident_bytes(),
        }

    def serve(self) -> None:
        """Answer requests until standard input ends."""
        peers.serve({name: getattr(self, name) for name in ("prepare", "run", "finish")})
