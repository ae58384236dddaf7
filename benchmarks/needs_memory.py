"""Where memory matters: agents without and with memory on eight tasks without pixels, on both twins, in one command.

    python -m benchmarks.needs_memory --json=benchmarks/results/needs_memory-cpu.json
    python -m benchmarks.needs_memory --tasks=tmaze,repeat_first --memories=none,lru --inits=paper --seeds=2

PPO with its preset `cpu` and layers of equal numbers of parameters, each at its own initialisation and, where it has
time scales, also with those that `init=matched` gives all layers. `podarcade.compare` trains the runs, all seeds of one
in one program: re-run the same command to resume. Beside its table and pictures this draws, for every task and agent,
where the final return lies between the best known memoryless policy, 0, and the best known policy, 1: on the partial
twin a memory has to pass the first of them, on the full twin the control has to come near the second.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import heat_map
from benchmarks.tables_of_tasks import HEADLINE
from podarcade import compare, plugins
from podarcade.configuration import INITS
from podarcade.envs.observability import NAMES
from podarcade.reporting import results

MEMORIES = ("none", "stack", "gru", "lru", "gated_deltanet", "transformer")
CONFIG = "configs/ppo.py:preset=cpu,match=parameters"
MATCHED = "{}, matched"  # name of the variant of a memory with `init=matched`
WORKDIR = "runs/needs_memory"


def variants(memories: Sequence[str], inits: Sequence[str]) -> list[str]:
    """Return the variants of a comparison: each memory at its own initialisation, then those with `init=matched`."""
    scaled = [name for name in memories if hasattr(plugins.find("memory", name), "init_horizon")]
    own = [f"{name}:memory={name}" for name in memories]
    matched = [f"{MATCHED.format(name)}:memory={name},init=matched" for name in scaled]
    return [*(own if "paper" in inits else []), *(matched if "matched" in inits else [])]


def command(options: argparse.Namespace) -> list[str]:
    """Return the command line of `podarcade.compare`, partial twins first."""
    tasks, memories, inits = (text.split(",") for text in (options.tasks, options.memories, options.inits))
    return [
        "compare",
        f"--config={CONFIG}",
        f"--tasks={','.join(f'{task}/{twin}' for twin in reversed(NAMES) for task in tasks)}",
        *(f"--variant={text}" for text in variants(memories, inits)),
        f"--seeds={options.seeds}",
        f"--workdir={options.workdir}",
        *([f"--result={options.json}"] if options.json else []),
        *([f"--beside={options.beside}"] if options.beside else []),
    ]


def shares(rows: Sequence[dict], twin: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return tasks, variants and, for each pair, the share of the way from memoryless to best; NaN where not trained.

    Args:
      rows: of a result of `podarcade.compare`.
      twin: the twin trained on and played. The bounds are those of the partial twin, whose optimum is the full one's.
    """
    chosen = [row for row in rows if row["task"]["twin"] == twin]
    tasks = list(dict.fromkeys(row["task"]["game"] for row in chosen))
    names = list(dict.fromkeys(row["variant"] for row in chosen))
    found = np.full((len(tasks), len(names)), np.nan)
    for row in chosen:
        share = results.bounds_of(row).share(float(np.mean(row["fresh"])))
        found[tasks.index(row["task"]["game"]), names.index(row["variant"])] = share
    return tasks, names, found


def draw(rows: Sequence[dict], path: Path) -> None:
    """Draw the shares, a panel for each twin that is there."""
    twins = [twin for twin in reversed(NAMES) if any(row["task"]["twin"] == twin for row in rows)]
    panels = [heat_map.Panel(f"trained and played on the {twin} twin", *shares(rows, twin)) for twin in twins]
    heat_map.draw(path, panels, 0.0, 1.0, "share of the way\nfrom memoryless to best")


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, and draw; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(HEADLINE), help="comma-separated names")
    parser.add_argument("--memories", default=",".join(MEMORIES), help="comma-separated names")
    parser.add_argument("--inits", default=",".join(INITS), help="comma-separated: paper, matched")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each run")
    parser.add_argument("--workdir", default=WORKDIR, help="folder of the runs")
    parser.add_argument("--json", default="", help="file of the results, pictures beside it; empty: in the folder")
    parser.add_argument("--beside", default="", help="earlier results of other agents, which are added")
    options = parser.parse_args(arguments[1:])
    code = compare.main(command(options))
    path = Path(options.json or Path(options.workdir) / "results.json")
    if path.exists():
        rows, _ = results.read_rows(path, None)
        draw(rows, path.with_name(f"{path.stem}-shares.png"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
