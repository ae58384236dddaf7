"""One run per directory: a second is refused, naming the first; a dead owner is taken over, with or without flock."""

import contextlib
import errno
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from podarcade.runtime import lock as lock_module
from podarcade.runtime.lock import SIZE, Lock, WorkdirInUse, is_held, owner_id

BEAT = 0.05
BOOT = lock_module._machine()["boot"]

# Loads the file alone, since the package would import jax.
LOAD = f"""
import os, subprocess, sys, time
sys.path.append({str(pathlib.Path(lock_module.__file__).parent)!r})
import lock
"""

HOLD = """
held = lock.Lock(sys.argv[1], beat=float(sys.argv[2]))
print("held", flush=True)
"""

WAIT = """
sys.stdin.read()
held.close()
"""


@contextlib.contextmanager
def process(code, *arguments):
    """A separate process, killed at the end of the block."""
    command = [sys.executable, "-I", "-c", LOAD + code, *map(str, arguments)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        kill(child)
        child.stdin.close()
        child.stdout.close()


@contextlib.contextmanager
def owner(workdir, before="", after=WAIT, beat=BEAT):
    """A process that owns the directory."""
    with process(before + HOLD + after, workdir, beat) as child:
        assert child.stdout.readline() == "held\n"
        yield child


def kill(child):
    child.kill()
    child.wait()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def record(**changes):
    """Return the record of an owner on another host."""
    whose = {"token": "theirs", "host": "beta", "boot": "b", "pid": 77, "since": "2026-11-23 14:02:11 UTC"}
    return {**whose, "beat_seconds": BEAT, "beat": 5, **changes}


def put(workdir, content):
    if isinstance(content, bytes):
        (workdir / "lock").write_bytes(content)
        return
    # Written in place, as a run does: an empty file in between would mean something else.
    with open(os.open(workdir / "lock", os.O_RDWR | os.O_CREAT), "wb") as file:
        file.write(json.dumps(content).ljust(SIZE).encode())


def put_until_lost(workdir, content, taken):
    """Write repeatedly, since a heartbeat in progress still writes once."""
    until(lambda: put(workdir, content) or taken.lost)


def found(workdir):
    return json.loads((workdir / "lock").read_bytes())


@contextlib.contextmanager
def beating(workdir, contents):
    """An owner without an flock that writes one content after another until the block ends."""
    stop = threading.Event()
    put(workdir, contents(0))

    def write():
        beat = 0
        while not stop.wait(BEAT / 5):
            beat += 1
            put(workdir, contents(beat))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def says():
    return []


@pytest.fixture
def take(tmp_path, says):
    """Lock the directory until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(Lock(tmp_path, **{"beat": BEAT, "log": says.append, **how}))


@pytest.fixture
def without_module(monkeypatch):
    monkeypatch.setattr(lock_module, "fcntl", None)


@pytest.fixture
def without_flock(monkeypatch, request):
    number = getattr(request, "param", errno.ENOLCK)

    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock_module.fcntl, "flock", flock)


EACH_ERROR = pytest.mark.parametrize("without_flock", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], indirect=True)


NO_FLOCK = "lock.fcntl = None\n"
THEIRS = "process 77 on host beta"


def test_second_process_is_refused_at_once_naming_the_first(tmp_path, take, says):
    with owner(tmp_path) as child:
        before = found(tmp_path)
        start = time.monotonic()
        with pytest.raises(WorkdirInUse) as refusal:
            take()
        assert time.monotonic() - start < 1
        assert str(refusal.value) == (
            f"{tmp_path} is in use by process {child.pid} on host {socket.gethostname()} since {before['since']}; "
            "choose another --workdir, or stop that run"
        )
        assert found(tmp_path)["token"] == before["token"]
    assert says == []
    assert isinstance(refusal.value, ValueError)
    assert time.strptime(before["since"], "%Y-%m-%d %H:%M:%S UTC")


def test_second_lock_of_one_process_is_refused(take):
    take()
    with pytest.raises(WorkdirInUse, match=f"process {os.getpid()} on host"):
        take()


def test_killed_owner_is_taken_over_at_once(tmp_path, take, says):
    with owner(tmp_path, beat=30) as child:
        kill(child)
        start = time.monotonic()
        take()
    assert time.monotonic() - start < 1
    assert says == [f"taking over the lock of process {child.pid} on host {socket.gethostname()}, which is dead"]
    assert found(tmp_path)["pid"] == os.getpid()


def test_closed_lock_is_taken_silently(tmp_path, take, says):
    with owner(tmp_path) as child:
        child.stdin.close()
        assert child.wait() == 0
    assert found(tmp_path) == {"token": ""}
    first = take()
    first.close()
    second = take()
    first.close()
    assert found(tmp_path)["token"] == second._record["token"]
    with pytest.raises(WorkdirInUse):
        take()
    assert says == []


def test_leaving_the_block_closes(tmp_path, take):
    with pytest.raises(KeyError), Lock(tmp_path, beat=BEAT) as first:
        raise KeyError
    assert not first._thread.is_alive()
    assert found(tmp_path) == {"token": ""}
    take()


def test_directory_is_created(tmp_path):
    with Lock(tmp_path / "runs" / "x", beat=BEAT):
        assert found(tmp_path / "runs" / "x")["pid"] == os.getpid()


def test_beating_owner_on_another_host_is_respected(tmp_path, take, says):
    with beating(tmp_path, lambda beat: record(beat=beat, beat_seconds=1.0)):
        for _ in range(2):  # a refused run keeps nothing of the lock
            with pytest.raises(WorkdirInUse, match=f"in use by {THEIRS} since 2026-11-23 14:02:11 UTC; choose"):
                take()
    assert found(tmp_path)["token"] == "theirs"
    assert says == [f"waiting 4 s for a heartbeat of {THEIRS}"] * 2


def test_silent_owner_on_another_host_is_taken_over_after_four_of_its_beats(tmp_path, take, says):
    put(tmp_path, record(beat_seconds=0.1))
    start = time.monotonic()
    taken = take(beat=0.01)
    assert 0.4 <= time.monotonic() - start < 2
    assert says == [f"waiting 0.4 s for a heartbeat of {THEIRS}", f"taking over the lock of {THEIRS}, which is dead"]
    assert found(tmp_path)["token"] == taken._record["token"]


@pytest.mark.parametrize("other", [{"boot": BOOT}, {"host": socket.gethostname()}], ids=["kernel", "name"])
def test_machine_that_shares_only_the_kernel_or_the_name_is_watched(tmp_path, take, says, other):
    with beating(tmp_path, lambda beat: record(beat=beat, beat_seconds=1.0, **other)), pytest.raises(WorkdirInUse):
        take()


def test_owner_that_ends_well_while_watched_is_taken_over_silently(tmp_path, take, says):
    put(tmp_path, record(beat_seconds=1.0))
    timer = threading.Timer(0.1, put, (tmp_path, {"token": ""}))
    timer.start()
    take()
    assert says == [f"waiting 4 s for a heartbeat of {THEIRS}"]


def test_file_that_vanishes_while_watched_is_no_sign_of_death(tmp_path, take):
    put(tmp_path, record(beat_seconds=1.0))
    timer = threading.Timer(0.1, os.unlink, (tmp_path / "lock",))
    timer.start()
    with pytest.raises(WorkdirInUse, match=THEIRS):
        take()


@EACH_ERROR
def test_live_owner_is_respected_without_flock(tmp_path, take, without_flock):
    with owner(tmp_path, NO_FLOCK, beat=0.2) as child, pytest.raises(WorkdirInUse, match=f"process {child.pid} on"):
        take()


def test_live_owner_is_respected_without_the_module(take, without_module):
    take(beat=0.2)
    with pytest.raises(WorkdirInUse, match=f"process {os.getpid()} on host"):
        take()


@EACH_ERROR
def test_dead_owner_is_taken_over_without_flock(tmp_path, take, says, without_flock):
    with owner(tmp_path, NO_FLOCK) as child:
        kill(child)
        take()
    who = f"process {child.pid} on host {socket.gethostname()}"
    watch = f"waiting {4 * BEAT:g} s for a heartbeat of {who}"
    assert says == [watch, f"taking over the lock of {who}, which is dead"]


def test_closed_lock_is_taken_silently_without_the_module(take, says, without_module):
    take().close()
    take()
    assert says == []


NOT_RECORDS = {
    "torn": json.dumps(record()).encode()[:60],
    "zeros": bytes(SIZE),
    "binary": bytes(range(256)) * 8,
    "deep": b"[" * SIZE,
    "list": b"[1]",
    "no host": json.dumps({"token": "theirs", "pid": 1}).encode(),
    "two lines": json.dumps(record(host="beta\nrm -rf")).encode(),
    "word for a pid": json.dumps(record(pid="77")).encode(),
    "endless beat": json.dumps(record(beat_seconds=float("inf"))).encode(),
    "no number": json.dumps(record(beat_seconds=float("nan"))).encode(),
}


@pytest.mark.parametrize("content", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_a_malformed_record_is_watched_and_replaced(tmp_path, take, says, content):
    put(tmp_path, content)
    take(beat=0.02)
    assert says == [
        "waiting 0.08 s for a heartbeat of another process",
        "taking over the lock of another process, which is dead",
    ]
    put_back = (tmp_path / "lock").read_bytes()[:SIZE]
    assert json.loads(put_back)["pid"] == os.getpid()


def test_a_malformed_record_that_changes_is_respected(tmp_path, take):
    with (
        beating(tmp_path, lambda beat: {"beat": beat}),
        pytest.raises(WorkdirInUse, match="is in use by another process; choose another"),
    ):
        take(beat=1.0)


@pytest.mark.parametrize("content", [*NOT_RECORDS.values(), b"", {"token": ""}], ids=[*NOT_RECORDS, "empty", "free"])
def test_holder_without_a_record_is_another_process(tmp_path, take, content):
    take(beat=60)
    put(tmp_path, content)
    with pytest.raises(WorkdirInUse, match=r"by another process; choose another --workdir, or stop that run$"):
        take()


def test_damaged_record_is_mended_by_the_next_beat(tmp_path, take):
    taken = take()
    put(tmp_path, b"{")
    until(lambda: (tmp_path / "lock").stat().st_size == SIZE)
    assert found(tmp_path)["token"] == taken._record["token"]
    assert not taken.lost


def test_a_lock_taken_over_is_lost_and_left_alone(tmp_path, take):
    taken = take()
    assert not taken.lost
    put_until_lost(tmp_path, record(), taken)
    until(lambda: not taken._thread.is_alive())
    taken.close()
    assert found(tmp_path) == record()


def test_a_lock_taken_over_and_released_is_lost(tmp_path, take):
    taken = take()
    put_until_lost(tmp_path, {"token": ""}, taken)


def test_suspended_owner_finds_its_lock_lost(tmp_path, take, without_flock):
    watch = "while not held.lost:\n    time.sleep(0.01)\nprint('lost', flush=True)\n"
    with owner(tmp_path, NO_FLOCK, watch + WAIT) as child:
        os.kill(child.pid, signal.SIGSTOP)
        taken = take()
        os.kill(child.pid, signal.SIGCONT)
        assert child.stdout.readline() == "lost\n"
        child.stdin.close()
        assert child.wait() == 0
        assert found(tmp_path)["token"] == taken._record["token"]
    assert not taken.lost


@pytest.fixture
def jumping_clock(monkeypatch):
    """A wall clock that jumps by a year at each reading, forth and back."""
    clock, year = time.time, 365 * 86400
    readings = iter(range(10**9))
    monkeypatch.setattr(lock_module.time, "time", lambda: clock() + (next(readings) % 3 - 1) * year)


def test_jumping_clock_does_not_kill_a_live_owner(tmp_path, take, jumping_clock):
    with beating(tmp_path, lambda beat: record(beat=beat, beat_seconds=1.0)), pytest.raises(WorkdirInUse, match=THEIRS):
        take()


def test_jumping_clock_does_not_revive_a_dead_owner_or_stop_the_heart(tmp_path, take, jumping_clock):
    put(tmp_path, record())
    start = time.monotonic()
    take()
    assert 4 * BEAT <= time.monotonic() - start < 2
    until(lambda: found(tmp_path)["beat"] >= 3)


def test_heart_survives_a_full_disk_and_the_record_too(tmp_path, take, monkeypatch):
    taken = take()
    write, failures = os.write, []

    def fail_thrice(descriptor, content):
        if len(content) == SIZE and len(failures) < 3:
            failures.append((tmp_path / "lock").read_bytes())
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(lock_module.os, "write", fail_thrice)
    until(lambda: len(failures) == 3)
    beat = json.loads(failures[0])["beat"]
    assert [json.loads(content)["beat"] for content in failures] == [beat] * 3
    until(lambda: found(tmp_path)["beat"] > beat + 1)
    assert not taken.lost


def test_close_survives_a_disk_that_fails(tmp_path, take, says, monkeypatch):
    taken = take(beat=60)

    def fail(descriptor, content):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(lock_module, "_write", fail)
        taken.close()
    take()
    assert len(says) == 1


def test_record_never_changes_its_size_or_its_place(tmp_path, take):
    taken = take()
    before = (tmp_path / "lock").stat()
    until(lambda: found(tmp_path)["beat"] > 1)
    during = (tmp_path / "lock").stat()
    taken.close()
    after = (tmp_path / "lock").stat()
    assert before.st_size == during.st_size == after.st_size == SIZE
    assert before.st_ino == during.st_ino == after.st_ino


RACE = """
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    pass
try:
    held = lock.Lock(sys.argv[1], beat=0.05, log=lambda line: None)
except lock.WorkdirInUse:
    print("refused", flush=True)
else:
    print("won", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("dead", [record(**lock_module._machine()), record(), {"token": ""}, b""])
def test_of_eight_at_once_exactly_one_wins(tmp_path, dead):
    put(tmp_path, dead)
    with contextlib.ExitStack() as stack:
        racers = [stack.enter_context(process(RACE, tmp_path, tmp_path / "go")) for _ in range(8)]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        (tmp_path / "go").touch()
        results = [racer.stdout.readline().strip() for racer in racers]
        winner = results.index("won")
        assert found(tmp_path)["pid"] == racers[winner].pid
    assert sorted(results) == ["refused"] * 7 + ["won"]


@pytest.mark.parametrize("before", [record(), b""], ids=["dead", "free"])
def test_last_of_two_takers_to_write_has_it_without_flock(tmp_path, take, monkeypatch, without_flock, before):
    put(tmp_path, before)
    sleep = time.sleep

    def other_writes(seconds):
        sleep(seconds)
        if found(tmp_path)["token"] != "theirs":
            put(tmp_path, record(host="gamma"))

    monkeypatch.setattr(lock_module.time, "sleep", other_writes)
    with pytest.raises(WorkdirInUse, match="process 77 on host gamma"):
        take()
    assert found(tmp_path) == record(host="gamma")


def test_file_that_another_run_replaces_while_we_open_it_is_watched(tmp_path, take, monkeypatch):
    """Our flock is then on a deleted file, and says nothing about the new one."""
    flock = lock_module._flock

    def replaced_first(descriptor):
        (tmp_path / "lock").unlink()
        put(tmp_path, record(**lock_module._machine(), beat_seconds=1.0))
        return flock(descriptor)

    monkeypatch.setattr(lock_module, "_flock", replaced_first)
    timer = threading.Timer(BEAT, put, (tmp_path, record(**lock_module._machine(), beat_seconds=1.0, beat=6)))
    timer.start()
    with pytest.raises(WorkdirInUse, match="process 77"):
        take()
    timer.join()


@pytest.mark.parametrize(
    "spawn",
    [
        "print(subprocess.Popen(['sleep', '60'], close_fds=False).pid, flush=True)\n",
        "if os.fork() == 0:\n    print(os.getpid(), flush=True)\n    time.sleep(60)\n",
    ],
    ids=["program", "fork"],
)
def test_child_does_not_keep_the_lock_of_a_dead_parent(tmp_path, take, spawn):
    with owner(tmp_path, after=spawn + WAIT) as child:
        grandchild = int(child.stdout.readline())
        try:
            kill(child)
            os.kill(grandchild, 0)
            take()
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_closed_lock_is_free_though_a_child_still_has_a_copy_of_it(take):
    """As between fork and exec."""
    taken = take()
    copy = os.dup(taken._descriptor)
    taken.close()
    take()
    os.close(copy)


def test_forked_child_cannot_give_up_the_lock_of_its_parent(tmp_path, take):
    fork = "if os.fork() == 0:\n    held.close()\n    os._exit(0)\nos.wait()\nprint('waited', flush=True)\n"
    with owner(tmp_path, after=fork + WAIT) as child:
        assert child.stdout.readline() == "waited\n"
        with pytest.raises(WorkdirInUse, match=f"process {child.pid} "):
            take()


def test_deleted_file_is_put_back_and_still_ours(tmp_path, take):
    taken = take()
    (tmp_path / "lock").unlink()
    until(lambda: (tmp_path / "lock").exists() and (tmp_path / "lock").stat().st_size == SIZE)
    assert not taken.lost
    with pytest.raises(WorkdirInUse, match=f"process {os.getpid()} "):
        take()
    beat = found(tmp_path)["beat"]
    until(lambda: found(tmp_path)["beat"] > beat)
    taken.close()
    take()


def test_deleted_file_that_another_run_created_again_is_lost(tmp_path, take):
    taken = take(beat=60)
    (tmp_path / "lock").unlink()
    with owner(tmp_path) as child:
        taken._beat()
        assert taken.lost
        taken.close()
        assert found(tmp_path)["pid"] == child.pid


def test_deleted_file_whose_flock_another_run_has_is_not_written(tmp_path, take):
    """The other run holds the flock for a moment before it writes its record."""
    taken = take(beat=60)
    (tmp_path / "lock").unlink()
    descriptor = lock_module._open(tmp_path / "lock")
    lock_module._flock(descriptor)
    with pytest.raises(BlockingIOError):
        taken._beat()
    assert (tmp_path / "lock").read_bytes() == b""
    put(tmp_path, record())
    taken._beat()
    assert taken.lost
    os.close(descriptor)


def test_a_missing_directory_does_not_end_the_heartbeat(tmp_path):
    with Lock(tmp_path / "x", beat=BEAT) as taken:
        (tmp_path / "x").rename(tmp_path / "y")
        time.sleep(3 * BEAT)
        (tmp_path / "y").rename(tmp_path / "x")
        beat = found(tmp_path / "x")["beat"]
        until(lambda: found(tmp_path / "x")["beat"] > beat)
        assert not taken.lost


def test_a_file_in_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError, match=str(tmp_path / "x")):
        Lock(tmp_path / "x")


def test_a_directory_in_place_of_the_lock_file_is_named(tmp_path, take):
    (tmp_path / "lock").mkdir()
    with pytest.raises(IsADirectoryError, match=str(tmp_path / "lock")):
        take()


@pytest.mark.parametrize("broken", ["_flock", "_write"])
def test_disk_that_fails_at_the_start_is_named_and_leaves_no_lock(tmp_path, take, monkeypatch, broken):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(lock_module, broken, fail)
        with pytest.raises(OSError, match=f"Input/output error: '{tmp_path}/lock'"):
            take()
    take()


@pytest.mark.parametrize("beat", [0, -1, float("nan"), float("inf"), 3601])
def test_heartbeat_out_of_range_is_refused(tmp_path, beat):
    with pytest.raises(ValueError, match=r"beat=.*; expected seconds in"):
        Lock(tmp_path, beat=beat)
    assert not (tmp_path / "lock").exists()


def test_a_directory_is_held_while_a_run_uses_it_and_looking_disturbs_nobody(tmp_path, take):
    assert not is_held(tmp_path / "missing") and not (tmp_path / "missing").exists()
    with owner(tmp_path):
        assert is_held(tmp_path) and is_held(tmp_path)
        with pytest.raises(WorkdirInUse):
            take()
    assert owner_id(tmp_path) and not is_held(tmp_path), "a killed owner leaves its record"
    ours = take()
    assert is_held(tmp_path) and not ours.lost
    ours.close()
    assert not is_held(tmp_path)


def test_what_only_a_heartbeat_could_tell_counts_as_free(tmp_path, without_flock):
    put(tmp_path, record(token="9f1c2d3e"))
    assert not is_held(tmp_path)


def test_without_the_module_nothing_is_held(tmp_path, without_module):
    put(tmp_path, record(token="9f1c2d3e"))
    assert not is_held(tmp_path)
