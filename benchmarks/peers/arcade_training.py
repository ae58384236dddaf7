"""The peer that trains with the recurrent PQN of the released benchmark, popgym-arcade with its baselines.

Its trainer is called as its own command line calls it, with options read by its own parser, and nothing in it is
changed. It is one compiled program from the first reset to the end of training, which reports every update to its
tracker, Weights & Biases, from inside. The tracker's `log` is ours here: it takes the time, and holds the program until
another update is wanted. So an update is timed from one report to the next, without compilation, first resets and the
random steps that fill the first window. What it computes to be reported, a second forward pass of every minibatch, is
part of its update.
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
    """Where the trainer stops after each update."""

    def __init__(self):
        self._reached, self._wanted = queue.Queue(), queue.Queue()
        self.failure = None

    def log(self, metrics: dict, step) -> None:
        """Called by the trainer, in its program: an update is done."""
        self._reached.put((time.perf_counter(), metrics))
        self._wanted.get()

    def wait(self) -> tuple[float, dict]:
        """When the next update was done, and what it reported."""
        while True:
            try:
                return self._reached.get(timeout=1.0)
            except queue.Empty:
                if self.failure is not None:
                    raise self.failure from None

    def open(self) -> float:
        """Lets one more update pass; returns when."""
        now = time.perf_counter()
        self._wanted.put(None)
        return now


def options(name: str, partial: bool, size: int, batch: int, schedule: dict[str, int], updates: int) -> dict:
    """The trainer's options, by its own parser: those given, and its own defaults."""
    given = {
        "MEMORY_TYPE": "LRU", "ENV_NAME": name, "OBS_SIZE": size, "NUM_ENVS": batch,
        "NUM_STEPS": schedule["rollout_length"], "MEMORY_WINDOW": schedule["burn_in"], "NUM_EPOCHS": schedule["num_epochs"],
        "NUM_MINIBATCHES": schedule["num_minibatches"], "TOTAL_TIMESTEPS": updates * batch * schedule["rollout_length"],
        "WANDB_MODE": "offline",
    }  # fmt: skip
    words = [f"--{key}={value}" for key, value in given.items()] + ["--PARTIAL"] * partial
    with mock.patch.object(sys, "argv", ["popgym_arcade.train", "PQN_RNN", *words]):
        return vars(train.get_args())


def prepare(platform: str, **asked) -> dict:
    """Compiles the training of `asked`, the arguments of `options`, and runs its first update.

    Raises:
      RuntimeError: it would run on another kind of device.
    """
    if jax.default_backend() != platform:
        raise RuntimeError(
            f"the released trainer finds {jax.default_backend()}, ours {platform}: install its jax for it"
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
    """One more update."""
    begin = _running["gate"].open()
    end, metrics = _running["gate"].wait()
    _running["reports"].append({name: float(np.asarray(value)) for name, value in metrics.items()})
    return {"frames": _running["frames"], "seconds": end - begin}


def finish() -> dict:
    """What became of it, once no more updates are to come."""
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
    os._exit(0)  # A program that was left in the middle of its training would keep the process alive.
