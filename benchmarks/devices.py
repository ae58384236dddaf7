"""A configuration's update, compiled and timed on a number of devices, in this process or in a worker process.

The number of CPU devices is fixed once jax has started, so each number of virtual devices needs a process of its own:
`python -m benchmarks.devices FILE-DESCRIPTOR` is the worker side, which `Worker` starts and talks to.
"""

import functools
import sys
from typing import Any

import jax
import numpy as np

from benchmarks import collectives, peers, training_runs, training_settings


class Update(training_runs.Training):
    """Compiled update of a configuration on the first `devices` devices, with environments sharded over them.

    Args:
      config: FILE.py:ARGUMENTS.
      overrides: config.x=y.
      devices: size of the mesh's data axis.
      num_envs: environments of each seed, over all devices.
      updates: updates per call of the program.

    Raises:
      ValueError: the values are inconsistent.
    """

    def __init__(self, config: str, overrides: list[str], devices: int, num_envs: int, updates: int):
        # Nothing is evaluated; any number of episodes that the devices divide will do.
        fixed = [f"num_envs={num_envs}", "mesh.seed=1", f"mesh.data={devices}", f"evaluation.episodes={devices}"]
        fixed.append(f"updates_per_call={updates}")
        values = training_settings.as_flags([*overrides, *(f"config.{item}" for item in fixed)])
        _, run = training_settings.load([f"--config={config}", *values])
        super().__init__(run)
        self._devices = devices

    def first_call(self) -> dict:
        """Make the first, warm-up call; return the results of its first update and the seconds of the whole call."""
        seconds = self.call()["seconds"]
        first = jax.tree.map(lambda x: x[:, 0], self._metrics)
        return {
            "warm_up_seconds": seconds,
            "steps": int(first.counts.steps.sum()),
            "loss": np.asarray(first.means["loss"], float).tolist(),
            "gradient_norm": np.asarray(first.means["gradient_norm"], float).tolist(),
        }

    def traffic(self) -> dict:
        """Return the bytes all-reduced per device and update, counted from the parameters and from the program text."""
        algorithm, (state, metrics) = self.run.updater.algorithm, self._program.compiled.out_info
        metrics = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:1], x.dtype), metrics)
        steps = algorithm.num_epochs * algorithm.num_minibatches
        parts = collectives.from_parameters(state.learner.params, metrics, steps)
        found = collectives.summary(collectives.from_text(self._program.compiled.as_text()), self.run.updates_per_call)
        expected = sum(part["bytes"] * part["times"] for part in parts)
        return {
            "devices": self._devices,
            "from_parameters": {"bytes": expected, "parts": parts},
            "from_text": found,
            "agree": expected == found["bytes"] and not found["unknown_loops"] and not found["others"],
        }


class Here:
    """Updates in this process on its own devices, as accelerators are measured.

    Args:
      config: FILE.py:ARGUMENTS.
      overrides: config.x=y.
    """

    def __init__(self, config: str, overrides: list[str]):
        self._config, self._overrides = config, overrides
        self._updates: dict[int, Update] = {}

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run one of `COMMANDS`."""
        return getattr(self, command)(**arguments)

    def prepare(self, devices: int, num_envs: int, updates: int) -> dict:
        """Compile an update.

        Returns:
          Its number, for the other commands, and the compile time in seconds.
        """
        one = Update(self._config, self._overrides, devices, num_envs, updates)
        self._updates[len(self._updates)] = one
        return {"number": len(self._updates) - 1, "compile_seconds": one.compile_seconds}

    def traffic(self, number: int) -> dict:
        """See `Update.traffic`."""
        return self._updates[number].traffic()

    def first_call(self, number: int) -> dict:
        """See `Update.first_call`."""
        return self._updates[number].first_call()

    def seconds(self, number: int, calls: int) -> dict:
        """Return environment steps and seconds of a number of calls."""
        return self._updates[number].repeat(calls)

    def close(self) -> None:
        """Free the updates."""
        self._updates.clear()


COMMANDS = ("prepare", "traffic", "first_call", "seconds")


class Worker(peers.Worker):
    """`Here` in a process of its own, whose CPU is split into `devices` single-threaded devices.

    Raises:
      RuntimeError: a command failed in the process.
    """

    def __init__(self, config: str, overrides: list[str], devices: int):
        super().__init__(sys.executable, "-m", "benchmarks.devices", JAX_PLATFORMS="cpu")
        self.ask("begin", config=config, overrides=overrides, devices=devices)


def main() -> None:
    """Serve the worker side."""
    places = []

    def begin(config: str, overrides: list[str], devices: int) -> None:
        training_runs.prepare_jax(devices)
        places.append(Here(config, overrides))

    def answer(command: str, **arguments: Any) -> Any:
        return places[0].ask(command, **arguments)

    peers.serve({"begin": begin} | {command: functools.partial(answer, command) for command in COMMANDS})


if __name__ == "__main__":
    main()
