"""Measure what the memory of trained agents does.

    python -m podarcade.diagnose runs/mine
    python -m podarcade.diagnose runs/lru runs/gru --with=recall_density --step=best

Arrays of each diagnostic, of all seeds, are written to diagnostics/NAME-UPDATES.npz in the folder of the run, and their
summaries to diagnostics.json. What is there already is not measured again.

Exit code 0: done; 1: an error.
"""

import dataclasses
import json
import os
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from podarcade import plugins
from podarcade.agents import Agent
from podarcade.agents.loading import load_seeds
from podarcade.runtime import backend, door
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE

RESULTS = "diagnostics.json"


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    flags.DEFINE_list(
        "with", ["all"], f"all, or some of: {', '.join(plugins.names('diagnostics'))}", flag_values=values
    )
    flags.DEFINE_string("step", "latest", "latest, best, or a number of updates", flag_values=values)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a run may share the accelerator
    options = make_flags()
    return door.enter(__doc__, options, arguments, lambda runs: _diagnose_all(options, runs))


def _diagnose_all(options: flags.FlagValues, runs: list[str]) -> int:
    if not runs:
        raise ValueError("no run given; expected the folders of runs, as in podarcade diagnose runs/mine")
    backend.configure(0)
    chosen = options["with"].value
    names = plugins.names("diagnostics") if chosen == ["all"] else chosen
    kinds = {plugins.canonical(name): plugins.find("diagnostics", name) for name in names}
    for run in runs:
        diagnose(pathlib.Path(run).expanduser(), {name: kind() for name, kind in kinds.items()}, options.step)
    return DONE


def diagnose(run: pathlib.Path, chosen: dict[str, Any], step: str | int) -> None:
    """Measure the agents of a run, and write what was found into its folder.

    Args:
      run: the folder.
      chosen: diagnostics by name.
      step: as in `podarcade.load`.
    """
    agents = load_seeds(run, step)
    updates, known = agents[0].updates, _results(run)
    for name, diagnostic in chosen.items():
        options = dataclasses.asdict(diagnostic)
        earlier = known.get(name, {}).get(str(updates), {})
        path = run / "diagnostics" / f"{plugins.label(name)}-{updates}.npz"
        if earlier.get("options") == options and path.exists():
            print(f"{run}  {name} after {updates} updates: found")
            continue
        began = time.monotonic()
        found = [measure(diagnostic, agent) for agent in agents]
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            np.savez_compressed(file, **{key: np.stack([arrays[key] for arrays in found]) for key in found[0]})
        summaries = {str(agent.seed): diagnostic.summarise(one) for agent, one in zip(agents, found, strict=True)}
        known.setdefault(name, {})[str(updates)] = {"options": options, "seeds": summaries}
        write_json(run / RESULTS, known)
        print(f"{run}  {name} after {updates} updates: {path}, {time.monotonic() - began:.1f} s", flush=True)


def measure(diagnostic: Any, agent: Agent) -> dict[str, np.ndarray]:
    """Return what a diagnostic finds in an agent, on episodes of its own for each seed."""
    return {
        name: np.asarray(value) for name, value in jax.device_get(diagnostic(agent, jax.random.key(agent.seed))).items()
    }


def _results(run: pathlib.Path) -> dict[str, Any]:
    path = run / RESULTS
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        raise ValueError(f"{path} is corrupt; remove it to measure again") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv))
