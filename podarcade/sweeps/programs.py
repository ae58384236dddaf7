"""Programs: the processes of a sweep, each of which trains one run, or several as members of a population."""

import dataclasses
import pathlib
import sys
from typing import NamedTuple

from podarcade.runtime import members, supervisor
from podarcade.runtime.lock import IN_USE
from podarcade.runtime.metrics import METRICS, read_last
from podarcade.runtime.signals import DIVERGED, ERROR, REQUEUE
from podarcade.sweeps.jobs import Job

LAUNCH = (sys.executable, "-m", "podarcade.launch")
CONSOLE = "console.txt"  # output of a program, in its folder


class Failure(NamedTuple):
    """Why a run is not complete.

    Attributes:
      reason: one line.
      code: exit code of its process, negative for the signal that killed it.
    """

    reason: str
    code: int


class End(NamedTuple):
    """How a process of a program ended.

    Attributes:
      code: exit code, negative for the signal that killed it.
      reason: one line.
    """

    code: int
    reason: str

    @classmethod
    def of(cls, code: int, console: pathlib.Path, since: int) -> "End":
        """Return how a process ended whose output is in a file from a position on, in bytes."""
        text = supervisor.describe(code, console, since)
        return cls(code, text if ": " in text else f"{text}; see {console}")

    @property
    def is_elsewhere(self) -> bool:
        """Whether it left its folder to another process, which uses it."""
        return self.code == ERROR and IN_USE in self.reason

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may succeed: it was killed, or lost a device or another process."""
        return self.code < 0 or self.code == REQUEUE


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One process of `podarcade.launch` that trains one run or several.

    Attributes:
      name: name in lines about the program.
      workdir: the folder that it locks: that of its run, or of its population.
      arguments: of `podarcade.launch`, without `--workdir`.
      jobs: the runs that the sweep wants of it.
      slots: number of agents that it trains side by side: all seeds of all runs, also of those that left the sweep.
    """

    name: str
    workdir: pathlib.Path
    arguments: tuple[str, ...]
    jobs: tuple[Job, ...]
    slots: int

    @classmethod
    def alone(cls, job: Job) -> "Program":
        """Return the program that trains one run."""
        return cls(job.name, job.workdir, job.arguments, (job,), job.seeds)

    @property
    def frames(self) -> int:
        """Environment steps of all slots together."""
        return self.slots * self.jobs[0].frames // self.jobs[0].seeds

    @property
    def game(self) -> str:
        """The game of all its runs."""
        return self.jobs[0].task.game

    @property
    def total_updates(self) -> int:
        """Updates of the complete program."""
        return self.jobs[0].total_updates

    @property
    def console(self) -> pathlib.Path:
        """File that its output is appended to."""
        return self.workdir / CONSOLE

    def command(self, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command of its process, with further options of `podarcade.launch`."""
        return [*LAUNCH, *self.arguments, f"--workdir={self.workdir}", *options]

    def latest(self) -> list[dict]:
        """Return the last records of its metrics, over all its slots."""
        return read_last(self.workdir / METRICS)

    def diverged(self) -> dict[Job, Failure]:
        """Return the runs of a population that diverged: a population tries them once."""
        reasons = (members.read(self.workdir) or {}).get("diverged", {})
        return {job: Failure(reasons[job.workdir.name], DIVERGED) for job in self.jobs if job.workdir.name in reasons}

    def is_settled(self) -> bool:
        """Return whether all its runs are complete, or diverged as members of a population."""
        diverged = self.diverged()
        return all(job in diverged or job.is_complete() for job in self.jobs)
