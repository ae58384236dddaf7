"""Learning checks on real games, minutes long: `pytest -m slow`. Their short siblings are in test_pqn.py."""

import numpy as np
import pytest

from podarcade import launch
from podarcade.anakin.writer import read_metrics

pytestmark = pytest.mark.slow


def greedy_returns(workdir, arguments, *overrides, twin, seeds=3, last=5):
    """Greedy return of each seed, mean of the last evaluations; and the first record."""
    command = [f"--config=configs/pqn_lru.py:preset=cpu,{arguments}", f"--workdir={workdir}", f"--config.seeds={seeds}"]
    assert launch.main(["launch", *command, *overrides]) == 0
    records = read_metrics(workdir / "metrics.jsonl")
    evaluated = [record[f"eval/return_{twin}"] for record in records if f"eval/return_{twin}" in record]
    return np.mean(evaluated[-last:], axis=0), records[0]
