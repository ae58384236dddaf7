"""Peer that trains with the recurrent PQN of the released benchmark, popgym-arcade with its baselines.

The trainer is called as by its own command line, with options read by its own parser, and is not modified. It is one
compiled program from the first reset to the end of training, which reports every update to its tracker, Weights &
Biases, from inside. Here the tracker's `log` is replaced by one that records the time and blocks the program until
another update is requested. An update is thus timed from one report to the next, without compilation, first resets and
the random steps that fill the first window. What the trainer computes only for its reports, a second forward pass of
every minibatch, is part of its update.
"""

import hashlib
import importlib.metadata
import os
import queue
import sys
import threading
import time
from unittest import mock

import equinox as eqx
import jax
import numpy as np
import wandb
from popgym_arcade import train
from popgym_arcade.baselines import pqn_rnn

from benchmarks import peers

_running = {}


class Gate:
    """Gate at which the trainer waits after each update."""

    def __init__(self):
        self._reached, self._requested = queue.Queue(), queue.Queue()
        self.failure = None

    def log(self, metrics: dict, step) -> None:
        """Report a finished update; called by the trainer from within its program."""
        self._reached.put((time.perf_counter(), metrics))
        self._requested.get()

    def wait(self) -> tuple[float, dict]:
        """Wait for the next update; return its time and what it reported."""
        while True:
            try:
                return self._reached.get(timeout=1.0)
            except queue.Empty:
                if self.failure is not None:
                    raise self.failure from None

    def open(self) -> float:
        """Let one more update run; return the time."""
        now = time.perf_counter()
        self._requested.put(None)
        return now


def options(name: str, partial: bool, size: int, batch: int, schedule: dict[str, int], updates: int) -> dict:
    """Return the trainer's options from its own parser: those given, otherwise its defaults."""
    given = {
        "MEMORY_TYPE": "LRU", "ENV_NAME": name, "OBS_SIZE": size, "NUM_ENVS": batch,
        "NUM_STEPS": schedule["rollout_length"], "MEMORY_WINDOW": schedule["burn_in"],
        "NUM_EPOCHS": schedule["num_epochs"],
        "NUM_MINIBATCHES": schedule["num_minibatches"], "TOTAL_TIMESTEPS": updates * batch * schedule["rollout_length"],
        "WANDB_MODE": "offline",
    }  # fmt: skip
    words = [f"--{key}={value}" for key, value in given.items()] + ["--PARTIAL"] * partial
    with mock.patch.object(sys, "argv", ["popgym_arcade.train", "PQN_RNN", *words]):
        return vars(train.get_args())


def prepare(platform: str, **asked) -> dict:
    """Compile the trainer and run its first update.

    Args:
      platform: backend of our own jax.
      **asked: arguments of `options`.

    Raises:
      RuntimeError: the trainer's jax would run on another kind of device.
    """
    if jax.default_backend() != platform:
        raise RuntimeError(
            f"the released trainer runs on {jax.default_backend()}, ours on {platform}; install that jax for it"
        )
    config = options(**asked)
    keys = jax.random.split(jax.random.PRNGKey(config["SEED"]), config["NUM_SEEDS"])
    begin = time.perf_counter()
    program = eqx.filter_jit(eqx.filter_vmap(pqn_rnn.make_train(config))).lower(keys).compile()
    compile_seconds = time.perf_counter() - begin
    gate = Gate()

    def train_to_the_end():
        try:
            with mock.patch.object(wandb, "log", gate.log):
                _running["outcome"] = jax.block_until_ready(eqx.filter(program(keys), eqx.is_array))
        except Exception as error:
            gate.failure = error

    thread = threading.Thread(target=train_to_the_end, daemon=True)
    _running.update(gate=gate, thread=thread, frames=config["NUM_STEPS"] * config["NUM_ENVS"], reports=[])
    begin = time.perf_counter()
    thread.start()
    first, _ = gate.wait()
    names = ("popgym-arcade", "memax", "equinox", "optax", "jax")
    return {
        "compile_seconds": compile_seconds,
        "program_bytes": peers.planned_bytes(program.compiled),
        "first_update_seconds": first - begin,
        "device": jax.devices()[0].device_kind,
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def run() -> dict:
    """Run one more update."""
    begin = _running["gate"].open()
    end, metrics = _running["gate"].wait()
    _running["reports"].append({name: float(np.asarray(value)) for name, value in metrics.items()})
    return {"frames": _running["frames"], "seconds": end - begin}


def finish() -> dict:
    """Finish the training; return its outcome."""
    _running["gate"].open()
    _running["thread"].join()
    if _running["gate"].failure is not None:
        raise _running["gate"].failure
    model = jax.tree.leaves(eqx.filter(_running["outcome"]["runner_state"][0].model, eqx.is_array))
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in model)).hexdigest()
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {
        "parameters": sum(leaf.size for leaf in model),
        "checksum": digest[:16],
        "last_report": _running["reports"][-1],
        "peak_bytes": statistics.get("peak_bytes_in_use") or peers.peak_resident_bytes(),
    }


if __name__ == "__main__":
    peers.serve({"prepare": prepare, "run": run, "finish": finish})
    os._exit(0)  # an unfinished program would keep the process alive
