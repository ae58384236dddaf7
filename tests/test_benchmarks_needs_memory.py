"""The study of where memory matters: what it trains, and how its results are read."""

import argparse
import json

import numpy as np
import pytest

from benchmarks import markdown, needs_memory, tables_of_tasks, task_presets
from podarcade.configuration import INITS
from podarcade.envs import bounds
from podarcade.runtime import differences
from podarcade.sweeps import jobs


def row(task: str, variant: str, twin: str, fresh: list[float]) -> dict:
    return {"task": {"game": task, "level": "easy", "twin": twin}, "variant": variant, "fresh": fresh}


def test_every_memory_with_time_scales_is_trained_at_both_initialisations():
    read = [
        jobs.read_variant(text, needs_memory.CONFIG) for text in needs_memory.variants(needs_memory.MEMORIES, INITS)
    ]
    matched = {variant.name for variant in read if "init=matched" in variant.arguments}
    assert matched == {"gru, matched", "lru, matched", "gated_deltanet, matched"}
    assert {variant.name for variant in read} - matched == set(needs_memory.MEMORIES)
    assert all(f"memory={variant.name.partition(',')[0]}" in variant.arguments for variant in read)


@pytest.mark.parametrize(("inits", "expected"), [("paper", ["gru", "none"]), ("matched", ["gru, matched"])])
def test_one_initialisation_can_be_trained_alone(inits, expected):
    names = [
        jobs.read_variant(text, needs_memory.CONFIG).name for text in needs_memory.variants(["gru", "none"], [inits])
    ]
    assert names == expected


def test_partial_twins_are_trained_first_and_a_control_sees_observations_only(tmp_path):
    options = {"tasks": "tmaze,memory_chain", "memories": "none,gru", "inits": "paper,matched", "seeds": 5}
    options |= {"workdir": str(tmp_path), "json": "", "beside": ""}
    words = needs_memory.command(argparse.Namespace(**options))
    tasks = next(word for word in words if word.startswith("--tasks=")).removeprefix("--tasks=").split(",")
    assert tasks == ["tmaze/partial", "memory_chain/partial", "tmaze/full", "memory_chain/full"]
    variants = [jobs.read_variant(text, needs_memory.CONFIG) for text in needs_memory.variants(["none", "gru"], INITS)]
    planned = jobs.plan([jobs.read_task("tmaze/partial")], variants, 5, [], tmp_path)
    assert [job.config["network"]["inputs"] for job in planned] == ["o", "oa", "oa"]
    assert all(job.config["seeds"] == 5 for job in planned)


def test_shares_run_from_the_memoryless_bound_to_the_best_one():
    known = bounds.find("TMazeEasy")
    rows = [
        row("tmaze", "none", "partial", [known.memoryless, known.memoryless]),
        row("tmaze", "gru", "partial", [known.memory, known.memoryless]),
        row("tmaze", "gru", "full", [known.memory]),
        row("memory_chain", "gru", "partial", [bounds.find("MemoryChainEasy").memory]),
    ]
    tasks, names, found = needs_memory.shares(rows, "partial")
    assert (tasks, names) == (["tmaze", "memory_chain"], ["none", "gru"])
    np.testing.assert_allclose(found, [[0, 0.5], [np.nan, 1]], atol=1e-6)


def test_a_picture_is_drawn_of_what_is_there(tmp_path):
    needs_memory.draw([row("tmaze", "none", "partial", [0.5]), row("tmaze", "gru", "full", [1.0])], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    known = bounds.find("TMazeEasy")
    below, above = (known.memoryless + share * (known.memory - known.memoryless) for share in (0.49, 0.51))
    rows = [row("tmaze", "none", "partial", [below] * 3), row("tmaze", "gru", "partial", [above] * 3)]
    (tmp_path / "needs_memory-cpu.json").write_text(json.dumps({"runs": rows}), encoding="utf-8")
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)


def test_the_table_marks_and_counts_what_passes_half_the_way(recorded):
    lines = tables_of_tasks.needs_memory("partial").splitlines()
    assert lines[0] == "| task | memoryless | best | none | gru |"
    assert lines[2].count("**") == 2 and lines[2].endswith("** |")
    assert lines[3] == "| past half the way |  |  | 0 of 1 | 1 of 1 |"


@pytest.mark.parametrize("algorithm", ["pqn", "ppo", "dqn"])
def test_the_sweep_of_a_preset_holds_the_preset_and_one_change_at_a_time(algorithm, tmp_path):
    base = f"configs/{algorithm}.py:preset=cpu"
    variants = [jobs.read_variant(text, base) for text in task_presets.variants(algorithm)]
    planned = jobs.plan([jobs.read_task("tmaze/partial")], variants, 3, [], tmp_path)
    plain = jobs.plan([jobs.read_task("tmaze/partial")], [jobs.read_variant("gru:memory=gru", base)], 3, [], tmp_path)
    preset = dict(differences.flatten(plain[0].config))
    changes = []
    for job in planned:
        config = dict(differences.flatten(job.config))
        if job.config["memory"]["name"] == "gru":
            changes.append([name for name, value in config.items() if value != preset[name]])
    assert changes.count([]) == 1 and max(map(len, changes)) == 1
