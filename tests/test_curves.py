"""Learning curves: what is asked for, what is read off the records, and the picture."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import curves

ROOT = pathlib.Path(__file__).parent.parent


def records(returns, twin="partial", frames=100):
    """Records of a run of some seeds, evaluated at 0, 100, 200, ... frames; returns are [n][S]."""
    other = "full" if twin == "partial" else "partial"
    return [
        {"frames": [frames * index] * len(row), "seconds": 2.0 * index, f"eval/return_{twin}": row,
         f"eval/return_{other}": [0.5] * len(row), f"random/return_{twin}": [-1.0] * len(row)}
        for index, row in enumerate(returns)
    ]  # fmt: skip


def test_tasks_are_read():
    assert curves.read_task("tetris/partial") == curves.Task("tetris", "easy", "partial")
    assert curves.read_task("tetris/hard/full").name == "tetris-hard-full"
    for text in ("tetris", "tetris/easy", "tetris/easy/both", "a/b/c/full"):
        with pytest.raises(ValueError, match="GAME/TWIN or GAME/LEVEL/TWIN"):
            curves.read_task(text)


def test_variants_are_read():
    base = "configs/pqn_lru.py:preset=cpu"
    assert curves.read_variant("plain", base) == curves.Variant("plain", "configs/pqn_lru.py", ("preset=cpu",), ())
    wide = curves.read_variant("wide:memory=gru,config.network.width=256", base)
    assert wide == curves.Variant(
        "wide", "configs/pqn_lru.py", ("preset=cpu", "memory=gru"), ("config.network.width=256",)
    )
    other = curves.read_variant("old:file=configs/popgym_arcade/pqn.py,version=v1", base)
    assert other == curves.Variant("old", "configs/popgym_arcade/pqn.py", ("version=v1",), ())
    switched = curves.read_variant("switched:config.environment.observability=full,partial@1e5,memory=gru", base)
    assert switched.overrides == ("config.environment.observability=full,partial@1e5",)
    assert switched.arguments == ("preset=cpu", "memory=gru")
    with pytest.raises(ValueError, match="'memory' has no value"):
        curves.read_variant("x:memory", base)


def test_a_summary_is_of_the_last_evaluations():
    found = curves.summary(records([[0, 0], [1, 3], [2, 4], [3, 5]]), "partial", last=0.5)
    assert found["end"] == [2.5, 4.5] and found["mean"] == 3.5 and found["best"] == [3, 5]
    assert found["area"] == pytest.approx((0 + 2) / 2 / 3 + (2 + 3) / 2 / 3 + (3 + 4) / 2 / 3)
    assert (found["other_twin"], found["random"], found["start"], found["frames"]) == (0.5, -1.0, 0.0, 300)
    # Both seeds' frames, in the seconds of both.
    assert found["frames_per_second"] == 300 * 2 / 6.0
    assert "evaluation_seconds" not in found
    assert 2.5 <= found["band"][0] < 3.5 < found["band"][1] <= 4.5


def test_a_summary_is_over_the_same_frames_however_often_a_run_was_evaluated():
    """Both returns rise by 1 in 100 frames: over the last half of 800 they are 6 in the mean."""
    often = curves.summary(records([[i, i] for i in range(9)], frames=100), "partial", last=0.5)
    seldom = curves.summary(records([[2 * i, 2 * i] for i in range(5)], frames=200), "partial", last=0.5)
    assert often["mean"] == seldom["mean"] == 6.0 and often["end"] == seldom["end"] == [6.0, 6.0]


def test_the_time_of_evaluations_is_added_up():
    timed = [record | {"eval/seconds": 0.5} for record in records([[0, 0], [1, 3], [2, 4]])]
    timed[0]["random/seconds"] = 2.0
    assert curves.summary(timed, "partial", last=0.1)["evaluation_seconds"] == 3.5


def test_one_seed_is_a_number_and_has_no_band():
    single = [
        {key: value[0] if isinstance(value, list) else value for key, value in r.items()} for r in records([[0], [2]])
    ]
    found = curves.summary(single, "partial", last=0)
    assert found["end"] == [2.0] and found["band"] == [2.0, 2.0]


def test_the_band_covers_the_mean_as_often_as_it_says():
    """Of 300 samples of ten seeds, normal with mean 0: a percentile bootstrap of so few is somewhat narrow."""
    values = np.random.default_rng(1).normal(size=(300, 10))
    low, high = curves.band(values)
    assert 0.85 < np.mean((low < 0) & (high > 0)) < 0.97
    np.testing.assert_array_equal(curves.band(values)[0], low)


def test_returns_are_normalised_as_published():
    assert curves.normalised(0.5, "tetris") == 0.75
    assert curves.normalised(0.6, "breakout") == 1.0
    assert curves.normalised(0.6, "cartpole") == 0.6


def rows(names):
    """As a result file has them: two tasks, variants of two seeds."""
    tasks = [curves.read_task("tetris/full"), curves.read_task("tetris/partial")]
    made = [(task, name, records([[0, 0], [0.1, 0.3]], task.twin)) for task in tasks for name in names]
    return [
        {"task": task._asdict(), "variant": name, "memory_parameters": 1, "curve": curves.greedy(run)}
        | curves.summary(run, task.twin, 0.1)
        for task, name, run in made
    ]


def test_a_curve_is_kept_with_both_twins():
    assert rows(["a"])[1]["curve"] == {
        "frames": [0, 100], "partial": [[0, 0], [0.1, 0.3]], "full": [[0.5, 0.5], [0.5, 0.5]]
    }  # fmt: skip


def test_what_a_kept_curve_came_to_is_read_off_anew():
    kept = rows(["a"])[1]["curve"]
    whole = curves.ending(kept, "partial", last=1)
    assert whole["end"] == [0.05, 0.15] and whole["mean"] == pytest.approx(0.1) and whole["other_twin"] == 0.5
    assert curves.ending(kept, "partial", last=0)["end"] == [0.1, 0.3]


def test_the_picture_has_a_panel_per_task(tmp_path):
    pytest.importorskip("matplotlib")
    # The last is on the second task alone, and belongs into the legend all the same.
    curves.draw(rows(["a", "b"]) + rows(["c"])[1:], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_earlier_results_are_read(tmp_path):
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps({"runs": rows(["a"])}), encoding="utf-8")
    assert curves.read_rows(path) == rows(["a"])
    del (curveless := rows(["a", "b"]))[0]["curve"]
    for text, message in (
        (json.dumps({"runs": curveless}), "holds no curve of a; make it anew"),
        ('{"rows": []}', "is no result of this benchmark"),
        ("{", "is no result of this benchmark"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            curves.read_rows(path)
    with pytest.raises(ValueError, match="is no result of this benchmark"):
        curves.read_rows(tmp_path / "missing.json")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A folder with two variants, trained in processes side by side, and the command that did it."""
    tmp_path = tmp_path_factory.mktemp("learnt")
    command = [sys.executable, "-m", "benchmarks.learning", "--config=configs/pqn_lru.py:preset=smoke,memory=none"]
    command += ["--tasks=cartpole/full", "--variant=plain", "--seeds=1"]
    command += ["--variant=once:config.algorithm.num_epochs=1,config.seeds=2"]
    command += ["--override=frames=128", "--processes=2", f"--folder={tmp_path}", f"--result={tmp_path}/result.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path, command


def test_variants_train_in_processes_side_by_side(learnt):
    tmp_path, command = learnt
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    rows, last = result["runs"], result["last"]
    assert last == 0.25, "a default is recorded as well"
    assert [(row["variant"], row["config"]["algorithm"]["num_epochs"]) for row in rows] == [("plain", 2), ("once", 1)]
    assert [len(row["end"]) for row in rows] == [1, 2], "a variant's own override has to win"
    assert "1 x cpu" in (tmp_path / "cartpole-easy-full" / "once" / "console.txt").read_text(encoding="utf-8")
    stopped = subprocess.run(
        [*command, "--override=checkpoint.every=0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 1 and "error: cartpole-easy-full plain: the run ended with code 1" in stopped.stderr


@pytest.mark.slow
def test_earlier_results_are_written_beside_the_new(learnt):
    tmp_path, command = learnt
    rows = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["runs"]
    again = [*command, f"--beside={tmp_path}/result.json", f"--result={tmp_path}/both.json"]
    twice = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=False)
    assert twice.returncode == 1 and "has 'plain' on cartpole-easy-full, which is there already" in twice.stderr
    elsewhere = rows[0] | {"task": curves.read_task("tetris/full")._asdict()}
    for earlier, name in (([elsewhere], "elsewhere"), ([*rows, elsewhere], "result")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": earlier}), encoding="utf-8")
    stopped = subprocess.run(
        [*command, f"--beside={tmp_path}/elsewhere.json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 1 and "elsewhere.json has no run on cartpole-easy-full" in stopped.stderr
    again = [word for word in again if not word.startswith("--variant")] + ["--variant=new:config.seeds=1"]
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    both = json.loads((tmp_path / "both.json").read_text(encoding="utf-8"))["runs"]
    assert [row["variant"] for row in both] == ["new", "plain", "once"] and both[1:] == rows
