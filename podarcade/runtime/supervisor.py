"""Child processes: start them, pass signals on to them, restart them, and report why they ended."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence

import jax

from podarcade.runtime import peers
from podarcade.runtime.signals import DIVERGED, DONE, ERROR, SUPERVISOR, is_orphan

GRACE = 20.0  # seconds in which the other processes of a run have to end once one of them failed
SERIES = "PODARCADE_SERIES"  # environment variable: names automatic starts of one run that follow each other
ATTEMPT = "PODARCADE_ATTEMPT"  # environment variable: set in processes that `supervise` started


class Children:
    """Child processes that stop with this one; a context manager for the main thread.

    SIGINT, SIGTERM and SIGUSR1 are passed on; the same signal again kills the children. They know their parent by the
    environment variable SUPERVISOR: when it is gone they save and stop (see `Signals`). On leaving the context
    because of an exception, children that still run get SIGTERM and are waited for.

    Attributes:
      stop_signal: the signal that asked this process to stop, 0 if none did.
    """

    def __init__(self):
        self.stop_signal = 0
        self._running: list[subprocess.Popen] = []

    def __enter__(self):
        numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
        self._previous = {number: signal.signal(number, self._pass_on) for number in numbers}
        return self

    def __exit__(self, *error):
        if any(child.poll() is None for child in self._running):
            self.send(signal.SIGTERM)
            for child in self._running:
                child.wait()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None, log=None) -> subprocess.Popen:
        """Start a child.

        Args:
          command: the program and its arguments.
          environment: variables to add or to change.
          log: file object for its output and its errors; None to share those of this process.
        """
        variables = {key: value for key, value in os.environ.items() if key != ATTEMPT}
        variables |= {SUPERVISOR: str(os.getpid()), **(environment or {})}
        errors = None if log is None else subprocess.STDOUT
        # In a session of its own: a terminal sends Ctrl-C to its whole session, and a child would receive it twice.
        child = subprocess.Popen(command, env=variables, stdout=log, stderr=errors, start_new_session=True)
        self._running = [other for other in self._running if other.poll() is None] + [child]
        if self.stop_signal:  # arrived while the child was started
            child.send_signal(self.stop_signal)
        return child

    def send(self, number: int) -> None:
        """Send a signal to all children that still run."""
        for child in self._running:
            if child.poll() is None:
                child.send_signal(number)

    def check_parent(self) -> None:
        """Stop the children if the supervisor of this process is gone."""
        if not self.stop_signal and is_orphan():
            self._pass_on(signal.SIGTERM, None)

    def _pass_on(self, number: int, _) -> None:
        repeated, self.stop_signal = number == self.stop_signal, number
        self.send(signal.SIGKILL if repeated else number)


def supervise(command: list[str], number: int, restarts: int) -> int:
    """Run the processes of a run, and restart them when they crash, lose each other or are preempted.

    A run that completes or ends with an error is not restarted, nor is any once this process was asked to stop. A start
    that follows two starts without progress exits with an error (see `starts.check_progress`).

    Args:
      command: command of one process; with several, each also gets the arguments of `addresses`.
      number: processes on this machine's CPU, connected over TCP.
      restarts: maximum number of restarts.

    Returns:
      The exit code of the run.
    """
    environment = {ATTEMPT: "1", SERIES: os.environ.get(SERIES, uuid.uuid4().hex)}
    if number > 1:
        environment |= {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}
    with Children() as children:
        for attempt in range(restarts + 1):
            codes = _run(children, command, number, environment)
            code = _combined(codes)
            if code in (DONE, ERROR, DIVERGED) or children.stop_signal or attempt == restarts:
                return code
            ends = ", ".join(f"process {i} {describe(code)}" for i, code in enumerate(codes) if code)
            print(f"supervisor: {ends}; restart {attempt + 1} of {restarts}", flush=True)
            time.sleep(1.0)
            if children.stop_signal:
                return code
    raise AssertionError("the last attempt returns")


def _run(children: Children, command: list[str], number: int, environment: Mapping[str, str]) -> list[int]:
    """Return the exit codes of all processes once they have ended."""
    places = addresses(number) if number > 1 else [[]]
    started = [children.start([*command, *place], environment) for place in places]
    deadline = None
    while any(child.poll() is None for child in started):
        children.check_parent()
        if deadline is None and any(child.poll() for child in started):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            children.send(signal.SIGKILL)
        time.sleep(0.05)
    return [child.returncode for child in started]


def _combined(codes: list[int]) -> int:
    """Return one exit code for all processes: an error that would occur again takes precedence."""
    for code in (ERROR, DIVERGED):
        if code in codes:
            return code
    worst = max(codes, key=abs)
    return worst if worst >= 0 else 128 - worst


def describe(code: int, log: pathlib.Path | None = None, since: int = 0) -> str:
    """Return how a child ended, with the reason it printed last.

    Args:
      code: return code of `subprocess.Popen`.
      log: file with its output; None if there is none.
      since: size of the file, in bytes, before the child was started.

    Returns:
      For example "was killed by SIGKILL", "exited with code 1: unknown memory 'lruu'; did you mean 'lru'?".
    """
    end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    reason = last_error(log, since) if log is not None and code > 0 else ""
    return f"{end}: {reason}" if reason else end


def last_error(log: pathlib.Path, since: int = 0) -> str:
    """Return the last error line of a log without its "error: ", or else its last line; "" if it is empty.

    Args:
      log: file with the output of a command.
      since: position in bytes to read from.
    """
    with open(log, "rb") as file:
        file.seek(since)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]


def addresses(number: int) -> list[list[str]]:
    """Return, for each of `number` processes on this machine, the arguments by which it finds the others."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return [
        [f"--coordinator=localhost:{port}", f"--num_processes={number}", f"--process_id={i}"] for i in range(number)
    ]


def is_address(argument: str) -> bool:
    """Return whether a command-line argument comes from `addresses`."""
    return argument.startswith(("--coordinator=", "--num_processes=", "--process_id="))


def leave(code: int) -> None:
    """End this process; after a failure without waiting for the others, which may be waiting for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code != DONE and jax.distributed.is_initialized():
        peers.depart()
        os._exit(code)
    sys.exit(code)
