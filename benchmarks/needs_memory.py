"""Where memory matters: agents without and with memory on eight tasks without pixels, on both twins, in one command.

    python -m benchmarks.needs_memory --json=benchmarks/results/needs_memory-cpu.json
    python -m benchmarks.needs_memory --tasks=tmaze,repeat_first --memories=none,lru --seeds=2

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

from benchmarks.tables_of_tasks import HEADLINE
from podarcade import compare, plugins
from podarcade.envs.observability import NAMES
from podarcade.reporting import results

MEMORIES = ("none", "stack", "gru", "lru", "gated_deltanet", "transformer")
CONFIG = "configs/ppo.py:preset=cpu,match=parameters"
MATCHED = "{}, matched"  # name of the variant of a memory with `init=matched`
WORKDIR = "runs/needs_memory"


def variants(memories: Sequence[str]) -> list[str]:
    """Return the variants of a comparison: each memory at its own initialisation, then those with `init=matched`."""
    matched = [name for name in memories if hasattr(plugins.find("memory", name), "init_horizon")]
    return [
        *(f"{name}:memory={name}" for name in memories),
        *(f"{MATCHED.format(name)}:memory={name},init=matched" for name in matched),
    ]


def command(tasks: Sequence[str], memories: Sequence[str], seeds: int, workdir: str, path: str) -> list[str]:
    """Return the command line of `podarcade.compare`, partial twins first."""
    return [
        "compare",
        f"--config={CONFIG}",
        f"--tasks={','.join(f'{task}/{twin}' for twin in reversed(NAMES) for task in tasks)}",
        *(f"--variant={text}" for text in variants(memories)),
        f"--seeds={seeds}",
        f"--workdir={workdir}",
        *([f"--result={path}"] if path else []),
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
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = [
        (twin, *shares(rows, twin)) for twin in reversed(NAMES) if any(row["task"]["twin"] == twin for row in rows)
    ]
    height = 1.9 + 0.42 * max(len(tasks) for _, tasks, *_ in panels)
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(6.5 * len(panels), height), layout="constrained", squeeze=False
    )
    for (twin, tasks, names, values), axis in zip(panels, axes[0], strict=True):
        image = axis.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            if np.isfinite(value):
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
        axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axis.set_yticks(range(len(tasks)), tasks)
        axis.set_title(f"trained and played on the {twin} twin")
    figure.colorbar(image, ax=axes, label="share of the way\nfrom memoryless to best")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, and draw; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(HEADLINE), help="comma-separated names")
    parser.add_argument("--memories", default=",".join(MEMORIES), help="comma-separated names")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each run")
    parser.add_argument("--workdir", default=WORKDIR, help="folder of the runs")
    parser.add_argument("--json", default="", help="file of the results, pictures beside it; empty: in the folder")
    options = parser.parse_args(arguments[1:])
    tasks, memories = options.tasks.split(","), options.memories.split(",")
    code = compare.main(command(tasks, memories, options.seeds, options.workdir, options.json))
    path = Path(options.json or Path(options.workdir) / "results.json")
    if path.exists():
        rows, _ = results.read_rows(path, None)
        draw(rows, path.with_name(f"{path.stem}-shares.png"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
