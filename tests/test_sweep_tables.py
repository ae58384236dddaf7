"""What a sweep ends in: the tidy table against the records it is made of, and the scores of its complete runs."""

import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest
from running import ROOT

from podarcade.reporting import leaderboard, results, scores, sweep_tables
from podarcade.sweeps import jobs

BASE = f"{ROOT}/configs/ppo.py:preset=smoke"
VARIANTS = ("none:memory=none", "gru:memory=gru", "fast:memory=gru,config.algorithm.learning_rate=0.25")


def plan(folder, variants=VARIANTS, tasks="tmaze/partial,navigator/full", seeds=2):
    read = [jobs.read_variant(text, BASE) for text in variants]
    return jobs.plan([jobs.read_task(task) for task in tasks.split(",")], read, seeds, [], folder)


def train(job, offset=0.0):
    """Write what a run of two evaluations leaves behind."""
    job.workdir.mkdir(parents=True, exist_ok=True)
    records = []
    for index, updates in enumerate((0, job.total_updates // 2, job.total_updates)):
        record = {"updates": updates, "frames": [100 * index, 100 * index + 1], "seconds": 1.0 + index}
        for twin, base in (("full", 0.5), ("partial", 0.25)):
            record[f"eval/return_{twin}"] = [base + offset + index, base + offset + 2 * index]
            record[f"random/return_{twin}"] = [-1.0, -1.0]
        records += [record, {"updates": updates, "frames": [0, 0], "seconds": 1.0, "train/loss": [0.0, 0.0]}]
    records.pop()
    records[-1] |= {"final/return_full": [7.0, 8.0], "final/return_partial": [5.0, 6.0]}
    (job.workdir / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (job.workdir / "learning_curve.svg").write_text("")
    start = {"started": "2026-11-30T10:00:00+00:00", "code": {"commit": "c" * 40, "clean": True}, "devices": ["cpu"]}
    (job.workdir / "run.json").write_text(json.dumps([start]))


@pytest.fixture
def trained(tmp_path):
    runs = plan(tmp_path)
    for index, job in enumerate(runs[:-1]):
        train(job, index / 8)
    return runs


def test_the_table_has_a_row_for_each_run_seed_and_evaluation(trained, tmp_path):
    columns = sweep_tables.tidy(trained, tmp_path)
    assert {len(values) for values in columns.values()} == {5 * 2 * 3}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    assert rows[4] == {
        "run": "tmaze-easy-partial/none", "task": "tmaze-easy-partial", "game": "tmaze", "level": "easy",
        "twin": "partial", "agent": "none", "config.algorithm.learning_rate": rows[4]["config.algorithm.learning_rate"],
        "config.memory.name": "none", "config.network.inputs": "o", "seed": 1, "complete": True,
        "updates": trained[0].total_updates // 2, "frames": 101, "return": 2.25, "return_full": 2.5,
        "return_partial": 2.25, "final": None, "final_full": None, "final_partial": None,
    }  # fmt: skip
    last = [row for row in rows if row["final"] is not None]
    assert [(row["run"], row["seed"]) for row in last] == [
        (str(job.workdir.relative_to(tmp_path)), seed) for job in trained[:-1] for seed in (0, 1)
    ]
    assert [row["final"] for row in last[:2]] == [5.0, 6.0], "on the partial twin, which it trained on"
    assert [row["final"] for row in last[-2:]] == [7.0, 8.0], "on the full twin"
    assert {row["config.algorithm.learning_rate"] for row in rows if row["agent"] == "fast"} == {0.25}


def test_an_option_is_a_column_where_runs_of_one_task_differ(tmp_path):
    """Not where only tasks differ, nor an option of one plug-in alone, nor the numbers of the seeds."""
    variants = ("gru:memory=gru,config.seed=7,config.seeds=1", "none:memory=none", "long:memory=gru,config.frames=4096")
    assert sweep_tables.differing(plan(tmp_path, variants, "tmaze/hard/partial,navigator/full")) == [
        "config.frames", "config.memory.name", "config.network.inputs",
    ]  # fmt: skip
    alone = plan(tmp_path, ("gru:memory=gru",), "tmaze/hard/partial,tmaze/full,navigator/full")
    assert sweep_tables.differing(alone) == []


def test_csv_and_parquet_hold_the_same(trained, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    lines = sweep_tables.write(trained, tmp_path, "mine", 0.25)
    assert lines[-1] == f"scores of 5 of 6 runs: {tmp_path}/scores/mine.json" and len(lines) == 3
    text, binary = pandas.read_csv(tmp_path / "sweep.csv"), pandas.read_parquet(tmp_path / "sweep.parquet")
    pandas.testing.assert_frame_equal(text, binary, check_dtype=False)
    assert len(text.dropna(subset=["final"])) == 10


def test_without_pyarrow_the_csv_is_written_alone(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    lines = sweep_tables.write(trained, tmp_path, "mine", 0.25)
    assert "sweep.parquet is not written: it needs pyarrow (pip install 'podarcade[export]')" in lines
    assert (tmp_path / "sweep.csv").exists() and not (tmp_path / "sweep.parquet").exists()


def test_scores_are_those_of_the_complete_runs(trained, tmp_path):
    sweep_tables.write(trained, tmp_path, "mine", 0.25)
    rows = scores.read(tmp_path / "scores" / "mine.json")
    assert [(row["task"]["game"], row["agent"]) for row in rows] == [
        ("tmaze", "none"), ("tmaze", "gru"), ("tmaze", "fast"), ("navigator", "none"), ("navigator", "gru"),
    ]  # fmt: skip
    assert rows[0]["final"] == [5.0, 6.0] and rows[3]["final"] == [7.0, 8.0]
    assert rows[0]["end"] == [2.25, 4.25], "the last of three evaluations is in the last quarter"
    assert rows[0]["area"] == [1.25, 2.25], "returns rise by 1 and by 2 an evaluation"
    assert rows[2]["changes"] == {"algorithm.learning_rate": 0.25} and rows[1]["changes"] == {}
    assert {row["kind"] for row in rows[:3]} == {"vector"} and {row["kind"] for row in rows[3:]} == {"pixels"}
    assert rows[0]["origin"]["commit"] == "c" * 40 and rows[0]["origin"]["date"] == "2026-11-30"
    assert rows[0]["command"] == f"podarcade launch --config={trained[0].arguments[0].removeprefix('--config=')} " + (
        "--config.seeds=2"
    )


def test_a_run_that_is_refused_is_reported_and_the_others_are_kept(trained, tmp_path):
    records = trained[1].records()
    records[-1]["final/return_partial"] = [1.0, None]
    path = trained[1].workdir / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    *_, line, warning = sweep_tables.write(trained, tmp_path, "mine", 0.25)
    assert line.startswith("scores of 4 of 6 runs")
    assert warning.startswith(
        "WARNING: no scores of a run, tmaze-easy-partial gru: final=[1.0, nan]; expected a finite"
    )


def test_runs_of_one_name_that_differ_in_a_value_are_agents_of_their_own(tmp_path):
    runs = plan(tmp_path, ("gru:memory=gru", "fast:memory=gru,config.algorithm.learning_rate=0.25"), "tmaze/partial")
    same = [dataclasses.replace(job, variant="gru") for job in runs]
    assert sweep_tables.agents(same) == ["gru, learning_rate=0.0005", "gru, learning_rate=0.25"]
    assert sweep_tables.agents(runs) == ["gru", "fast"]


def test_an_agent_has_its_name_before_the_others_are_complete(tmp_path):
    runs = plan(tmp_path, ("gru:memory=gru", "fast:memory=gru,config.algorithm.learning_rate=0.25"), "tmaze/partial")
    same = [dataclasses.replace(job, variant="gru") for job in runs]
    train(same[1])
    sweep_tables.write(same, tmp_path, "mine", 0.25)
    assert [row["agent"] for row in scores.read(tmp_path / "scores" / "mine.json")] == ["gru, learning_rate=0.25"]


def test_runs_of_one_name_that_differ_in_seeds_are_pooled(tmp_path):
    first, more = (
        plan(tmp_path / str(seed), (f"gru:memory=gru,config.seed={seed}",), "tmaze/partial")[0] for seed in (0, 2)
    )
    for job in (first, more):
        train(job)
    rows, refused = sweep_tables.score_rows([first, more], 0.25)
    assert not refused
    assert [row["agent"] for row in rows] == ["gru", "gru"]
    (group,) = leaderboard.groups(rows)
    (cell,) = group.cells.values()
    assert cell.seeds == [0, 1, 2, 3] and cell.values("final").tolist() == [5, 6, 5, 6]


def test_a_longer_run_keeps_the_name_of_its_agent(tmp_path):
    """Budgets are compared apart from each other, so that they need no names."""
    runs = plan(tmp_path, ("gru:memory=gru", "long:memory=gru,config.frames=4096"), "tmaze/partial")
    assert sweep_tables.agents([dataclasses.replace(job, variant="gru") for job in runs]) == ["gru", "gru"]


def test_a_sweep_without_a_complete_run_has_no_scores(tmp_path):
    runs = plan(tmp_path)
    assert len(sweep_tables.write(runs, tmp_path, "mine", 0.25)) == 2
    assert not (tmp_path / "scores").exists()
    assert (tmp_path / "sweep.csv").read_text().startswith("run,task,game,level,twin,agent,config.")


def test_the_table_of_the_repository_is_read_as_recorded():
    """Scores of the study of where memory matters are those of its result, to the last recorded digit."""
    rows = scores.read(ROOT / "benchmarks" / "scores" / "needs_memory.json")
    recorded, _ = results.read_rows(pathlib.Path(ROOT / "benchmarks" / "results" / "needs_memory-cpu.json"))
    found = {(results.task_name(row), row["agent"]): row for row in rows}
    assert len(rows) == len(found) == len(recorded)
    for known in recorded:
        row = found[results.task_name(known), known["variant"]]
        np.testing.assert_allclose(row["final"], known["fresh"], atol=1e-6)
        np.testing.assert_allclose(row["end"], known["end"], atol=1e-6)
        assert np.mean(row["area"]) == pytest.approx(known["area"], abs=1e-6)
