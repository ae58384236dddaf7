"""Shows the runs of a sweep: a live table on a terminal, one line per event elsewhere."""

import os
import time

import rich.progress
from rich.console import Console as Screen
from rich.text import Text

from podarcade.runtime.console import clock
from podarcade.sweeps.jobs import Job

STEP = 0.1  # share of a run between two of its plain lines


class Progress:
    """Progress of the runs of a sweep; a context manager.

    On a terminal, running jobs have a bar each, with their latest greedy return and the time left; elsewhere, and under
    `CI`, a line per tenth of a run is printed. What is finished or failed stays as a line.

    Args:
      total: jobs of the sweep.
      processes: runs at once.
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
        self._tasks: dict[Job, int] = {}
        self._first: dict[Job, tuple[float, float]] = {}  # time and share when the first record of this start came
        self._printed: dict[Job, float] = {}
        self._durations: list[float] = []  # seconds of a whole run, estimated or seen
        self._is_stopping = False

    def __enter__(self):
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.screen.print(Text(text), highlight=False, soft_wrap=True)

    def found(self, job: Job) -> None:
        """Report a job that was complete already."""
        self._count(job, f"{job.name}: complete, {self._score(job)}; read from {job.workdir}")

    def started(self, job: Job) -> None:
        """Report the start of a job."""
        self._tasks[job] = self._bars.add_task(job.name, total=1.0, state="starting", left="")
        if not self._is_live:
            self.say(f"{job.name}: started in {job.workdir}")

    def update(self, job: Job, records: list[dict], doing: str) -> None:
        """Show how far a running job is.

        Args:
          job: what runs.
          records: records of the run's metrics.jsonl.
          doing: last line that it printed, shown until this start has written records.
        """
        now, share = time.monotonic(), records[-1]["updates"] / job.total_updates if records else 0.0
        began, first = self._first.setdefault(job, (now, share))
        left = None
        if share > first:
            pace = (now - began) / (share - first)
            self._durations = [*self._durations[-20:], pace]
            left = pace * (1 - share)
        score = job.last_return(records)
        state = doing[:60] if share <= first else f"return {score:.3f}" if score is not None else ""
        self._bars.update(self._tasks[job], completed=share, state=state, left="" if left is None else clock(left))
        self._bars.update(self._all, left=self._left())
        if not self._is_live and share >= self._printed.get(job, first) + STEP:
            self._printed[job] = share
            self.say(f"{job.name}: {share:.0%}, {state}, {clock(left or 0)} left; {self._summary()}")

    def ended(self, job: Job, why: str) -> None:
        """Report the end of a job: complete, or why it is not."""
        self._bars.remove_task(self._tasks.pop(job))
        if why:
            self._failed += 1
            self.say(f"{job.name}: {'' if why == 'stopped' else 'FAILED, '}{why}")
        else:
            self._count(job, f"{job.name}: complete, {self._score(job)}")

    def stopping(self) -> None:
        """Report once that running jobs save and stop."""
        if not self._is_stopping:
            self._is_stopping = True
            self.say("stopping: runs save a checkpoint and end; signal again to kill them")

    def _count(self, job: Job, text: str) -> None:
        self._done += 1
        self._bars.update(self._all, completed=self._done)
        self.say(f"{text}; {self._summary()}")

    def _score(self, job: Job) -> str:
        score = job.last_return(job.records())
        return "no return" if score is None else f"last return {score:.3f}"

    def _summary(self) -> str:
        left = self._left()
        return f"{self._done} of {self._total} runs" + (f", {left} left" if left else "")

    def _left(self) -> str:
        """Return the time until all runs are complete, from the pace of the latest."""
        remaining = self._total - self._done - self._failed
        if not self._durations or not remaining:
            return ""
        shares = sum(task.completed for task in self._bars.tasks if task.id != self._all)
        pace = sum(self._durations) / len(self._durations)
        return clock(pace * max(remaining - shares, 0) / min(self._processes, remaining))
