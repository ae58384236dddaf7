"""Train the runs of a sweep, some at a time, each in a process that ends with this one."""

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from podarcade.runtime import supervisor
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.progress import Progress

LAUNCH = (sys.executable, "-m", "podarcade.launch")
CONSOLE = "console.txt"  # output of a run, in its folder
POLL = 0.5  # seconds


class Runs:
    """The runs that are training, each in a process of its own.

    Args:
      children: starts the processes, passes signals on to them, and ends them with this one.
      options: arguments of `podarcade.launch` for every run.
    """

    def __init__(self, children: supervisor.Children, options: Sequence[str]):
        self._children = children
        self._options = options
        self._running: dict[Job, tuple[subprocess.Popen, int]] = {}

    @property
    def jobs(self) -> list[Job]:
        """The jobs that are running."""
        return list(self._running)

    def start(self, job: Job) -> None:
        """Start a run; its output is appended to console.txt in its folder."""
        job.workdir.mkdir(parents=True, exist_ok=True)
        with (job.workdir / CONSOLE).open("ab") as console:
            command = [*LAUNCH, *job.arguments, f"--workdir={job.workdir}", *self._options]
            began = console.tell()
            self._running[job] = self._children.start(command, log=console), began

    def ended(self) -> list[tuple[Job, str]]:
        """Return the jobs that have ended since the last call, each with the reason if it failed, else ""."""
        found = []
        for job, (process, began) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[job]
                found.append((job, "" if job.is_complete() else self._reason(job, process.returncode, began)))
        return found

    def last_line(self, job: Job) -> str:
        """Return the last line that a running job has printed."""
        return supervisor.last_error(job.workdir / CONSOLE, self._running[job][1])

    def _reason(self, job: Job, code: int, began: int) -> str:
        if self._children.stop_signal:
            return "stopped"
        log: pathlib.Path = job.workdir / CONSOLE
        text = supervisor.describe(code, log, began)
        return text if ": " in text else f"{text}; see {log}"


def train(
    jobs: list[Job],
    at_once: int,
    children: supervisor.Children,
    options: Sequence[str],
    progress: Progress,
    done: Callable[[Job], None],
) -> bool:
    """Train all jobs that are not complete.

    Args:
      jobs: what to train.
      at_once: number of runs that train at the same time.
      children: starts their processes.
      options: arguments of `podarcade.launch` for every run.
      progress: display.
      done: called with each complete job as soon as it is complete, whether trained now or before.

    Returns:
      Whether all are complete; a failed run does not stop the others, a signal does.
    """
    complete = [job for job in jobs if job.is_complete()]
    waiting = [job for job in jobs if job not in complete]
    runs = Runs(children, options)
    for job in complete:
        progress.found(job)
        done(job)
    while runs.jobs or (waiting and not children.stop_signal):
        while waiting and not children.stop_signal and len(runs.jobs) < at_once:
            job = waiting.pop(0)
            runs.start(job)
            progress.started(job)
        time.sleep(POLL)
        children.check_parent()
        if children.stop_signal:
            progress.stopping()
        for job in runs.jobs:
            progress.update(job, job.records(), runs.last_line(job))
        for job, reason in runs.ended():
            progress.ended(job, reason)
            if not reason:
                done(job)
                complete.append(job)
    return len(complete) == len(jobs)
