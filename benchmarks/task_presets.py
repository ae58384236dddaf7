"""The sweep behind the presets of tasks without pixels: what a change of one choice does on four partial twins.

    python -m benchmarks.task_presets --algorithm=ppo --json=benchmarks/results/tasks-presets-ppo-cpu.json

Three learning rates with gru and lru; half and twice the environments and the rollout length with gru.
`podarcade.compare` trains the runs: re-run the same command to resume.
"""

import argparse
import sys
from collections.abc import Sequence

from podarcade import compare, presets

TASKS = ("tmaze", "repeat_previous", "repeat_first", "position_only_cartpole")
MEMORIES = ("lru", "gru")
RATES = ("3e-4", "1e-3", "3e-3")


def variants(algorithm: str) -> list[str]:
    """Return the variants of a comparison; the preset is one of them."""
    config = presets.experiment(algorithm, "game=tmaze,preset=cpu")
    rates = [
        f"{memory}, learning rate {rate}:memory={memory},config.algorithm.learning_rate={rate}"
        for memory in MEMORIES
        for rate in RATES
    ]
    length = config.algorithm.rollout_length
    sizes = [(f"{size} environments", f"config.num_envs={size}") for size in _around(config.num_envs)]
    sizes += [(f"rollouts of {size}", f"config.algorithm.rollout_length={size}") for size in _around(length)]
    return [*rates, *(f"gru, {name}:memory=gru,{change}" for name, change in sizes)]


def _around(size: int) -> tuple[int, int]:
    return size // 2, 2 * size


def command(options: argparse.Namespace) -> list[str]:
    """Return the command line of `podarcade.compare`."""
    return [
        "compare",
        f"--config=configs/{options.algorithm}.py:preset=cpu",
        f"--tasks={','.join(f'{task}/partial' for task in TASKS)}",
        *(f"--variant={text}" for text in variants(options.algorithm)),
        f"--seeds={options.seeds}",
        f"--workdir={options.workdir or f'runs/task_presets-{options.algorithm}'}",
        *([f"--result={options.json}"] if options.json else []),
    ]


def main(arguments: Sequence[str]) -> int:
    """Train what is missing; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", default="ppo", choices=["pqn", "ppo", "dqn"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run")
    parser.add_argument("--workdir", default="", help="folder of the runs; by default in runs/")
    parser.add_argument("--json", default="", help="file of the results, pictures beside it; empty: in the folder")
    options = parser.parse_args(arguments[1:])
    return compare.main(command(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
