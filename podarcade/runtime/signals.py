"""Signals: the first one asks the run to save and to stop, the same one again ends the process at once.

| signal | sent by | exit code once it is saved |
|---|---|---|
| SIGINT | Ctrl-C | 0 |
| SIGTERM | `kill`, a preempting scheduler, a container's end | 75 |
| SIGUSR1 | Slurm, before a time limit | 75 |
"""

import os
import signal
import threading

DONE, ERROR, DIVERGED, REQUEUE = 0, 1, 70, 75  # exit codes; 75 is EX_TEMPFAIL of sysexits.h: try again
SUPERVISOR = "PODARCADE_SUPERVISOR"  # environment variable: the process that started this one to look after it
_NUMBERS = [number for name in ("SIGINT", "SIGTERM", "SIGUSR1") if (number := getattr(signal, name, None))]


def exit_code(number: int) -> int:
    """Of a run that a signal has stopped, and that is saved."""
    return DONE if number == signal.SIGINT else REQUEUE


class Signals:
    """Which signal asks this process to stop; a context manager for the main thread.

    Python runs a handler when the main thread comes back to it, which compiling or a long call keeps it from for
    minutes. So signals are counted by a thread of its own, woken by the interpreter's own handler. Under a supervisor
    it is that which ends the process at once: whoever stops a job may signal all its processes, and the supervisor
    passes its own on.

    Args:
      farewell: is written when the process is ended at once.
    """

    def __init__(self, farewell: str = ""):
        self.farewell = farewell
        self._first = 0
        self._parent = int(os.environ.get(SUPERVISOR, 0))

    @property
    def wanted(self) -> int:
        """The signal that asks the run to stop, 0 where there is none. A lost supervisor is a SIGTERM."""
        if not self._first and self._parent and os.getppid() != self._parent:
            return int(signal.SIGTERM)
        return self._first

    def __enter__(self):
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Python writes to the wakeup descriptor only what it has a handler for.
        self._before = {number: signal.signal(number, lambda *_: None) for number in _NUMBERS}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._write)  # which ends the thread
        self._thread.join()
        os.close(self._read)

    def _watch(self) -> None:
        seen = set()
        while received := os.read(self._read, 1):
            number = received[0]
            if number in seen and not self._parent:
                os.write(2, f"stopped at once; {self.farewell}\n".encode())
                os._exit(128 + number)
            if number in _NUMBERS:
                seen.add(number)
                self._first = self._first or number
