"""Signals: the first asks the run to stop, the same one again ends it, and a long call in C delays neither."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from podarcade.runtime.signals import SUPERVISOR, Signals, exit_code

CHILD = """
import sys, time
from podarcade.runtime.signals import Signals
with Signals("resume with X") as signals:
    print("ready", flush=True)
    began = time.monotonic()
    while not signals.stop_signal and time.monotonic() < began + 20:
        {wait}
    print("stop signal", signals.stop_signal, flush=True)
    {then}
print("left", flush=True)
"""
# One call in C, like a compilation: the interpreter runs other threads meanwhile, but no handler.
BUSY = "__import__('hashlib').pbkdf2_hmac('sha256', b'', b'', 1 << 30)"


def child(wait="time.sleep(0.01)", then="pass", **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(wait=wait, then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=pathlib.Path(__file__).parent.parent,
        env={**os.environ, **environment},
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_asks_to_stop(number):
    process = child()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert output == f"stop signal {int(number)}\nleft\n" and process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_same_signal_again_ends_the_process_immediately(number):
    process = child(then="time.sleep(60)")
    process.send_signal(number)
    assert process.stdout.readline() == f"stop signal {int(number)}\n"
    began = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert (process.returncode, output) == (128 + number, "")
    assert errors == "stopped immediately; resume with X\n"


def test_the_same_signal_again_ends_a_long_call_immediately():
    process = child(wait=BUSY)
    time.sleep(0.2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, errors = process.communicate(timeout=5)
    assert process.returncode == 130 and "stopped immediately" in errors


def test_another_signal_does_not_end_the_process():
    """Slurm sends SIGTERM some time after SIGUSR1; the run is saving by then."""
    process = child(then="time.sleep(0.5)")
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == f"stop signal {int(signal.SIGUSR1)}\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "left\n")


def test_a_lost_supervisor_asks_to_stop():
    process = child(**{SUPERVISOR: "1"})  # not the process that started it
    # Not `communicate`, which forgets what `readline` has buffered.
    assert process.stdout.read() == f"stop signal {int(signal.SIGTERM)}\nleft\n"
    process.communicate()
    process = child(**{SUPERVISOR: str(os.getpid())})
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.kill()
    process.communicate()


def test_under_a_supervisor_the_same_signal_again_does_not_end_the_process():
    """A job's scheduler signals parent and child, and the parent passes its own on."""
    process = child(then="time.sleep(0.5)", **{SUPERVISOR: str(os.getpid())})
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == f"stop signal {int(signal.SIGTERM)}\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "left\n")


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        assert signal.getsignal(signal.SIGTERM) is not before[0]
        assert signals.stop_signal == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_exit_codes():
    assert [exit_code(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == [0, 75, 75]
