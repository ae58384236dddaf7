"""Train the runs of a sweep, some programs at a time, each in a process that ends with this one."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from podarcade.runtime import backend, lock, provenance, supervisor
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.programs import End, Failure, Program
from podarcade.sweeps.progress import Progress

POLL = 0.5  # seconds
FIRST_LOOK, LONGEST_LOOK = 5.0, 60.0  # seconds between looks at a program that another launcher trains; they double


class Outcome(NamedTuple):
    """What became of the runs.

    Attributes:
      complete: runs that are complete.
      failed: why others failed; those that were stopped or never started are in neither.
    """

    complete: list[Job]
    failed: dict[Job, Failure]


def places(asked: int, programs: int) -> list[dict[str, str]]:
    """Return the environment variables of each program that runs at the same time.

    Args:
      asked: programs at once; 0: one on each core of a CPU, one on each GPU where there are several, else one.
      programs: number of programs.
    """
    devices = backend.device_choices()
    number = asked or len(devices) or (1 if backend.accelerator() else provenance.cores())
    number = max(min(number, programs), 1)
    return [devices[index % len(devices)] if devices else {} for index in range(number)]


def launch_options(at_once: int) -> tuple[str, ...]:
    """Return options of `podarcade.launch` for programs that share a machine: on a CPU, a core each."""
    return ("--cpu_devices=1",) if at_once > 1 and not backend.accelerator() else ()


class Running:
    """The programs that are training, each in a process of its own.

    Args:
      children: starts the processes, passes signals on to them, and ends them with this one.
      places: environment variables of each program that runs at the same time.
      options: arguments of `podarcade.launch` for every program.
    """

    def __init__(self, children: supervisor.Children, places: Sequence[Mapping[str, str]], options: tuple[str, ...]):
        self._children = children
        self._free = list(places)
        self._options = options
        self._processes: dict[Program, tuple[subprocess.Popen, int, Mapping[str, str]]] = {}

    @property
    def programs(self) -> list[Program]:
        """The programs that are running."""
        return list(self._processes)

    @property
    def has_place(self) -> bool:
        """Whether another program can be started."""
        return bool(self._free)

    def start(self, program: Program) -> None:
        """Start a program; its output is appended to console.txt in its folder."""
        program.workdir.mkdir(parents=True, exist_ok=True)
        place = self._free.pop(0)
        with program.console.open("ab") as console:
            process = self._children.start(program.command(self._options), place, log=console)
            self._processes[program] = process, console.tell(), place

    def ended(self) -> list[tuple[Program, End]]:
        """Return the programs that have ended since the last call, and how."""
        found = []
        for program, (process, began, place) in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[program]
                self._free.append(place)
                found.append((program, End.of(process.returncode, program.console, began)))
        return found

    def last_line(self, program: Program) -> str:
        """Return the last line that a running program has printed."""
        return supervisor.last_error(program.console, self._processes[program][1])


class _Queue:
    """Programs that wait: for a place, or for another launcher that trains them."""

    def __init__(self, waiting: Sequence[Program]):
        self._waiting = list(waiting)
        self._elsewhere: dict[Program, tuple[float, float]] = {}  # when to look again, and seconds between looks

    def __bool__(self):
        return bool(self._waiting or self._elsewhere)

    def append(self, program: Program) -> None:
        """Let a program wait behind all others."""
        self._waiting.append(program)

    def leave(self, program: Program) -> bool:
        """Leave a program to the launcher that trains it, and look at it again later; return whether that is new."""
        _, last = self._elsewhere.get(program, (0.0, 0.0))
        seconds = min(max(2 * last, FIRST_LOOK), LONGEST_LOOK)
        self._elsewhere[program] = time.monotonic() + seconds, seconds
        return not last

    def due(self) -> list[Program]:
        """Return the programs to look at now: those left to another launcher a while ago, then those that wait."""
        now = time.monotonic()
        return [*(program for program, (when, _) in self._elsewhere.items() if when <= now), *self._waiting]

    def remove(self, program: Program) -> None:
        """Remove a program that is started or settled."""
        self._elsewhere.pop(program, None)
        if program in self._waiting:
            self._waiting.remove(program)


class _Sweep:
    """The state of `train`."""

    def __init__(self, programs: Sequence[Program], progress: Progress, done: Callable[[Job], None], retries: int):
        self._progress, self._done, self._retries = progress, done, retries
        self._attempts = dict.fromkeys(programs, 0)
        self._complete: dict[Job, None] = {}
        self.failed: dict[Job, Failure] = {}
        found = [job for program in programs for job in program.jobs if job.is_complete()]
        progress.begin(programs, found)
        for job in found:
            self._complete[job] = None
            done(job)
        self.queue = _Queue([program for program in programs if not self.settle(program)])

    @property
    def complete(self) -> list[Job]:
        """The complete runs."""
        return list(self._complete)

    def settle(self, program: Program) -> bool:
        """Take note of the runs of a program that are complete or diverged by now; return whether all are."""
        for job in program.jobs:
            if job not in self._complete and job.is_complete():
                self._complete[job] = None
                self._progress.complete(job)
                self._done(job)
        diverged = {job: failure for job, failure in program.diverged().items() if job not in self._complete}
        self._fail(diverged)
        return all(job in self._complete or job in self.failed for job in program.jobs)

    def start(self, running: Running) -> None:
        """Start waiting programs while there is room for them."""
        for program in self.queue.due():
            if not running.has_place:
                return
            if lock.is_held(program.workdir):
                self._leave(program, "its folder is in use")
                continue
            self.queue.remove(program)
            if not self.settle(program):  # another launcher may have completed it
                self._attempts[program] += 1
                running.start(program)
                self._progress.started(program)

    def end(self, program: Program, end: End, is_stopping: bool) -> None:
        """Take note of the end of a process: its runs are complete, tried again, left to another launcher or failed."""
        self._progress.ended(program)
        if self.settle(program):
            return
        if is_stopping:
            self._progress.say(f"{program.name}: stopped")
        elif end.is_elsewhere:
            self._attempts[program] -= 1
            self._leave(program, end.reason)
        elif end.is_retryable and self._attempts[program] <= self._retries:
            self._progress.say(f"{program.name}: {end.reason}; retry {self._attempts[program]} of {self._retries}")
            self.queue.append(program)
        else:
            lost = [job for job in program.jobs if job not in self._complete and job not in self.failed]
            self._fail(dict.fromkeys(lost, Failure(end.reason, end.code)))

    def _leave(self, program: Program, reason: str) -> None:
        is_new = self.queue.leave(program)
        if is_new:
            self._progress.say(f"{program.name}: left to another launcher ({reason})")

    def _fail(self, failures: dict[Job, Failure]) -> None:
        for job, failure in failures.items():
            if job not in self.failed:
                self.failed[job] = failure
                self._progress.failed(job, failure.reason)


def train(
    programs: Sequence[Program],
    places: Sequence[Mapping[str, str]],
    children: supervisor.Children,
    options: tuple[str, ...],
    progress: Progress,
    done: Callable[[Job], None],
    retries: int = 0,
) -> Outcome:
    """Train all runs that are not complete.

    Several launchers may train the programs of one folder: each leaves to the others what they have locked, and looks
    at it again later, in case they were killed.

    Args:
      programs: what to train.
      places: environment variables of each program that runs at the same time.
      children: starts their processes.
      options: arguments of `podarcade.launch` for every program.
      progress: display.
      done: called with each complete run as soon as it is complete, whether trained now or before.
      retries: further attempts for a program that was killed, or that lost a device or another process (exit code 75).

    Returns:
      What is complete and what failed; a failed run does not stop the others, a signal does.
    """
    sweep, running = _Sweep(programs, progress, done, retries), Running(children, places, options)
    while running.programs or (sweep.queue and not children.stop_signal):
        if not children.stop_signal:
            sweep.start(running)
        time.sleep(POLL)
        children.check_parent()
        if children.stop_signal:
            progress.stopping()
        for program in running.programs:
            progress.update(program, program.latest(), running.last_line(program))
        for program, end in running.ended():
            sweep.end(program, end, bool(children.stop_signal))
    return Outcome(sweep.complete, sweep.failed)
