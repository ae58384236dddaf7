"""Sweeps: what is planned, and that children are watched, stopped and ended with their parent."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console as Screen

from podarcade.runtime import supervisor
from podarcade.sweeps import jobs, processes, programs, progress
from podarcade.sweeps.programs import Program

ROOT = pathlib.Path(__file__).parent.parent
CHILD = ROOT / "tests" / "sweep_child.py"
SMOKE = f"{ROOT}/configs/pqn_lru.py:preset=smoke"
CONFIG = {"num_envs": 1, "frames": 4, "seeds": 2, "updates_per_call": 1, "algorithm": {"rollout_length": 1}}
TASK = jobs.Task("tetris", "easy", "partial")


def test_tasks_are_read():
    assert jobs.read_task("tetris/partial") == TASK
    assert jobs.read_task("tetris/hard/full").name == "tetris-hard-full"
    outside = jobs.read_task("my/games/tmaze.py/partial")
    assert outside == jobs.Task("my/games/tmaze.py", "easy", "partial") and outside.name == "tmaze-easy-partial"
    assert jobs.read_task("my/tmaze.py/hard/full").level == "hard"
    for text in ("tetris", "tetris/easy", "tetris/easy/both", "a/b/c/full"):
        with pytest.raises(ValueError, match="GAME/TWIN or GAME/LEVEL/TWIN"):
            jobs.read_task(text)


def test_tasks_are_combined():
    found = jobs.read_tasks("tetris+cartpole/easy+hard/full+partial")
    assert [task.name for task in found[:3]] == ["tetris-easy-full", "tetris-easy-partial", "tetris-hard-full"]
    assert len(set(found)) == 8 and found[4].game == "cartpole"
    assert jobs.read_tasks("tetris+cartpole/partial") == [TASK, TASK._replace(game="cartpole")]
    assert jobs.read_tasks("my/tmaze.py/hard/full") == [jobs.read_task("my/tmaze.py/hard/full")]
    for text in ("tetris+cartpole", "tetris/full+both", "tetris/easy+/full", "+tetris/full"):
        with pytest.raises(ValueError, match=r"GAME/TWIN or GAME/LEVEL/TWIN, .* \+ joins several"):
            jobs.read_tasks(text)


def test_variants_are_read():
    base = "configs/pqn_lru.py:preset=cpu"
    assert jobs.read_variant("plain", base) == jobs.Variant("plain", "configs/pqn_lru.py", ("preset=cpu",), ())
    wide = jobs.read_variant("wide:memory=gru,config.network.width=256", base)
    assert wide == jobs.Variant(
        "wide", "configs/pqn_lru.py", ("preset=cpu", "memory=gru"), ("config.network.width=256",)
    )
    other = jobs.read_variant("old:file=configs/popgym_arcade/pqn.py,version=v1", base)
    assert other == jobs.Variant("old", "configs/popgym_arcade/pqn.py", ("version=v1",), ())
    switched = jobs.read_variant("switched:config.environment.observability=full,partial@1e5,memory=gru", base)
    assert switched.overrides == ("config.environment.observability=full,partial@1e5",)
    assert switched.arguments == ("preset=cpu", "memory=gru")
    with pytest.raises(ValueError, match="'memory' has no value"):
        jobs.read_variant("x:memory", base)
    with pytest.raises(ValueError, match="has no name"):
        jobs.read_variant(":memory=gru", base)


def plan(*variants, overrides=("config.frames=128",), folder=pathlib.Path("none")):
    return jobs.plan([TASK], [jobs.read_variant(text, SMOKE) for text in variants], 3, overrides, folder)


def test_a_plan_has_whole_configurations_and_a_variants_override_wins():
    plain, wide = plan("plain", "wide one:memory=gru,config.seeds=2,config.frames=1000")
    assert plain.config["seeds"] == 3 and wide.config["seeds"] == 2
    assert plain.config["frames"] == 128 and wide.config["frames"] == 1000
    assert wide.config["memory"]["name"] == "gru" and wide.config["environment"]["observability"] == "partial"
    assert (plain.total_updates, wide.total_updates) == (2, 16), "8 environments x 8 steps, 2 updates a call"
    assert wide.workdir == pathlib.Path("none/tetris-easy-partial/wide_one") and not wide.workdir.exists()
    assert [item.partition("=")[0] for item in wide.arguments].count("--config.frames") == 1


@pytest.mark.parametrize(
    ("variants", "overrides", "message"),
    [
        (["plain"], ["frames=128"], r"override 'frames=128'; expected config\.x=y"),
        (["plain"], ["config.frames"], r"expected config\.x=y"),
        (["plain", "plain"], [], "two runs called 'tetris-easy-partial plain'"),
        (["x:memory=lruu"], [], "tetris-easy-partial x: .*lruu"),
        (["x:num_envs=8"], [], "tetris-easy-partial x: .*num_envs"),
    ],
)
def test_a_bad_plan_is_one_line(variants, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(*variants, overrides=overrides)
    assert "\n" not in str(error.value)


def test_a_folder_of_another_run_is_refused(tmp_path):
    (job,) = plan("plain", folder=tmp_path)
    job.workdir.mkdir(parents=True)
    jobs.run_files.write_json(job.workdir / "config.json", job.config | {"num_envs": 16})
    with pytest.raises(ValueError, match=r"tetris-easy-partial plain: .*num_envs"):
        plan("plain", folder=tmp_path)


def job(folder, mode):
    return jobs.Job(TASK, mode, folder / mode, (f"--mode={mode}",), CONFIG, 4)


def train(folder, modes, at_once=2, during=None, screen=None):
    """(whether all are complete, complete jobs, printed text, signal) of a sweep over stand-ins."""
    done, screen = [], screen or Screen(file=(folder / "printed.txt").open("w"), width=200)
    planned = [Program.alone(job(folder, mode)) for mode in modes]
    with (
        pytest.MonkeyPatch.context() as patch,
        supervisor.Children() as children,
        progress.Progress(len(planned), at_once, screen) as shown,
    ):
        patch.setattr(programs, "LAUNCH", (sys.executable, str(CHILD)))
        patch.setattr(processes, "POLL", 0.05)
        thread = threading.Thread(target=during or (lambda: None))
        thread.start()
        outcome = processes.train(planned, [{}] * at_once, children, (), shown, done.append)
        thread.join()
    screen.file.flush()
    complete = len(outcome.complete) == len(planned)
    return complete, [one.variant for one in done], (folder / "printed.txt").read_text(), children.stop_signal


def wait_for(path, contains=""):
    deadline = time.monotonic() + 60
    while not (path.exists() and contains in path.read_text()):
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_failures_are_lines_with_their_reason_and_stop_nothing_else(tmp_path):
    complete, done, printed, _ = train(tmp_path, ["fail", "crash", "good"], at_once=1)
    assert not complete and done == ["good"]
    assert "tetris-easy-partial fail: FAILED, exited with code 1: no such thing\n" in printed
    assert "tetris-easy-partial crash: FAILED, was killed by SIGKILL; see " in printed
    assert "tetris-easy-partial good: complete, last return 0.500; 1 of 3 runs" in printed


def test_complete_runs_are_read_and_not_started_again(tmp_path):
    assert train(tmp_path, ["good"])[0]
    complete, done, printed, _ = train(tmp_path, ["good", "fail"])
    assert not complete and done == ["good"]
    assert f"good: complete, last return 0.500; read from {tmp_path / 'good'}" in printed
    assert len((tmp_path / "good" / "starts.txt").read_text().split()) == 1


def test_a_signal_stops_children_after_their_checkpoint_and_starts_no_more(tmp_path):
    def stop():
        wait_for(tmp_path / "wait" / "metrics.jsonl", '"updates": 1')
        os.kill(os.getpid(), signal.SIGTERM)

    complete, done, printed, number = train(tmp_path, ["wait", "good"], at_once=1, during=stop)
    assert not complete and not done and number == signal.SIGTERM
    assert (tmp_path / "wait" / "saved").exists() and not (tmp_path / "good").exists()
    assert "stopping: runs save a checkpoint and end" in printed and "wait: stopped" in printed


def test_a_second_signal_ends_children_at_once(tmp_path):
    def stop():
        wait_for(tmp_path / "deaf" / "metrics.jsonl", '"updates": 1')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    assert not train(tmp_path, ["deaf"], during=stop)[0]
    (pid,) = (tmp_path / "deaf" / "starts.txt").read_text().split()
    assert not pathlib.Path(f"/proc/{pid}").exists()


PARENT = """
import os, pathlib, sys
sys.path[:0] = [sys.argv[1]]
import test_sweeps
test_sweeps.train(pathlib.Path(sys.argv[2]), ["wait"])
"""


def test_children_end_when_their_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ROOT / "tests"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    wait_for(tmp_path / "wait" / "metrics.jsonl", '"updates": 1')
    parent.kill()
    parent.wait()
    wait_for(tmp_path / "wait" / "orphan")


def test_a_terminal_shows_a_bar_per_running_job_with_return_and_time_left(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    screen = Screen(record=True, force_terminal=True, width=120, file=(tmp_path / "terminal.txt").open("w"))
    one, other = (Program.alone(job(tmp_path, name)) for name in ("one", "other"))
    times = iter([100.0, 100.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times, 130.0))
    shown = progress.Progress(4, 2, screen)
    shown.started(one)
    shown.started(other)
    shown.update(one, [], "compiling the update ...")
    shown.update(other, [{"updates": 1, "eval/return_partial": [0.0, 0.5]}], "")
    shown.update(other, [{"updates": 3, "eval/return_partial": [0.0, 0.5]}], "")
    screen.print(shown._bars)
    rows = screen.export_text().splitlines()
    assert any("one" in row and "compiling the update" in row for row in rows)
    assert any("other" in row and "75%" in row and "return 0.250" in row and "0:15" in row for row in rows)
    assert any("all runs" in row and "0%" in row and "0 complete, 2 running, 2 waiting" in row for row in rows)


def test_gpus_are_shared_out_to_programs(monkeypatch):
    gpus = [{"CUDA_VISIBLE_DEVICES": str(index)} for index in range(2)]
    monkeypatch.setattr(processes.backend, "device_choices", lambda: gpus)
    monkeypatch.setattr(processes.backend, "accelerator", lambda: "gpu")
    assert processes.places(0, 9) == gpus and processes.places(0, 1) == gpus[:1]
    assert processes.places(3, 9) == [*gpus, gpus[0]]
    monkeypatch.setattr(processes.backend, "device_choices", list)
    assert processes.places(0, 9) == [{}] and processes.launch_options(2) == ()
    monkeypatch.setattr(processes.backend, "accelerator", lambda: None)
    monkeypatch.setattr(processes.provenance, "cores", lambda: 4)
    assert processes.places(0, 9) == [{}] * 4 and processes.places(0, 3) == [{}] * 3
    assert processes.launch_options(2) == ("--cpu_devices=1",) and processes.launch_options(1) == ()


def test_a_program_runs_in_its_place_and_gives_it_back(tmp_path):
    with supervisor.Children() as children, pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "LAUNCH", (sys.executable, "-c", "import os; print('at', os.environ['PLACE'])"))
        running = processes.Running(children, [{"PLACE": "one"}, {"PLACE": "two"}], ())
        found = [Program.alone(job(tmp_path, str(index))) for index in range(3)]
        for program in found[:2]:
            running.start(program)
        assert not running.has_place
        ended = []
        while not ended:
            ended = running.ended()
        running.start(found[2])
        while running.programs:
            ended += running.ended()
    texts = [program.console.read_text() for program in found]
    assert texts[:2] == ["at one\n", "at two\n"] and texts[2] in texts[:2]
    assert [end.code for _, end in ended] == [0, 0, 0]


def test_a_thousand_runs_are_one_line_on_a_restart_and_two_bars(tmp_path, monkeypatch):
    """The display reads the metrics of running programs only, and lists no run that is waiting."""
    monkeypatch.delenv("CI", raising=False)
    screen = Screen(record=True, force_terminal=True, width=120, file=(tmp_path / "terminal.txt").open("w"))
    every = [Program.alone(job(tmp_path, str(index))) for index in range(1000)]
    monkeypatch.setattr(jobs.Job, "latest", lambda self: pytest.fail("read a run that is not running"))
    with progress.Progress(1000, 2, screen) as shown:
        shown.begin(every, [program.jobs[0] for program in every[:900]])
        began = time.process_time()
        for program in every[900:902]:
            shown.started(program)
        for updates in range(1, 4):
            for program in every[900:902]:
                shown.update(program, [{"updates": updates, "eval/return_partial": [0.0, 0.5]}], "")
        assert time.process_time() - began < 1
        screen.print(shown._bars)
    rows = screen.export_text().splitlines()
    assert any("900 of 1000 runs complete already" in row for row in rows)
    assert any("all runs" in row and "900 complete, 2 running, 98 waiting" in row for row in rows)
