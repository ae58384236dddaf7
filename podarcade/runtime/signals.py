"""Signals: the first one asks the run to save and stop, the same one again ends the process immediately.

| signal | sent by | exit code after saving |
|---|---|---|
| SIGINT | Ctrl-C | 0 |
| SIGTERM | `kill`, a preempting scheduler, a stopping container | 75 |
| SIGUSR1 | Slurm, before the time limit | 75 |
"""

import os
import signal
import threading

DONE, ERROR, DIVERGED, REQUEUE = 0, 1, 70, 75  # exit codes; 75 is EX_TEMPFAIL of sysexits.h: retryable
SUPERVISOR = "PODARCADE_SUPERVISOR"  # environment variable: id of the parent process that supervises this one
_NUMBERS = [number for name in ("SIGINT", "SIGTERM", "SIGUSR1") if (number := getattr(signal, name, None))]


def exit_code(number: int) -> int:
    """Return the exit code of a run that was stopped by a signal and saved."""
    return DONE if number == signal.SIGINT else REQUEUE


def is_orphan() -> bool:
    """Return whether this process had a supervisor that is gone."""
    parent = int(os.environ.get(SUPERVISOR, 0))
    return bool(parent) and os.getppid() != parent


class Signals:
    """Handlers that record a request to stop; a context manager for the main thread.

    Python runs a handler only when the main thread returns to the interpreter, which compilation or another long call
    delays by minutes. The interpreter's C handler also writes the signal's number to a pipe, which a thread reads here.
    A process with a supervisor is not ended by a repeated signal: whatever stops a job may signal parent and children,
    and the parent passes its own signals on.

    Args:
      farewell: printed when the process is ended immediately.
    """

    def __init__(self, farewell: str = ""):
        self.farewell = farewell
        self._first = 0
        self._is_supervised = SUPERVISOR in os.environ

    @property
    def stop_signal(self) -> int:
        """The signal that asked the run to stop, 0 if none did; SIGTERM once the supervisor is gone."""
        if not self._first and is_orphan():
            return int(signal.SIGTERM)
        return self._first

    def __enter__(self):
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        self._previous_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Python writes a signal to the wakeup descriptor only if it has a handler.
        self._previous = {number: signal.signal(number, lambda *_: None) for number in _NUMBERS}
        return self

    def __exit__(self, *error):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._write)  # ends the thread
        self._thread.join()
        os.close(self._read)

    def _watch(self) -> None:
        seen = set()
        while received := os.read(self._read, 1):
            number = received[0]
            if number in seen and not self._is_supervised:
                os.write(2, f"stopped immediately; {self.farewell}\n".encode())
                os._exit(128 + number)
            if number not in _NUMBERS:
                continue
            seen.add(number)
            self._first = self._first or number
