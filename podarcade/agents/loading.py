"""Loading an agent from the folder of a run."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp

from podarcade.agents import Agent
from podarcade.agents.fitting import check_fit
from podarcade.agents.records import Origin
from podarcade.algorithms import Algorithm
from podarcade.configuration import ConfigDict, FrozenConfigDict, files, validation
from podarcade.configuration.components import make_algorithm, make_environment
from podarcade.envs.environment import Environment
from podarcade.envs.observability import parse
from podarcade.runtime import stored
from podarcade.runtime.leaves import signatures, unflatten_like


def load(run: str | pathlib.Path, step: str | int = "latest", seed: int | None = None) -> Agent:
    """Return an agent from the folder of a run, which may still be training; nothing is written there.

    Args:
      run: folder with config.json and checkpoints.
      step: "latest"; "best", of the checkpoints that are left the one with the best evaluation; or a number of
        updates. The best one is chosen by the run's evaluations, on which it is therefore overrated a little.
      seed: one of the run's seeds; None for the first.

    Raises:
      ValueError: the folder holds no run of this version, or no such seed or intact checkpoint; the message is one
        line.
    """
    agents = {agent.seed: agent for agent in load_seeds(run, step)}
    if seed is not None and seed not in agents:
        raise ValueError(f"seed={seed}; the run in {run} has {', '.join(map(str, agents))}")
    return next(iter(agents.values())) if seed is None else agents[seed]


def load_seeds(run: str | pathlib.Path, step: str | int = "latest") -> list[Agent]:
    """Return the agents of all seeds of a run; arguments and errors as of `load`."""
    folder = pathlib.Path(run).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no run: there is no config.json; expected the --workdir of a run")
    config = files.read_json(folder / "config.json")
    if config.get("population"):
        raise ValueError(f"{folder} holds a population, whose members have folders of their own; load one of these")
    validation.check(config)
    algorithm, environment = components(json.dumps(config.to_dict()))
    found, agents = stored.read(folder / "checkpoints", step, "learner.params"), []
    for number in range(config.seeds):
        leaves = {name: array[number] for name, array in found.arrays.items()}
        like = check_fit(algorithm, environment, signatures(leaves), str(folder))
        params = jax.tree.map(jnp.asarray, unflatten_like(like, leaves))
        origin = Origin(FrozenConfigDict(config), config.seed + number, found.updates)
        agents.append(Agent(params, algorithm, environment, origin))
    return agents


@functools.lru_cache(maxsize=64)
def components(text: str) -> tuple[Algorithm, Environment]:
    """Return algorithm and environment of a configuration in JSON: the same objects again, and so the same programs."""
    config = ConfigDict(json.loads(text))
    environment = make_environment(config)
    partial = parse(config.environment.observability).shares[-1] > 0
    return make_algorithm(config, environment), dataclasses.replace(environment, partial=partial)
