"""The door of comparisons: flags, a comparison from start to end, and results that are read again."""

import json
import os
import pathlib
import signal
import time

import pytest
from running import ROOT, spawn

from podarcade import compare, popgym_arcade
from podarcade.reporting import results

CONFIG = f"--config={ROOT}/configs/pqn_lru.py:preset=smoke,memory=none"


def run(*arguments):
    return compare.main(["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with two variants, trained side by side, and the arguments that did it."""
    folder = tmp_path_factory.mktemp("compared")
    arguments = [CONFIG, "--tasks=cartpole/full", "--variant=plain", "--seeds=1", "--override=config.frames=128"]
    arguments += ["--variant=once:config.algorithm.num_epochs=1,config.seeds=2", "--processes=2", f"--workdir={folder}"]
    assert run(*arguments) == 0
    return folder, arguments


def test_variants_train_side_by_side(finished):
    folder, _ = finished
    result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    rows, last = result["runs"], result["last"]
    assert last == 0.25, "a default is recorded as well"
    assert [(row["variant"], row["config"]["algorithm"]["num_epochs"]) for row in rows] == [("plain", 2), ("once", 1)]
    assert [row["seeds"] for row in rows] == [[0], [0, 1]], "a variant's own override has to win"
    assert [row["interval"] is None for row in rows] == [True, False]
    assert "1 x cpu" in (folder / "cartpole-easy-full" / "once" / "console.txt").read_text(encoding="utf-8")
    for name in ("results.png", "results-returns.png"):
        assert (folder / name).stat().st_size > 10_000


def test_finished_runs_are_read_and_not_launched_again(finished, capsys):
    folder, arguments = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cartpole*/**/*")}
    assert run(*arguments) == 0
    output = capsys.readouterr().out
    assert output.count("; read from ") == 2 and "2 of 2 runs" in output
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("cartpole*/**/*")}
    assert "WARNING: unequal numbers of seeds (plain: 1, once: 2) on cartpole-easy-full" in output


def test_an_earlier_result_is_shown_without_training(finished, tmp_path, capsys):
    folder, _ = finished
    (tmp_path / "copy.json").write_text((folder / "results.json").read_text())
    assert run(f"--show={tmp_path}/copy.json") == 0
    assert "cartpole-easy-full  once" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"copy.json", "copy.png", "copy-returns.png"}


def test_earlier_results_are_pooled_and_written_beside_the_new(finished, tmp_path, capsys):
    folder, arguments = finished
    rows, _ = results.read_rows(folder / "results.json")
    elsewhere = rows[0] | {"task": {"game": "tetris", "level": "easy", "twin": "full"}}
    more = rows[0] | {"seeds": [7]}
    other = rows[0] | {"config": rows[0]["config"] | {"num_envs": 32}}
    for name, runs in (("elsewhere", [elsewhere]), ("more", [more, elsewhere]), ("other", [other])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    assert run(*arguments, f"--beside={tmp_path}/elsewhere.json") == 1
    assert "elsewhere.json has no run on cartpole-easy-full" in capsys.readouterr().err
    assert run(*arguments, f"--beside={tmp_path}/other.json") == 1
    assert "two configurations are called 'plain' on cartpole-easy-full" in capsys.readouterr().err
    assert run(*arguments, f"--beside={tmp_path}/more.json", f"--result={tmp_path}/both.json") == 0
    plain, once = results.read_rows(tmp_path / "both.json")[0]
    assert (plain["seeds"], once["seeds"]) == ([0, 7], [0, 1])
    assert "dropped" not in capsys.readouterr().out
    assert run(*arguments, f"--beside={folder}/results.json", f"--result={tmp_path}/same.json") == 0
    assert "plain: dropped the second result of seeds 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stray"], "unexpected argument 'stray'"),
        (["--seed=3"], "Did you mean: seeds"),
        (["--seeds=0"], "--seeds=0"),
        (["--override=frames=128"], "expected config.x=y"),
        (["--tasks=chess/full"], "chess"),
        (["--tasks=tetris"], "expected GAME/TWIN or GAME/LEVEL/TWIN"),
        (["--memories=lruu"], "lru"),
        (["--show=none.json"], "none.json is not a result"),
    ],
)
def test_errors_are_one_line_and_write_nothing(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(CONFIG, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_names_the_flags(capsys):
    assert run("--help") == 0
    output = capsys.readouterr().out
    assert "--[no]ablate" in output and "--memories" in output and "results.json" in output


def test_the_folder_is_named_after_what_the_runs_share():
    options = compare.make_flags()
    options(["compare", "--config=configs/ppo.py:preset=cpu", "--override=config.frames=1000", "--memories=lru,none"])
    assert compare.default_workdir(options) == pathlib.Path("runs/compare-ppo-preset=cpu-frames=1000-seeds=3")
    options = compare.make_flags()
    options(["compare", "--config=configs/popgym_arcade/pqn.py:version=v1,preset=cpu", "--seeds=5"])
    assert compare.default_workdir(options).name == "compare-popgym_arcade-pqn-version=v1,preset=cpu-seeds=5"


def test_an_ablation_has_a_variant_without_each_quirk(monkeypatch):
    monkeypatch.setattr(popgym_arcade, "switches", lambda config: ["algorithm.window_loss"], raising=False)
    options = compare.make_flags()
    options(["compare", f"--config={ROOT}/configs/pqn_lru.py:preset=smoke", "--ablate"])
    every, without = compare.variants(options)
    assert every.name == "all quirks" and not every.overrides
    assert without.name == "without window_loss" and without.overrides == ("config.algorithm.window_loss=false",)


@pytest.mark.slow  # what stops is tested with stand-ins in test_sweeps; this is a real run, which resumes
def test_a_stopped_comparison_leaves_checkpoints_and_no_children(tmp_path):
    command = [CONFIG, "--tasks=cartpole/full", "--seeds=1", f"--workdir={tmp_path}", "--override=config.frames=64000"]
    process = spawn("-m", "podarcade.compare", *command, "--override=config.checkpoint.every=1000")
    run_folder = tmp_path / "cartpole-easy-full" / "default"
    path, deadline = run_folder / "metrics.jsonl", time.monotonic() + 300
    while not (path.exists() and path.read_text().count("\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    pid = json.loads((run_folder / "lock").read_text())["pid"]
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "1 of 1 runs are not complete; re-run the same command to resume" in output
    assert list((run_folder / "checkpoints").iterdir()) and not pathlib.Path(f"/proc/{pid}").exists()
    assert os.path.getsize(path)
