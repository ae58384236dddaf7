"""Trains the runs of a sweep, some at a time, each in a process that ends with this one."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from podarcade.runtime.signals import SUPERVISOR
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.progress import Progress

LAUNCH = (sys.executable, "-m", "podarcade.launch")
CONSOLE = "console.txt"  # what a run prints, in its folder
POLL = 0.5  # seconds
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Children:
    """Runs in processes of their own; a context manager for the main thread that passes signals on to them.

    The first SIGINT, SIGTERM or SIGUSR1 makes each child save a checkpoint and stop; a second one kills them. Children
    also stop, saved, when this process dies: they watch the parent that `PODARCADE_SUPERVISOR` names.

    Args:
      options: arguments of `podarcade.launch` for every run.
      environment: of the children.
    """

    def __init__(self, options: Iterable[str], environment: dict[str, str]):
        self.signal = 0  # that asked this process to stop
        self._options = list(options)
        self._environment = {**environment, SUPERVISOR: str(os.getpid())}
        self._running: dict[Job, tuple[subprocess.Popen, int]] = {}

    def __enter__(self):
        self._before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for process, _ in self._running.values():  # only after an error of ours: as if this process had died
            process.terminate()

    def _pass_on(self, number: int, _) -> None:
        again, self.signal = bool(self.signal), self.signal or number
        for process, _ in list(self._running.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if again else number)

    @property
    def jobs(self) -> list[Job]:
        """The jobs that are running."""
        return list(self._running)

    def start(self, job: Job) -> None:
        """Start a run; its output is appended to console.txt in its folder."""
        job.workdir.mkdir(parents=True, exist_ok=True)
        path = job.workdir / CONSOLE
        command = [*LAUNCH, *job.arguments, f"--workdir={job.workdir}", *self._options]
        with path.open("ab") as console:
            began = console.tell()
            # A session of its own: a terminal sends Ctrl-C to all processes of a session, and it would come twice.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        self._running[job] = process, began

    def ended(self) -> list[tuple[Job, str]]:
        """Return the jobs that have ended since the last call, each with why it failed, "" where it did not."""
        found = []
        for job, (process, began) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[job]
                found.append((job, "" if job.is_complete() else self._reason(job, process.returncode, began)))
        return found

    def doing(self, job: Job) -> str:
        """Return the last line that a running job has printed."""
        return last_line(job.workdir / CONSOLE, self._running[job][1])

    def _reason(self, job: Job, code: int, began: int) -> str:
        if self.signal:
            return "stopped"
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        line = last_line(job.workdir / CONSOLE, began, "error: ")
        return f"{how}: {line}" if line else f"{how}; see {job.workdir / CONSOLE}"


def last_line(path: pathlib.Path, began: int, prefix: str = "") -> str:
    """Return the last line of a file that starts with a prefix, without it; "" where there is none.

    Args:
      path: file.
      began: byte from which it is read.
      prefix: of the line.
    """
    with path.open("rb") as file:
        file.seek(began)
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.removeprefix(prefix).strip() for line in reversed(lines) if line.startswith(prefix) and line), "")


def train(jobs: list[Job], processes: int, children: Children, progress: Progress, done: Callable[[Job], None]) -> bool:
    """Train all jobs that are not complete, `processes` at a time.

    Args:
      jobs: what to train.
      processes: runs at once.
      children: where they run.
      progress: display.
      done: called with each complete job as soon as it is complete, whether trained now or before.

    Returns:
      Whether all are complete; a failed run does not stop the others, a signal does.
    """
    complete = [job for job in jobs if job.is_complete()]
    waiting = [job for job in jobs if job not in complete]
    for job in complete:
        progress.found(job)
        done(job)
    while children.jobs or (waiting and not children.signal):
        while waiting and not children.signal and len(children.jobs) < processes:
            job = waiting.pop(0)
            children.start(job)
            progress.started(job)
        time.sleep(POLL)
        if children.signal:
            progress.stopping()
        for job in children.jobs:
            progress.update(job, job.records(), children.doing(job))
        for job, why in children.ended():
            progress.ended(job, why)
            if not why:
                done(job)
                complete.append(job)
    return len(complete) == len(jobs)
