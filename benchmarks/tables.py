"""Write the tables of README.md and docs/ from the recorded results and from the plug-ins.

    python -m benchmarks.tables
    python -m benchmarks.tables --check

Every block between `<!-- table: NAME -->` and `<!-- end -->` is replaced by the table called NAME. With --check nothing
is written, and the exit code is 1 if a file differs from what its results give.
"""

import functools
import pathlib
import re
import sys
from collections.abc import Callable

from benchmarks import (
    popgym_arcade,
    tables_of_accelerators,
    tables_of_diagnosis,
    tables_of_learning,
    tables_of_speed,
    tables_of_tasks,
)
from podarcade import plugins

ROOT = pathlib.Path(__file__).parent.parent
OPEN = r"^<!-- table: (?P<name>[\w-]+) -->\n"
BLOCK = re.compile(rf"(?P<open>{OPEN})(?P<body>.*?)(?P<close>^<!-- end -->)", re.DOTALL | re.MULTILINE)

COMPARISONS = (
    "learning-cpu",
    "learning-cpu-short_rollouts",
    "learning-cpu-epyc",
    "learning-cpu-breakout",
    "algorithms-cpu",
    "algorithms-full-cpu",
    "algorithms-hard-cpu",
    "ablation-cpu",
    "ablation-feed_forward-cpu",
)
TABLES: dict[str, Callable[[], str]] = {
    "variations": tables_of_learning.variations,
    "algorithm-speed": tables_of_speed.algorithm_speed,
    "every-memory": tables_of_learning.every_memory,
    "environments": tables_of_speed.environments,
    "task-speed": tables_of_speed.task_speed,
    "task-speed-levels": tables_of_speed.task_speed_levels,
    "training-tasks": tables_of_speed.training_tasks,
    "headline-speed": tables_of_speed.headline_speed,
    "atari": tables_of_speed.atari,
    "training-against": tables_of_speed.training_against,
    "training": tables_of_speed.training,
    "training-seeds": tables_of_speed.training_seeds,
    "side-by-side": tables_of_speed.side_by_side,
    "scaling": tables_of_speed.scaling,
    "scaling-predicted": tables_of_speed.scaling_predicted,
    "memory-speed": tables_of_speed.memory_speed,
    "programs": tables_of_accelerators.programs,
    "compiled-programs": tables_of_accelerators.compiled_programs,
    "checkpoints": tables_of_speed.checkpoints,
    "accelerator": tables_of_accelerators.accelerator,
    "roofline": tables_of_accelerators.roofline,
    "staleness": tables_of_learning.staleness,
    "parity": tables_of_learning.parity,
    "games": tables_of_tasks.games,
    "memories": tables_of_learning.memories,
    "keep": tables_of_learning.keep,
    "channel": tables_of_learning.channel,
    "tasks": tables_of_tasks.tasks,
    "game-bounds": tables_of_tasks.game_bounds,
    "game-policies": tables_of_tasks.game_policies,
    "task-bounds": tables_of_tasks.task_bounds,
    "needs-memory-partial": functools.partial(tables_of_tasks.needs_memory, "partial"),
    "needs-memory-full": functools.partial(tables_of_tasks.needs_memory, "full"),
    "needs-memory-inits-partial": functools.partial(tables_of_tasks.needs_memory_inits, "partial"),
    "needs-memory-inits-full": functools.partial(tables_of_tasks.needs_memory_inits, "full"),
    "gap-bias": tables_of_tasks.gap_bias,
    "recall-partial": tables_of_diagnosis.recall_partial,
    "recall-full": tables_of_diagnosis.recall_full,
    "contamination-partial": functools.partial(tables_of_diagnosis.contamination, "partial"),
    "contamination-full": functools.partial(tables_of_diagnosis.contamination, "full"),
    "probes": tables_of_diagnosis.probes,
    "twins": tables_of_diagnosis.twins,
    "switches": tables_of_diagnosis.switches,
    "popgym-figures": popgym_arcade.figures,
    "popgym-drawings": popgym_arcade.drawings,
    "popgym-commands": popgym_arcade.commands,
    "task-presets-ppo": functools.partial(tables_of_tasks.task_presets, "ppo"),
}


@functools.cache
def make(name: str) -> str:
    """Return the table called `name`: one of `TABLES`, or the rows of one of `COMPARISONS`.

    Raises:
      ValueError: unknown table.
    """
    if name in COMPARISONS:
        return tables_of_learning.returns(name)
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}; {plugins.did_you_mean(name, [*TABLES, *COMPARISONS])}")
    return TABLES[name]()


def render(text: str) -> str:
    """Return a document with every marked block replaced by its table.

    Raises:
      ValueError: a block that is not closed, or an unknown table.
    """
    if len(re.findall(OPEN, text, re.MULTILINE)) != len(BLOCK.findall(text)):
        raise ValueError("a block <!-- table: NAME --> is not closed by <!-- end -->")
    return BLOCK.sub(lambda block: block["open"] + make(block["name"]) + block["close"], text)


def documents() -> list[pathlib.Path]:
    """Return README.md and all of docs/*.md."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main(arguments: list[str]) -> int:
    """Write or check all documents; return the exit code."""
    check = "--check" in arguments
    if unknown := [item for item in arguments[1:] if item != "--check"]:
        print(f"error: unknown argument {unknown[0]!r}; expected --check or nothing", file=sys.stderr)
        return 1
    stale = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        try:
            new = render(text)
        except (ValueError, OSError) as error:
            print(f"error: {path.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 1
        if new == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(new, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'stale; run python -m benchmarks.tables' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
