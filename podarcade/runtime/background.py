"""Work in the background that all processes of a run do together, and do again when it has failed."""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from podarcade.runtime import distributed
from podarcade.runtime.failures import one_line

LOOK = 1.0  # seconds between two looks at work that is waited for
_COMPLETE, _UNDER_WAY, _FAILED = range(3)  # how it is getting on; of several processes the last of these counts


class Background:
    """One piece of work at a time; what has failed in one process has failed in all.

    Args:
      retry: seconds until it is time to try again: after the first failure, and at most; doubled each time.
      failed: is told, in every process, why a piece of work has failed, in a line.

    Attributes:
      delay: seconds until it is time to try again, after the next failure.
    """

    def __init__(self, retry: tuple[float, float], failed: Callable[[str], None]):
        self.delay = retry[0]
        self._retry = retry
        self._failed = failed
        self._retry_at: float | None = None
        self._work: concurrent.futures.Future | None = None

    def begin(self, work: Callable[[], Any]) -> None:
        """Starts a piece of work in a thread of its own."""
        pool = concurrent.futures.ThreadPoolExecutor(1, "background")
        self._work = pool.submit(work)
        pool.shutdown(wait=False)

    def succeed(self) -> None:
        """What a piece of work was to make is there."""
        self.delay, self._retry_at = self._retry[0], None

    def fail(self, why: str) -> None:
        """A piece of work has failed, before it had begun perhaps."""
        self._failed(why)
        self._retry_at = time.monotonic() + self.delay
        self.delay = min(2 * self.delay, self._retry[1])

    def finish(self) -> bool:
        """Waits for what is under way, in all processes; whether the last piece of work is complete."""
        while self._work is not None:
            self._look(LOOK)
        return self._retry_at is None

    def wanted(self, due: bool) -> bool:
        """Whether to begin one now; does not wait for one under way. All processes have to ask.

        Args:
          due: whether there is reason to, where the last one has not failed; after a failure only time counts.
        """
        self._look(0.0)
        waiting = self._retry_at is not None and self._work is None
        return bool(distributed.max_over_processes(time.monotonic() >= self._retry_at if waiting else due))

    def close(self) -> None:
        """Waits for what this process has under way, whatever the others do."""
        if self._work is not None:
            error, self._work = self._work.exception(), None
            if error is not None:
                self.fail(one_line(error))

    def _look(self, seconds: float) -> None:
        """How the work is getting on, after so many seconds at most."""
        if self._work is None:
            return
        done = bool(concurrent.futures.wait([self._work], seconds).done)
        error = self._work.exception() if done else None
        outcome = distributed.max_over_processes(_FAILED if error else _COMPLETE if done else _UNDER_WAY)
        if outcome != _UNDER_WAY:
            self._work = None
        if outcome == _COMPLETE:
            self.succeed()
        elif outcome == _FAILED:
            self.fail(distributed.first_failure(error))
