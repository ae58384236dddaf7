"""Measure what the memory of trained agents does.

    python -m podarcade.diagnose runs/mine
    python -m podarcade.diagnose runs/lru runs/gru --with=recall_density --step=best
    python -m podarcade.diagnose runs/mine --override=recall_density.episodes=128
    python -m podarcade.diagnose runs/compare-pqn_lru-seeds=3

A folder that holds runs, such as that of a comparison, stands for these. Arrays of each diagnostic, of all seeds, are
written to diagnostics/NAME-UPDATES.npz in the folder of the run, and their summaries to diagnostics.json. Where a
diagnostic has a control, the same network with newly drawn parameters, its arrays have "untrained/" before their names.
What is there already is not measured again.

Exit code 0: done; 1: an error; runs that cannot be read are reported, and the others measured.
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
from podarcade.diagnostics import Diagnostic, untrained
from podarcade.diagnostics.choice import ALL, choose
from podarcade.reporting import saliency_pictures
from podarcade.reporting.report import folders
from podarcade.runtime import backend, door, failures
from podarcade.runtime.run_files import write_json
from podarcade.runtime.signals import DONE

RESULTS = "diagnostics.json"
PICTURES = {"saliency": saliency_pictures.draw}  # drawn beside the arrays: (arrays, path without its end) -> files


def make_flags() -> flags.FlagValues:
    """Return the flags of the command line."""
    values = flags.FlagValues()
    known = ", ".join(plugins.names("diagnostics"))
    flags.DEFINE_list("with", [ALL], f"{ALL}, or some of: {known}", flag_values=values)
    flags.DEFINE_multi_string(
        "override", [], "DIAGNOSTIC.OPTION=VALUE for all runs; may be repeated", flag_values=values
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
    chosen = choose(options["with"].value, options.override)
    code = DONE
    for run in folders.runs_in(runs):
        try:
            diagnose(run, chosen, options.step)
        except (ValueError, OSError) as error:
            failure = failures.classify(error)
            failures.show(failure, error)
            code = failure.exit_code
    return code


def diagnose(run: pathlib.Path, chosen: dict[str, Diagnostic], step: str | int) -> None:
    """Measure the agents of a run, and write what was found into its folder.

    Args:
      run: the folder.
      chosen: diagnostics by name.
      step: as in `podarcade.load`.
    """
    agents = load_seeds(run, step)
    backend.keep_programs_of((agents[0].algorithm, agents[0].environment))
    updates, known = agents[0].updates, _results(run)
    for name, diagnostic in chosen.items():
        options = dataclasses.asdict(diagnostic)
        earlier = known.get(name, {}).get(str(updates), {})
        path = run / "diagnostics" / f"{plugins.label(name)}-{updates}.npz"
        if earlier.get("options") == options and path.exists():
            print(f"{run}  {name} after {updates} updates: found")
            continue
        began = time.monotonic()
        arrays, entry = _measure_all(diagnostic, agents)
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)
        known.setdefault(name, {})[str(updates)] = {"options": options, **entry}
        write_json(run / RESULTS, known)
        drawn = PICTURES[name](arrays, path.with_suffix("")) if name in PICTURES else []
        files = ", ".join(map(str, [path, *drawn]))
        print(f"{run}  {name} after {updates} updates: {files}, {time.monotonic() - began:.1f} s", flush=True)


def _measure_all(diagnostic: Diagnostic, agents: list[Agent]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays of all seeds [S, ...] by name, and summaries of each seed, with those of the control."""
    kinds = {"": agents}
    if diagnostic.CONTROL:
        kinds["untrained/"] = [untrained(agent, jax.random.key(agent.seed)) for agent in agents]
    arrays, entry = {}, {}
    for prefix, group in kinds.items():
        found = [measure(diagnostic, agent) for agent in group]
        arrays |= {prefix + name: np.stack([one[name] for one in found]) for name in found[0]}
        summaries = {str(agent.seed): diagnostic.summarise(one) for agent, one in zip(group, found, strict=True)}
        entry[prefix.rstrip("/") or "seeds"] = summaries
    return arrays, entry


def measure(diagnostic: Diagnostic, agent: Agent) -> dict[str, np.ndarray]:
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
