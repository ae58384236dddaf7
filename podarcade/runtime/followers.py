"""Processes beside a run that pass its metrics on. Whatever happens to them, the run continues."""

import contextlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

LOG = "follow.log"
PATIENCE = 60.0  # seconds a complete run waits for what follows it


class Followers:
    """Processes of `podarcade.follow`, one for each sink; a context manager.

    They end when their standard input does, which it also does when this process is killed. What they print is in
    follow.log in the folder of the run.

    Args:
      run: folder of the run.
      names: of sinks.
    """

    def __init__(self, run: pathlib.Path, names: Sequence[str]):
        self._log, self._started = run / LOG, {}
        for name in dict.fromkeys(names):
            command = [sys.executable, "-m", "podarcade.follow", str(run), f"--log={name}", "--until_input_ends"]
            try:
                with open(self._log, "a", encoding="utf-8") as log:
                    # In a session of its own, which Ctrl-C does not reach: the last records are still passed on.
                    self._started[name] = subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                    )
            except OSError as error:
                print(f"WARNING: --log={name} could not be started ({error})", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._end()

    def finish(self) -> None:
        """Let them end, and wait for them: of a complete run, which nobody waits for."""
        self._end()
        deadline = time.monotonic() + PATIENCE
        for name, process in self._started.items():
            try:
                code = process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                print(f"--log={name} continues on its own, see {self._log}", flush=True)
                continue
            if code:
                print(f"WARNING: --log={name} failed, see {self._log}; metrics.jsonl records everything", flush=True)

    def _end(self) -> None:
        for process in self._started.values():
            with contextlib.suppress(OSError):
                process.stdin.close()
