"""Start the processes of a run on this machine, pass signals on to them, and restart them."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax

from podarcade.runtime.signals import DIVERGED, DONE, ERROR, SUPERVISOR

GRACE = 20.0  # seconds that processes have to end by themselves when one of them has ended badly


def supervise(command: list[str], number: int, restarts: int) -> int:
    """Runs a command in processes of its own, and again when they crash, lose each other or are preempted.

    What ends by itself, done or with an error that would come again, is not restarted; nor is anything once this
    process has been asked to stop: it passes SIGINT, SIGTERM and SIGUSR1 on.

    Args:
      command: for one process; with several each is told which it is.
      number: of processes on this machine, which find each other over TCP and use its CPU.
      restarts: how often, at most.

    Returns:
      The exit code of the processes.
    """
    parent = _Parent()
    for attempt in range(restarts + 1):
        codes = parent.run(command, number)
        code = _combined(codes)
        if code in (DONE, ERROR, DIVERGED) or parent.asked or attempt == restarts:
            return code
        what = ", ".join(f"process {i} {_in_words(c)}" for i, c in enumerate(codes) if c)
        print(f"supervisor: {what}; restart {attempt + 1} of {restarts}", flush=True)
        time.sleep(1.0)
        if parent.asked:
            return code
    raise AssertionError("the last attempt returns")


class _Parent:
    """Starts processes, passes signals on to them, waits for them."""

    def __init__(self):
        self.asked = 0
        self._children: list[subprocess.Popen] = []
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._pass_on)

    def _pass_on(self, number: int, _) -> None:
        # The same one again ends all at once. Children do not count themselves: who stops a job may have signalled
        # them besides their parent.
        again, self.asked = number == self.asked, number
        self._send(signal.SIGKILL if again else number)

    def _send(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)

    def run(self, command: list[str], number: int) -> list[int]:
        """The exit codes of the processes, once all have ended."""
        environment = {**os.environ, SUPERVISOR: str(os.getpid())}
        told: list[list[str]] = [[]]
        if number > 1:
            environment.setdefault("JAX_PLATFORMS", "cpu")
            told = addresses(number)
        # In sessions of their own: a terminal sends Ctrl-C to all of a session, and it would come twice.
        self._children = []
        for address in told:
            child = subprocess.Popen([*command, *address], env=environment, start_new_session=True)
            self._children.append(child)
        if self.asked:  # while they were started
            self._send(self.asked)
        deadline = None
        while any(child.poll() is None for child in self._children):
            if deadline is None and any(child.poll() for child in self._children):
                deadline = time.monotonic() + GRACE
            if deadline is not None and time.monotonic() > deadline:
                for child in self._children:
                    child.kill()
            time.sleep(0.05)
        return [child.returncode for child in self._children]


def _combined(codes: list[int]) -> int:
    """One exit code for all: an error that would come again goes before one that would not."""
    for code in (ERROR, DIVERGED):
        if code in codes:
            return code
    worst = max(codes, key=abs)
    return worst if worst >= 0 else 128 - worst


def _in_words(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def addresses(number: int) -> list[list[str]]:
    """What tells each of so many processes on this machine where the others are."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return [
        [f"--coordinator=localhost:{port}", f"--num_processes={number}", f"--process_id={i}"] for i in range(number)
    ]


def is_address(argument: str) -> bool:
    """Whether an argument of the command line tells a process where it is in its run."""
    return argument.startswith(("--coordinator=", "--num_processes=", "--process_id="))


def leave(code: int) -> None:
    """Ends this process. One that fails does not wait for the others, which are waiting for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code != DONE and jax.distributed.is_initialized():
        os._exit(code)
    sys.exit(code)
