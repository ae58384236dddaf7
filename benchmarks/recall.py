"""Where decisions look: the Recall Density of trained and of untrained agents, against the time that the task needs.

    python -m benchmarks.needs_memory --json=benchmarks/results/needs_memory-cpu.json
    python -m benchmarks.recall --runs=runs/needs_memory --json=benchmarks/results/recall-cpu.json

For every run that `benchmarks.needs_memory` has trained, and every seed: the density of the last decision of an episode
by gradients (plain, and in units of each feature's spread) and by occlusion, averaged over episodes; and the same of a
network of the same kind before training. Runs that are in --json are not measured again.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import heat_map
from podarcade.agents.loading import load_seeds
from podarcade.diagnostics import untrained
from podarcade.diagnostics.recall_density import MEASURES, RecallDensity
from podarcade.runtime import backend, provenance
from podarcade.runtime.run_files import write_json

PANELS = (  # what is shown, key of a row, and measure
    ("gradient (L1), trained", "trained", "l1"),
    ("occlusion, trained", "trained", "occlusion"),
    ("occlusion, untrained", "untrained", "occlusion"),
)


def complete(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and configuration of the runs below a folder that have been trained to their end."""
    for path in sorted(runs.rglob("config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if (path.parent / "learning_curve.svg").exists():
            yield path.parent, config


def measure(folder: Path, episodes: int) -> dict[str, Any]:
    """Return the densities of all seeds of a run, trained and untrained, summarised."""
    agents = load_seeds(folder)
    diagnostic, found = RecallDensity(episodes=episodes), {"trained": [], "untrained": []}
    for number, one in enumerate(agents):
        before = untrained(one, jax.random.key(one.seed))
        for kind, chosen in (("trained", one), ("untrained", before)):
            arrays = jax.device_get(diagnostic(chosen, jax.random.key(number)))
            found[kind].append(diagnostic.summarise(arrays))
    return {kind: {name: _over_seeds([x[name] for x in items]) for name in MEASURES} for kind, items in found.items()}


def _over_seeds(items: list[dict[str, Any]]) -> dict[str, list]:
    return {name: [item[name] for item in items] for name in items[0]}


def draw(rows: Sequence[dict], path: Path) -> None:
    """Draw the mass at the needed time on partial twins, mean over seeds, a panel for each of `PANELS`."""
    rows = [row for row in rows if row["task"]["twin"] == "partial"]
    tasks = list(dict.fromkeys(row["task"]["game"] for row in rows))
    agents = list(dict.fromkeys(row["variant"] for row in rows))
    panels = []
    for title, kind, measure in PANELS:
        values = np.full((len(tasks), len(agents)), np.nan)
        for row in rows:
            known = [value for value in row[kind][measure]["needed"] if value is not None]
            values[tasks.index(row["task"]["game"]), agents.index(row["variant"])] = np.mean(known) if known else np.nan
        panels.append(heat_map.Panel(title, tasks, agents, values))
    heat_map.draw(path, panels, 0.0, 1.0, "share of the density\nat the needed time")


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing, write each row as it is there, draw; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/needs_memory", help="folder of the trained runs")
    parser.add_argument("--tasks", default="", help="comma-separated names; empty for all that were trained")
    parser.add_argument("--episodes", type=int, default=32, help="episodes of each seed")
    parser.add_argument("--json", default="", help="file of the results, a picture beside it; empty: print only")
    options = parser.parse_args(arguments[1:])
    backend.configure(0)
    path = Path(options.json)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if options.json and path.is_file() else []
    known = {(json.dumps(row["task"]), row["variant"]) for row in rows}
    about = functools.cache(lambda: provenance.collect(list(arguments)) | {"episodes": options.episodes})
    for folder, config in complete(Path(options.runs)):
        section = config["environment"]
        task = {"game": section["name"], "level": section["level"], "twin": section["observability"]}
        variant = config["memory"]["name"] + (", matched" if config["network"]["init"] == "matched" else "")
        if (json.dumps(task), variant) in known or (options.tasks and task["game"] not in options.tasks.split(",")):
            continue
        began = time.monotonic()
        row = {"task": task, "variant": variant, **measure(folder, options.episodes)}
        rows.append(row | {"seconds": round(time.monotonic() - began, 1)})
        shown = {name: row["trained"][name]["needed"] for name in MEASURES}
        print(f"{task['game']}/{task['twin']}  {variant:24}{shown}  {rows[-1]['seconds']} s", flush=True)
        if options.json:
            write_json(path, about() | {"rows": rows})
    if options.json and rows:
        draw(rows, path.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
