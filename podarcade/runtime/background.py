"""A background task that all processes of a run execute together, retried with exponential back-off."""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from podarcade.runtime import distributed
from podarcade.runtime.failures import one_line

POLL_SECONDS = 1.0  # between two polls while waiting for a task
_COMPLETE, _RUNNING, _FAILED = range(3)  # ordered: over several processes the maximum counts


class BackgroundTask:
    """At most one task at a time, run in a thread; a task that fails in one process has failed in all.

    Args:
      retry: seconds until a failed task is due again: the initial delay and the maximum; doubled on every failure.
      on_failure: called in every process with the one-line reason of a failure.

    Attributes:
      delay: seconds until the task is due again after the next failure.
    """

    def __init__(self, retry: tuple[float, float], on_failure: Callable[[str], None]):
        self.delay = retry[0]
        self._retry = retry
        self._on_failure = on_failure
        self._retry_at: float | None = None
        self._future: concurrent.futures.Future | None = None

    def start(self, task: Callable[[], Any]) -> None:
        """Run `task` in a new thread."""
        pool = concurrent.futures.ThreadPoolExecutor(1, "background")
        self._future = pool.submit(task)
        pool.shutdown(wait=False)

    def mark_complete(self) -> None:
        """Record that the result of the task exists, and reset the back-off."""
        self.delay, self._retry_at = self._retry[0], None

    def mark_failed(self, reason: str) -> None:
        """Record a failure, which may precede the start of the task, and schedule the next attempt."""
        self._on_failure(reason)
        self._retry_at = time.monotonic() + self.delay
        self.delay = min(2 * self.delay, self._retry[1])

    def wait(self) -> bool:
        """Wait for the running task in all processes; return whether the last task is complete."""
        while self._future is not None:
            self._poll(POLL_SECONDS)
        return self._retry_at is None

    def should_start(self, due: bool) -> bool:
        """Return whether to start a task now, without waiting for a running one. All processes must call it.

        Args:
          due: whether a task is due. After a failure it is ignored: the next attempt depends on time alone.
        """
        self._poll(0.0)
        retrying = self._retry_at is not None and self._future is None
        return bool(distributed.max_over_processes(time.monotonic() >= self._retry_at if retrying else due))

    def close(self) -> None:
        """Wait for the running task of this process, without asking the others."""
        if self._future is not None:
            error, self._future = self._future.exception(), None
            if error is not None:
                self.mark_failed(one_line(error))

    def _poll(self, seconds: float) -> None:
        """Update the state of the running task, waiting at most `seconds` for it."""
        if self._future is None:
            return
        done = bool(concurrent.futures.wait([self._future], seconds).done)
        error = self._future.exception() if done else None
        outcome = distributed.max_over_processes(_FAILED if error else _COMPLETE if done else _RUNNING)
        if outcome != _RUNNING:
            self._future = None
        if outcome == _COMPLETE:
            self.mark_complete()
        elif outcome == _FAILED:
            self.mark_failed(distributed.failure_of_any_process(error))
