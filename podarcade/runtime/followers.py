"""Processes beside a run that pass its metrics on. Whatever happens to them, the run continues."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

LOG = "follow.log"
PATIENCE = 60.0  # seconds a finished run waits for what follows it


@contextlib.contextmanager
def following(run: pathlib.Path, names: Sequence[str]) -> Iterator[None]:
    """Start `podarcade.follow` for the sinks of these names, each in a process of its own; wait for them at the end.

    They end when their standard input does, which it also does when this process is killed. What they print is in
    follow.log in the folder of the run.
    """
    started = []
    if names:
        with open(run / LOG, "a", encoding="utf-8") as log:
            for name in names:
                command = [sys.executable, "-m", "podarcade.follow", str(run), f"--log={name}", "--until_input_ends"]
                # In a session of its own, which Ctrl-C does not reach: the last records are still passed on.
                started.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
                )
    try:
        yield
    finally:
        for process in started:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for name, process in zip(names, started, strict=True):
            _wait(process, name, run / LOG)


def _wait(process: subprocess.Popen, name: str, log: pathlib.Path) -> None:
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        print(f"WARNING: --log={name} has not finished; it continues on its own, see {log}", flush=True)
        return
    if code:
        print(f"WARNING: --log={name} failed, see {log}; metrics.jsonl records everything", flush=True)
