"""Loading an agent from the folder of a run."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp

from podarcade.agents import Agent, check_fit
from podarcade.configuration import FrozenConfigDict, files, validation
from podarcade.configuration.components import make_algorithm, make_environment
from podarcade.envs.observability import parse
from podarcade.runtime import stored
from podarcade.runtime.leaves import signatures, unflatten_like


def load(run: str | pathlib.Path, step: str | int = "latest", seed: int = 0) -> Agent:
    """Return an agent from the folder of a run, which may still be training; nothing is written there.

    Args:
      run: folder with config.json and checkpoints.
      step: "latest"; "best", of the checkpoints that are left the one with the best evaluation; or a number of
        updates. The best one is chosen by the run's evaluations, so these overrate it a little.
      seed: which of the run's seeds, counted from 0.

    Raises:
      ValueError: the folder holds no run of this version, or no such seed or intact checkpoint; the message is one
        line.
    """
    agents = load_seeds(run, step)
    if not 0 <= seed < len(agents):
        raise ValueError(f"seed={seed}; expected 0 to {len(agents) - 1}: the run in {run} has {len(agents)}")
    return agents[seed]


def load_seeds(run: str | pathlib.Path, step: str | int = "latest") -> list[Agent]:
    """Return the agents of all seeds of a run, which share compiled programs; arguments and errors as of `load`."""
    folder = pathlib.Path(run).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no run: there is no config.json; expected the --workdir of a run")
    config = files.read_json(folder / "config.json")
    validation.check(config)
    environment = make_environment(config)
    algorithm = make_algorithm(config, environment)
    environment = dataclasses.replace(environment, partial=parse(config.environment.observability).shares[-1] > 0)
    found, agents = stored.read(folder / "checkpoints", step, "learner.params"), []
    for seed in range(config.seeds):
        leaves = {name: array[seed] for name, array in found.arrays.items()}
        like = check_fit(algorithm, environment, signatures(leaves), str(folder))
        params = jax.tree.map(jnp.asarray, unflatten_like(like, leaves))
        agents.append(
            Agent(params, algorithm, environment, FrozenConfigDict(config), config.seed + seed, found.updates)
        )
    return agents
