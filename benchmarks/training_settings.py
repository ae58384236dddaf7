"""What is trained to be measured: sweeps, configurations, and what the released trainer is asked to match.

It defines no flags.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

from absl import flags

from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.runtime import loop

SCHEDULE = ("rollout_length", "burn_in", "num_epochs", "num_minibatches")
# The released trainer's network has one size, and the memory's name is all that can be chosen.
RELEASED = {"encoder": "popgym_cnn", "trunk": "popgym", "width": 512, "layers": 2, "memory": "lru", "seeds": 1}


class Parser(argparse.ArgumentParser):
    """Whose errors are one line."""

    def error(self, message: str) -> None:
        """Ends the program."""
        raise SystemExit(f"error: {message}")


def sweep(
    config: str,
    arguments: dict[str, list],
    values: dict[str, list],
    overrides: Sequence[str],
    one_at_a_time: bool = False,
) -> list[list[str]]:
    """Command lines of all combinations, or of the configuration as it is and then with one change each.

    Args:
      config: FILE.py or FILE.py:ARGUMENTS.
      arguments: choices of each argument, {"game": ["tetris", "cartpole"], "memory": []}; none to leave it alone.
      values: likewise of fields, {"num_envs": ["16", "64"]}.
      overrides: "x=y", for all of them; they win.
      one_at_a_time: which of the two.
    """
    file, _, given = config.partition(":")
    choices = [[(name, value) for value in some] for name, some in (arguments | values).items() if some]
    chosen = [(), *((item,) for some in choices for item in some)] if one_at_a_time else itertools.product(*choices)
    found = []
    for changes in chosen:
        some = [f"{name}={value}" for name, value in changes if name in arguments]
        others = [f"{name}={value}" for name, value in changes if name in values]
        line = f"--config={file}:{','.join(filter(None, [given, *some]))}"
        found.append([line, *(f"--config.{item}" for item in [*others, *overrides])])
    return found


def load(arguments: Sequence[str]) -> tuple[Any, loop.Run]:
    """The configuration of a command line, and its run.

    Args:
      arguments: `--config=FILE.py:...` and `--config.x=y`.

    Raises:
      ValueError: names that do not exist, or values that do not fit each other.
    """
    config = command_line.load(flags.FlagValues(), ["training", *arguments])
    return config, build(config)


def about(config, run: loop.Run) -> dict:
    """What a row of results is a measurement of."""
    environment, algorithm = run.updater.environment, run.updater.algorithm
    return {
        "title": run.title,
        "game": type(environment.game).__name__ + config.environment.level.capitalize(),
        "twin": "partial" if environment.partial else "full",
        "size": config.environment.obs_size,
        "memory": config.memory.name,
        "trunk": config.network.trunk,
        "width": config.network.width,
        "layers": config.network.layers,
        "encoder": config.encoder.name,
        "dtype": config.encoder.dtype,
        "preset": config.preset,
        "envs": config.num_envs,
        "seeds": len(run.seeds),
        **{name: getattr(algorithm, name) for name in SCHEDULE},
        "carry": algorithm.effective_carry_init,
        "quirks": [name for name, there in config.compat.items() if there],
        "updates_per_call": run.updates_per_call,
        "mesh": dict(run.updater.mesh.shape),
    }


def released(row: dict) -> dict:
    """What the released trainer is asked to do, so that it does the same as ours.

    Args:
      row: what `about` says.

    Raises:
      ValueError: it has no such network.
    """
    different = [f"{name}={row[name]}" for name, value in RELEASED.items() if row[name] != value]
    if different:
        wanted = ", ".join(f"{name}={value}" for name, value in RELEASED.items())
        raise ValueError(f"the released trainer has {wanted}; it cannot be compared at {', '.join(different)}")
    return {
        "name": row["game"], "partial": row["twin"] == "partial", "size": row["size"], "batch": row["envs"],
        "schedule": {name: row[name] for name in SCHEDULE},
    }  # fmt: skip
