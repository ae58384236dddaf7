"""Whatever ends a process, the same command resumes the run as if nothing had happened."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from running import (
    CONFIG,
    PLAIN,
    ROOT,
    SMOKE,
    final_state,
    finish,
    mounted,
    records,
    same_bits,
    spawn,
    start,
    wait_for_lock,
    wait_for_records,
)

from podarcade import launch
from podarcade.runtime import loop, supervisor
from podarcade.runtime.checkpoint import AllDamaged

SURVIVOR = pathlib.Path(__file__).parent / "survivor.py"
PARTNER = pathlib.Path(__file__).parent / "partner.py"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An uninterrupted smoke run."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    code, output = finish(start(SMOKE, f"--workdir={workdir}"))
    assert code == 0, output
    return workdir


def assert_same_run(workdir, straight):
    (expected, progress), (state, found) = final_state(straight, SMOKE), final_state(workdir, SMOKE)
    same_bits(expected, state)
    assert progress["frames"] == found["frames"]
    assert records(workdir) == records(straight)


def test_kill_9_between_saves(straight, tmp_path):
    process = start(SMOKE, f"--workdir={tmp_path}")
    wait_for_records(tmp_path, 6, process)
    process.kill()
    process.wait()
    assert len(records(tmp_path)) < 11
    code, output = finish(start(SMOKE, f"--workdir={tmp_path}"))
    assert code == 0 and "resuming after" in output, output
    # The dead owner's lock is taken over at once.
    assert f"taking over the lock of process {process.pid} on host " in output
    assert_same_run(tmp_path, straight)


def test_kill_9_during_a_save_five_times(tmp_path):
    """During its second save, at increasing delays after its start."""
    left = []
    for attempt in range(5):
        process = spawn(SURVIVOR, tmp_path / "killed", 2, 4 * attempt)
        code, output = finish(process)
        assert code == -signal.SIGKILL, output
        names = [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()]
        left += [name for name in names if not name.isdecimal()]
        assert names
    assert left, "no kill came in the middle of a save"
    outputs = [finish(spawn(SURVIVOR, tmp_path / name, 0, 0))[1] for name in ("killed", "straight")]
    digests = [re.search(r"^digests (.*)$", output, re.MULTILINE)[1] for output in outputs]
    assert digests[0] == digests[1] and "resuming after" in outputs[0] and "damaged" not in outputs[0]
    assert records(tmp_path / "killed") == records(tmp_path / "straight")
    assert sorted(path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()) == ["10", "11", "12"]


def test_sigterm_at_random_times_and_two_at_once(straight, tmp_path):
    """While importing, compiling, training, saving. Before anything could be lost the signal just ends the process."""
    chance, codes, refused = random.Random(6), [], None
    for seconds in (chance.uniform(0.5, 2), chance.uniform(4, 9), None):
        process = start(SMOKE, f"--workdir={tmp_path}")
        if seconds is None:
            wait_for_lock(tmp_path, process)
            began = time.monotonic()
            refused = finish(start(SMOKE, f"--workdir={tmp_path}")), time.monotonic() - began, process.pid
        else:
            time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        code, output = finish(process)
        codes.append(code)
        assert code in (75, 0, -signal.SIGTERM), output
        assert code != 75 or re.search(r"(nothing to save, after 0|saved after \d+) of 20 updates; resume with", output)
    assert 75 in codes
    (code, output), seconds, pid = refused
    assert code == 1 and f"is in use by process {pid} on host " in output and output.count("\n") == 1, output
    code, output = finish(start(SMOKE, f"--workdir={tmp_path}"))
    assert code == 0, output
    assert_same_run(tmp_path, straight)


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="the test finds processes in /proc")
def test_two_processes_one_killed_restarted_then_stopped_then_one_resumes(straight, tmp_path):
    two = (SMOKE, f"--workdir={tmp_path}", "--local_processes=2", "--cpu_devices=1", "--restarts=1")
    process = start(*two)
    wait_for_records(tmp_path, 5, process)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    before = len(records(tmp_path))
    wait_for_records(tmp_path, before + 2, process)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 75, output
    assert "process 1 was killed by SIGKILL; restart 1 of 1" in output
    assert output.count("2 processes") == 2 and "resuming after" in output
    assert "[Gloo]" not in output
    assert list((tmp_path / "checkpoints").glob("*/state/ocdbt.process_1/d/*")), "each process writes its own share"
    # The resume command is the original one.
    assert "--local_processes=2 --cpu_devices=1 --restarts=1\n" in output and "--coordinator" not in output
    code, output = finish(start(SMOKE, f"--workdir={tmp_path}"))
    assert code == 0 and "resuming after" in output, output
    (expected, progress), (state, found) = final_state(straight, SMOKE), final_state(tmp_path, SMOKE)
    assert progress["frames"] == found["frames"]
    same_bits(expected.actors.env, state.actors.env)
    same_bits(expected.actors.key, state.actors.key)
    for one, other in zip(*(jax.tree.leaves(x.learner.params) for x in (expected, state)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert [record["frames"] for record in records(tmp_path)] == [record["frames"] for record in records(straight)]


def test_a_save_that_fails_in_one_process_fails_in_both_and_training_goes_on(tmp_path):
    """Only one of them notices the failed write; the other must not wait for it for ever."""
    ((address, *_), _) = supervisor.addresses(2)
    both = [spawn(PARTNER, address.partition("=")[2], index, tmp_path) for index in range(2)]
    (code, output), other = map(finish, both)
    assert code == other[0] == 0, (output, other)
    reasons = re.findall(
        r"WARNING: saving the checkpoint after \d updates failed \(process 1: (.*)\); retrying in", output
    )
    assert len(reasons) == 2 and reasons[0] == "no room here" and "File too large" in reasons[1], output
    assert "ended after 8" in output and "ended after 8" in other[1]
    assert [record["updates"] for record in records(tmp_path)] == list(range(9))
    steps = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert steps >= {"2", "8"} and all(step.isdecimal() for step in steps), "nothing is left of those that failed"
    assert "4" not in steps


def test_processes_that_do_not_share_a_directory_are_refused(tmp_path):
    """Each would write a run of its own, and wait for the other when saving."""
    both = []
    for index, address in enumerate(supervisor.addresses(2)):
        (tmp_path / str(index)).mkdir()
        command = ["launch", SMOKE, "--workdir=run", "--cpu_devices=1", *address]
        program = (
            "import os; from podarcade import launch; from podarcade.runtime import distributed, supervisor; "
            f"os.chdir('{tmp_path}/{index}'); distributed.SHARED_TIMEOUT = 1.0; "
            f"supervisor.leave(launch.main({command}))"
        )
        both.append(spawn("-c", program))
    (code, output), other = map(finish, both)
    assert (code, other[0]) == (1, 1), (output, other)
    assert "error: " not in output and "compiling" not in output
    line = r"^error: process 1 on host \S+ does not see the lock file that process 0 wrote to run; set --workdir"
    assert re.search(line, other[1]), other[1]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--config.algorithm.discount=0.5", r"algorithm.discount: saved 0.99, now 0.5"),
        ("--config.network.width=16", r"actors.carry.*: saved float32\[1, 8, 32\], now float32\[1, 8, 16\]"),
        ("--config.encoder.features=16", r"saved .*, now .*"),
    ],
)
def test_another_run_is_refused_by_the_checkpoint_too(straight, tmp_path, change, message, capsys):
    """Checkpoints copied to a new directory: a refused command changes no byte there, and writes no config.json."""
    shutil.copytree(straight / "checkpoints", tmp_path / "run" / "checkpoints")
    before = contents(tmp_path)
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}/run", change]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: the checkpoint .*{message}.*; choose another --workdir\n", error), error
    assert contents(tmp_path) == before


def test_a_run_that_diverges_ends_with_70(tmp_path, monkeypatch, capsys):
    def train(run, workdir, wanted):
        raise loop.Diverged("100 gradient steps of seed 0 were not finite")

    monkeypatch.setattr(launch.loop, "train", train)
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}"]) == 70
    assert capsys.readouterr().err == "error: 100 gradient steps of seed 0 were not finite\n"


LOST = r"error: lost a process or a device \(.*\); re-run the same command to resume\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed"), 75, LOST),
        (jax.errors.JaxRuntimeError("INTERNAL: Barrier failed because: UNAVAILABLE: Task 1"), 75, LOST),
        (RuntimeError("INTERNAL: peer"), 1, r"error: .*: RuntimeError: INTERNAL: peer\n"),
        (AllDamaged("all are damaged"), 1, r"error: all are damaged.*\n"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out"), 1, r"error: RESOURCE_EXHAUSTED: Out.*\n"),
    ],
)
def test_a_lost_process_is_retryable_and_an_error_that_would_occur_again_is_not(
    error, code, message, tmp_path, monkeypatch, capsys
):
    """A job of several processes would be queued again and again."""

    def train(run, workdir, wanted):
        raise error

    monkeypatch.setattr(launch.loop, "train", train)
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}"]) == code
    assert re.fullmatch(message, capsys.readouterr().err)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_disk_behind_the_log_ends_no_run(tmp_path):
    command = [sys.executable, "-m", "podarcade.launch", SMOKE, f"--workdir={tmp_path}"]
    with open("/dev/full", "w") as full:
        process = subprocess.run(command, stdout=full, stderr=full, env=PLAIN, cwd=ROOT)
    assert process.returncode == 0
    assert records(tmp_path)[-1]["updates"] == 20


def test_a_run_that_was_taken_over_stops_unsaved(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch.Lock, "lost", property(lambda self: True))
    monkeypatch.setattr(launch.loop, "train", lambda run, workdir, wanted: wanted())
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}"]) == 1
    assert "was taken over by another run" in capsys.readouterr().err


@pytest.fixture
def read_only(tmp_path):
    """A directory that not even the superuser can write."""
    with mounted(tmp_path / "fixed", "size=1m,ro") as folder:
        yield folder


def test_a_read_only_directory_is_one_line(read_only, capsys):
    assert launch.main(["launch", SMOKE, f"--workdir={read_only}/run"]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: \[Errno 30\] Read-only file system: '.*/fixed/run'\n", error), error


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launch.main(["launch", SMOKE, "--dry_run"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^parameters: 20,893 per seed$", output, re.MULTILINE)
    assert re.search(r"^  q.params.value.kernel +float32\[32, 5\]$", output, re.MULTILINE)
    assert re.search(r"^device memory: [1-9]\d*\.\d MB planned for the update", output, re.MULTILINE)
    assert re.search(r"^compiled in \d+\.\d s; nothing was trained or written$", output, re.MULTILINE)
    assert not list(tmp_path.iterdir())


def test_deterministic_is_set_and_recorded(tmp_path):
    program = "import sys; from podarcade.runtime import backend, provenance; " \
              "backend.configure(0, deterministic=True); print(provenance.collect(['x'])['xla_flags'])"  # fmt: skip
    code, output = finish(spawn("-c", program))
    assert code == 0 and "--xla_gpu_deterministic_ops=true" in output, output


@pytest.mark.parametrize("flag", ["--restarts=-1", "--local_processes=0", "--peer_timeout=0", "--num_processes=2"])
def test_flags_out_of_range_are_one_line(flag, capsys):
    assert launch.main(["launch", CONFIG, flag]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: --") and "expected" in error and error.count("\n") == 1
