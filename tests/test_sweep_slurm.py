"""Sweeps on Slurm, without Slurm: submitit runs the tasks of an array on this machine. See also test_slurm.py."""

import os
import pathlib
import signal
import time

import pytest
from test_sweep import GRID, folder, stand_in, starts, updates

from podarcade.runtime.lock import Lock
from podarcade.sweeps import cells, planning, slurm


@pytest.fixture
def planned(tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path / "modes")
    grid = GRID.removeprefix("--grid=")
    return lambda memories: planning.plan(cells.read("", grid.format(memories)), tmp_path / "sweep").programs


def submitted(tmp_path, found, cluster="local", retries=1):
    return slurm.submit(found, tmp_path / "sweep", (), "time=5", retries, cluster)


def test_tasks_of_an_array_train_retry_and_fail_on_their_own(planned, tmp_path):
    submitit = pytest.importorskip("submitit")
    found = planned("gru,lru,none")
    (tmp_path / "modes" / "gru").write_text("killed once")
    (tmp_path / "modes" / "lru").write_text("fail")
    done = {program.jobs[0].variant: job for program, job in zip(found, submitted(tmp_path, found), strict=True)}
    assert done["gru"].result() == done["none"].result() == "complete"
    with pytest.raises(submitit.core.utils.FailedJobError, match="lru: exited with code 1: no such thing"):
        done["lru"].result()
    assert starts(folder(tmp_path, "gru")) == 2 and updates(folder(tmp_path, "gru")) == [0, 1, 2, 3, 4]
    left = planned("gru,lru,none")
    assert [program.jobs[0].variant for program in left if not program.is_settled()] == ["lru"]
    assert len(submitted(tmp_path, left)) == 1, "complete programs are not submitted again"


def test_a_task_leaves_a_locked_program_to_its_owner(planned, tmp_path):
    pytest.importorskip("submitit")
    with Lock(folder(tmp_path, "gru")):
        (job,) = submitted(tmp_path, planned("gru"), "debug")
        assert job.result().startswith("left to another launcher: ") and not updates_or_none(tmp_path)


def updates_or_none(tmp_path):
    return (folder(tmp_path, "gru") / "metrics.jsonl").exists()


def test_a_task_that_reaches_its_time_limit_saves_and_is_queued_again(planned, tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "modes" / "gru").write_text("wait")
    (job,) = submitted(tmp_path, planned("gru"))
    deadline = time.monotonic() + 60
    while not updates_or_none(tmp_path) or updates(folder(tmp_path, "gru"))[-1] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (child,) = (folder(tmp_path, "gru") / "starts.txt").read_text().split()
    owner = int(pathlib.Path(f"/proc/{child}/stat").read_text().split()[3])
    os.kill(int(child), signal.SIGUSR2)  # Slurm warns every process of a task
    (tmp_path / "modes" / "gru").write_text("good")
    os.kill(owner, signal.SIGUSR2)
    assert job.result() == "complete"
    assert (folder(tmp_path, "gru") / "saved").exists() and updates(folder(tmp_path, "gru")) == [0, 1, 2, 3, 4]
    assert starts(folder(tmp_path, "gru")) == 2


def test_options_of_slurm_are_read():
    assert slurm.read_options("") == slurm.DEFAULTS
    found = slurm.read_options("partition=gpu,constraint=a100,h100,time=60,exclusive=true,gpus-per-node=1")
    assert found["constraint"] == "a100,h100" and found["exclusive"] is True and found["gpus_per_node"] == "1"
    with pytest.raises(ValueError, match=r"time=1:00; expected an integer >= 1 \(time is in minutes\)"):
        slurm.read_options("time=1:00")


def test_an_array_asks_for_its_options_and_is_queued_again(monkeypatch, tmp_path):
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    executor = slurm._executor(tmp_path, "slurm", slurm.read_options("partition=gpu,time=60"))
    text = submitit.slurm.slurm._make_sbatch_string(command="x", folder=tmp_path, map_count=3, **executor.parameters)
    lines = text.splitlines()
    for line in ("partition=gpu", "time=60", "requeue", "array=0-2%3", "signal=USR2@120", "job-name=podarcade"):
        assert f"#SBATCH --{line}" in lines, text
