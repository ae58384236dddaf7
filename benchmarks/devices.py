"""A configuration's update, compiled and timed on so many devices, in this process or in one of its own.

A process whose CPU is split in n devices cannot be split anew, so that each number of them has its own process:
python -m benchmarks.devices FILE-DESCRIPTOR is its side, which `Worker` starts and talks to.
"""

import functools
import sys
from typing import Any

import jax
import numpy as np

from benchmarks import collectives, peers, training_runs, training_settings


class Update(training_runs.Training):
    """The update of a configuration on the first `devices` devices, environments over all of them, compiled.

    Args:
      config: FILE.py:ARGUMENTS.
      overrides: x=y.
      devices: all on the data axis of the mesh.
      num_envs: of each seed, on all devices together.
      updates: in one call of the program.

    Raises:
      ValueError: the values do not fit each other.
    """

    def __init__(self, config: str, overrides: list[str], devices: int, num_envs: int, updates: int):
        # Nothing is evaluated; any number of episodes that divides will do.
        fixed = [f"num_envs={num_envs}", "mesh.seed=1", f"mesh.data={devices}", f"evaluation.episodes={devices}"]
        values = [*overrides, *fixed, f"updates_per_call={updates}"]
        _, run = training_settings.load([f"--config={config}", *[f"--config.{item}" for item in values]])
        super().__init__(run)
        self._devices = devices

    def first_call(self) -> dict:
        """The first call, which warms up: what the first update computed, and the seconds of the whole call."""
        seconds = self.call()["seconds"]
        first = jax.tree.map(lambda x: x[:, 0], self._metrics)
        return {
            "warm_up_seconds": seconds,
            "steps": int(first.counts.steps.sum()),
            "loss": np.asarray(first.means["loss"], float).tolist(),
            "gradient_norm": np.asarray(first.means["gradient_norm"], float).tolist(),
        }

    def traffic(self) -> dict:
        """Bytes that a device adds up with the others in one update, by the parameters and by the program's text."""
        algorithm, (state, metrics) = self.run.updater.algorithm, self._program.out_info
        metrics = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:1], x.dtype), metrics)
        steps = algorithm.num_epochs * algorithm.num_minibatches
        parts = collectives.from_parameters(state.learner.params, metrics, steps)
        found = collectives.summary(collectives.from_text(self._program.as_text()), self.run.updates_per_call)
        expected = sum(part["bytes"] * part["times"] for part in parts)
        return {
            "devices": self._devices,
            "from_parameters": {"bytes": expected, "parts": parts},
            "from_text": found,
            "agree": expected == found["bytes"] and not found["unknown_loops"] and not found["others"],
        }


class Here:
    """Updates in this process, on the devices it has: what accelerators are measured with.

    Args:
      config: FILE.py:ARGUMENTS.
      overrides: x=y.
    """

    def __init__(self, config: str, overrides: list[str]):
        self._config, self._overrides = config, overrides
        self._updates: dict[int, Update] = {}

    def ask(self, command: str, **arguments: Any) -> Any:
        """Does one of `COMMANDS`."""
        return getattr(self, command)(**arguments)

    def prepare(self, devices: int, num_envs: int, updates: int) -> dict:
        """Compiles an update.

        Returns:
          The number by which it is asked for from now on, and the seconds.
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
        """Real environment steps and seconds of so many calls."""
        return self._updates[number].repeat(calls)

    def close(self) -> None:
        """Frees what the updates hold."""
        self._updates.clear()


COMMANDS = ("prepare", "traffic", "first_call", "seconds")


class Worker(peers.Worker):
    """`Here` in a process of its own, whose CPU is split in so many devices of one thread each.

    Raises:
      RuntimeError: the process could not do what it was asked; says why.
    """

    def __init__(self, config: str, overrides: list[str], devices: int):
        super().__init__(sys.executable, "-m", "benchmarks.devices", JAX_PLATFORMS="cpu")
        self.ask("begin", config=config, overrides=overrides, devices=devices)


def main() -> None:
    """The worker's side."""
    places = []

    def begin(config: str, overrides: list[str], devices: int) -> None:
        training_runs.prepare_jax(devices)
        places.append(Here(config, overrides))

    def answer(command: str, **arguments: Any) -> Any:
        return places[0].ask(command, **arguments)

    peers.serve({"begin": begin} | {command: functools.partial(answer, command) for command in COMMANDS})


if __name__ == "__main__":
    main()
