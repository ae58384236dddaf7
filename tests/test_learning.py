"""Learning checks in pixels, minutes long: `pytest -m slow`. Their short siblings are in test_algorithms.py."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from podarcade import plugins
from podarcade.runtime.metrics import read_metrics

ROOT = pathlib.Path(__file__).parent.parent
CUE = ROOT / "tests" / "cue_game.py"  # a plug-in that is not in the package
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def train(folder, name, arguments, *overrides, algorithm="pqn"):
    """Three seeds of an experiment, by the command line, outside of the tests' settings; its records."""
    optimised = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    config = f"--config={ROOT}/configs/{algorithm}.py:preset=cpu,{arguments}"
    command = [config, f"--workdir={folder / name}", "--config.seeds=3", *overrides]
    subprocess.run([sys.executable, "-m", "podarcade.launch", *command], check=True, env=optimised)
    return read_metrics(folder / name / "metrics.jsonl")


def greedy_at_the_end(records, twin="partial", last=3):
    """Greedy return of each seed, the mean of the last evaluations."""
    key = f"eval/return_{twin}"
    return np.mean([record[key] for record in records if key in record][-last:], axis=0)


@pytest.mark.parametrize(("algorithm", "rate"), [("pqn", 5e-4), ("ppo", 1e-3), ("dqn", 5e-4)])
def test_memory_is_needed_and_is_there(tmp_path, algorithm, rate):
    """A cue in the first frame decides the last reward: LRU and no memory, the same budget, three seeds each."""
    budget = "--config.frames=80000", f"--config.algorithm.learning_rate={rate}"
    memory = train(tmp_path, "lru", f"game={CUE},partial=true,memory=lru", *budget, algorithm=algorithm)
    control = train(tmp_path, "none", f"game={CUE},partial=true,memory=none", *budget, algorithm=algorithm)
    assert greedy_at_the_end(memory).min() > 0.9
    assert greedy_at_the_end(control).max() < 0.65


def test_without_memory_the_full_twin_is_enough(tmp_path):
    """The control's control: what the memoryless agent lacks is the cue, not the budget."""
    records = train(
        tmp_path, "full", f"game={CUE},partial=false,memory=none",
        "--config.frames=80000", "--config.algorithm.learning_rate=5e-4",
        "--config.algorithm.learning_rate_fraction=1.0",
    )  # fmt: skip
    assert greedy_at_the_end(records, "full").min() > 0.9


def test_the_default_experiment_learns(tmp_path):
    records = train(tmp_path, "default", "memory=lru")
    returns, first = greedy_at_the_end(records, last=5), records[0]
    assert returns.min() > np.max(first["random/return_partial"]) + 0.2
    assert returns.min() > np.max(first["eval/return_partial"]) + 0.2


def test_the_toy_game_is_no_part_of_the_package():
    assert "cue" not in plugins.names("games")
