"""Configurations to measure: sweeps, loading, and the settings that the released trainer has to match.

This module defines no flags.
"""

import argparse
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from podarcade import plugins, popgym_arcade
from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.runtime import loop
from podarcade.sweeps.jobs import check_overrides

SCHEDULE = ("rollout_length", "burn_in", "num_epochs", "num_minibatches")
# The released trainer's network has one size; only its memory can be chosen by name.
RELEASED = {"encoder": "popgym_cnn", "trunk": "popgym", "width": 512, "layers": 2, "memory": "lru", "seeds": 1}


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line."""

    def error(self, message: str) -> None:
        """Exit with a one-line error."""
        raise SystemExit(f"error: {message}")


def sweep(
    config: str,
    arguments: dict[str, list],
    values: dict[str, list],
    overrides: Sequence[str],
    one_at_a_time: bool = False,
) -> list[list[str]]:
    """Return the command lines of all combinations, or of the plain configuration and then of one change each.

    Args:
      config: FILE.py or FILE.py:ARGUMENTS.
      arguments: values of each argument, {"game": ["tetris", "cartpole"], "memory": []}; empty: unchanged.
      values: values of each field, {"num_envs": ["16", "64"]}.
      overrides: "config.x=y" for all of them; they take precedence.
      one_at_a_time: one change at a time instead of all combinations.

    Raises:
      ValueError: an override is not spelled config.x=y.
    """
    file, _, given = config.partition(":")
    choices = [[(name, value) for value in some] for name, some in (arguments | values).items() if some]
    chosen = [(), *((item,) for some in choices for item in some)] if one_at_a_time else itertools.product(*choices)
    found = []
    for changes in chosen:
        some = [f"{name}={value}" for name, value in changes if name in arguments]
        others = [f"{name}={value}" for name, value in changes if name in values]
        line = f"--config={file}:{','.join(filter(None, [given, *some]))}"
        found.append([line, *(f"--config.{item}" for item in others), *as_flags(overrides)])
    return found


def as_flags(overrides: Sequence[str]) -> list[str]:
    """Return overrides "config.x=y" as flags; raise ValueError if one is spelled otherwise."""
    check_overrides(overrides)
    return [f"--{item}" for item in overrides]


def config_file(algorithm: str) -> pathlib.Path:
    """Return the configuration file of an algorithm."""
    return pathlib.Path(f"configs/{algorithm}.py")


def configured() -> list[str]:
    """Return the algorithms that have a configuration in configs/."""
    return [name for name in plugins.names("algorithms") if config_file(name).exists()]


def load(arguments: Sequence[str]) -> tuple[Any, loop.Run]:
    """Return the configuration of a command line and its run.

    Args:
      arguments: `--config=FILE.py:...` and `--config.x=y`.

    Raises:
      ValueError: a name does not exist, or values are inconsistent.
    """
    config = command_line.load(flags.FlagValues(), ["training", *arguments])
    return config, build(config)


def about(config, run: loop.Run) -> dict:
    """Return the settings that identify a row of results."""
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
        "quirks": [path.rpartition(".")[2] for path in popgym_arcade.switches(config)],
        "updates_per_call": run.updates_per_call,
        "mesh": dict(run.updater.mesh.shape),
    }


def released(row: dict) -> dict:
    """Return the settings with which the released trainer does the same work as ours.

    Args:
      row: as returned by `about`.

    Raises:
      ValueError: the released trainer has no such network.
    """
    different = [f"{name}={row[name]}" for name, value in RELEASED.items() if row[name] != value]
    if different:
        fixed = ", ".join(f"{name}={value}" for name, value in RELEASED.items())
        raise ValueError(f"cannot compare at {', '.join(different)}; the released trainer has {fixed}")
    return {
        "name": row["game"], "partial": row["twin"] == "partial", "size": row["size"], "batch": row["envs"],
        "schedule": {name: row[name] for name in SCHEDULE},
    }  # fmt: skip
