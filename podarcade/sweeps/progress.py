"""Shows the runs of a sweep: a live table on a terminal, one line per event elsewhere."""

import os
import time
from collections.abc import Sequence

import rich.progress
from rich.console import Console as Screen
from rich.text import Text

from podarcade.runtime.console import clock
from podarcade.sweeps.jobs import Job
from podarcade.sweeps.programs import Program

STEP = 0.1  # share of a program between two of its plain lines
MANY = 40  # runs above which plain lines are only printed for what ends


class Progress:
    """Progress of the runs of a sweep; a context manager.

    On a terminal, running programs have a bar each, with their latest greedy return and the time left; elsewhere, and
    under `CI`, a line per tenth of a program is printed. What is complete or failed stays as a line.

    Args:
      total: runs of the sweep.
      processes: programs at once.
      screen: where to draw; standard output by default.
    """

    def __init__(self, total: int, processes: int, screen: Screen | None = None):
        self.screen = screen or Screen(soft_wrap=True)
        self._total, self._processes = total, processes
        self._done = self._failed = 0
        self._is_live = self.screen.is_terminal and "CI" not in os.environ
        text = rich.progress.TextColumn
        self._bars = rich.progress.Progress(
            text("{task.description}"), rich.progress.BarColumn(24), rich.progress.TaskProgressColumn(),
            text("{task.fields[state]}"), text("{task.fields[left]}", style="cyan"),
            console=self.screen, refresh_per_second=2, disable=not self._is_live,
        )  # fmt: skip
        self._all = self._bars.add_task("all runs", total=total, state="", left="")
        self._tasks: dict[Program, int] = {}
        self._first: dict[Program, tuple[float, float]] = {}  # time and share when this start wrote its first record
        self._printed: dict[Program, float] = {}
        self._frames: dict[Job, float] = {}  # frames that unfinished runs have left
        self._rates: dict[str, float] = {}  # game -> frames per second of a program, latest
        self._is_stopping = False

    def __enter__(self):
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.screen.print(Text(text), highlight=False, soft_wrap=True)

    def begin(self, programs: Sequence[Program], complete: Sequence[Job]) -> None:
        """Take note of all programs, and report the runs that were complete already."""
        self._frames = {job: float(job.frames) for program in programs for job in program.jobs}
        for job in complete:
            self._frames.pop(job, None)
        self._done += len(complete)
        if len(complete) <= MANY:
            for job in complete:
                self.say(f"{job.name}: complete, {_score(job)}; read from {job.workdir}; {self._summary()}")
        else:
            self.say(f"{self._summary()} complete already")
        self._refresh()

    def started(self, program: Program) -> None:
        """Report the start of a program."""
        self._tasks[program] = self._bars.add_task(program.name, total=1.0, state="starting", left="")
        self._first.pop(program, None)
        if not self._is_live and self._total <= MANY:
            self.say(f"{program.name}: started in {program.workdir}")
        self._refresh()

    def update(self, program: Program, records: list[dict], doing: str) -> None:
        """Show how far a running program is.

        Args:
          program: what runs.
          records: last records of its metrics.jsonl.
          doing: last line that it printed, shown until this start has written records.
        """
        now, share = time.monotonic(), records[-1]["updates"] / program.total_updates if records else 0.0
        began, first = self._first.setdefault(program, (now, share))
        left = None
        if share > first and now > began:
            pace = (now - began) / (share - first)
            self._rates[program.game] = program.frames / pace
            left = pace * (1 - share)
        for job in program.jobs:
            if job in self._frames:
                self._frames[job] = job.frames * (1 - share)
        score = program.jobs[0].last_return(records)
        state = doing[:60] if share <= first else f"return {score:.3f}" if score is not None else ""
        self._bars.update(self._tasks[program], completed=share, state=state, left="" if left is None else clock(left))
        self._refresh()
        if not self._is_live and self._total <= MANY and share >= self._printed.get(program, first) + STEP:
            self._printed[program] = share
            self.say(f"{program.name}: {share:.0%}, {state}, {clock(left or 0)} left; {self._summary()}")

    def ended(self, program: Program) -> None:
        """Remove a program that is no longer running."""
        self._bars.remove_task(self._tasks.pop(program))
        self._refresh()

    def complete(self, job: Job) -> None:
        """Report a run that is complete."""
        self._done += 1
        self._frames.pop(job, None)
        self.say(f"{job.name}: complete, {_score(job)}; {self._summary()}")
        self._refresh()

    def failed(self, job: Job, reason: str) -> None:
        """Report a run that failed."""
        self._failed += 1
        self._frames.pop(job, None)
        self.say(f"{job.name}: FAILED, {reason}")
        self._refresh()

    def stopping(self) -> None:
        """Report once that running programs save and stop."""
        if not self._is_stopping:
            self._is_stopping = True
            self.say("stopping: runs save a checkpoint and end; signal again to kill them")

    def _refresh(self) -> None:
        running = sum(len(program.jobs) for program in self._tasks)
        waiting = self._total - self._done - self._failed - running
        words = [f"{self._done} complete", f"{running} running", f"{max(waiting, 0)} waiting"]
        words += [f"{self._failed} failed"] if self._failed else []
        self._bars.update(self._all, completed=self._done, state=", ".join(words), left=self._left())

    def _summary(self) -> str:
        left = self._left()
        return f"{self._done} of {self._total} runs" + (f", {left} left" if left else "")

    def _left(self) -> str:
        """Return the time until all runs are complete, from the latest pace on each game, or else that of all games."""
        if not self._rates or not self._frames:
            return ""
        mean = sum(self._rates.values()) / len(self._rates)
        seconds = sum(frames / self._rates.get(job.task.game, mean) for job, frames in self._frames.items())
        return clock(seconds / min(self._processes, len(self._frames)))


def _score(job: Job) -> str:
    score = job.last_return(job.latest())
    return "no return" if score is None else f"last return {score:.3f}"
