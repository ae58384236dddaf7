"""The engine that submits programs to Slurm as an array, through submitit: one task per program.

A task that is about to reach its time limit, or is preempted, saves a checkpoint, and Slurm starts it again; so it does
until the program is complete, or two starts in a row made no progress. Two arrays on one folder share its programs: a
task leaves a program to the one that has locked it.
"""

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from podarcade.runtime import supervisor
from podarcade.runtime.signals import DONE, SUPERVISOR
from podarcade.sweeps.programs import End, Program

LARGEST_ARRAY = 1000  # tasks; Slurm's own limit, MaxArraySize, is 1001 unless it was raised
MAX_REQUEUES = 1000  # of a task that reaches its time limit; those without progress end earlier
DEFAULTS = {
    "time": "240",
    "signal_delay_s": "120",
    "array_parallelism": "256",
}  # options of submitit; others are sbatch's
LOGS = "slurm"  # folder of submitit's files and logs


class Task:
    """What one task of the array does: train a program, again while that may help. Called by submitit.

    Args:
      program: the program.
      options: further options of `podarcade.launch`.
      retries: further attempts when the program is killed, or loses a device or another process.
    """

    def __init__(self, program: Program, options: tuple[str, ...], retries: int):
        self.command = program.command(options)
        self.console = str(program.console.absolute())
        self.name = program.name
        self.retries = retries
        self._process: subprocess.Popen | None = None
        self._is_stopping = False

    def __call__(self) -> str:
        """Train the program; return what became of it, in one line.

        Raises:
          RuntimeError: it failed; the message is its reason.
        """
        previous = signal.signal(signal.SIGTERM, self._stop)
        try:
            for _ in range(self.retries + 1):
                end = self._train()
                if end.code == DONE:
                    return "complete"
                if end.is_elsewhere:
                    return f"left to another launcher: {end.reason}"
                if self._is_stopping or not end.is_retryable:
                    break
                print(f"{self.name}: {end.reason}; retrying", flush=True)
        finally:
            signal.signal(signal.SIGTERM, previous)
        raise RuntimeError(f"{self.name}: {end.reason}")

    def checkpoint(self) -> Any:
        """Stop the program once it has saved, and return what is submitted again. Called by submitit's signal handler.

        It waits by the process id: the handler may have interrupted `subprocess` while it holds its lock.
        """
        import submitit

        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process.pid, signal.SIGTERM)
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_process": None, "_is_stopping": False}

    def _train(self) -> End:
        os.makedirs(os.path.dirname(self.console), exist_ok=True)
        job = os.environ.get("SLURM_JOB_ID")
        environment = {
            **os.environ,
            SUPERVISOR: str(os.getpid()),
            **({supervisor.SERIES: f"slurm-{job}"} if job else {}),
        }
        # Slurm warns all processes of a task by this signal, which submitit's handler in this process answers. The
        # program inherits that it is blocked, and so ignores it.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            with open(self.console, "ab") as console:
                began = console.tell()
                self._process = process = subprocess.Popen(
                    self.command, env=environment, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        while process.poll() is None:
            time.sleep(0.2)
        return End.of(process.returncode, pathlib.Path(self.console), began)

    def _stop(self, *_) -> None:
        """Let the program save: the task was cancelled, or Slurm takes its node away and starts it again on its own."""
        self._is_stopping = True
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)


def read_options(text: str) -> dict[str, str | bool]:
    """Read "partition=gpu,time=60,exclusive=true": options of sbatch, `time` in minutes; a value may hold commas.

    Raises:
      ValueError: an option without a value, or a time that is no number.
    """
    found: dict[str, str | bool] = dict(DEFAULTS)
    for word in filter(None, re.split(r",(?=[\w-]+=)", text)):
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--slurm_options: {word!r}; expected name=value, as in partition=gpu,time=60")
        found[name.lstrip("-").replace("-", "_")] = value if value != "true" else True
    for name in DEFAULTS:
        if not str(found[name]).isdecimal() or not int(found[name]):
            raise ValueError(f"--slurm_options: {name}={found[name]}; expected an integer >= 1 (time is in minutes)")
    return found


def submit(
    programs: Sequence[Program], folder: pathlib.Path, options: tuple[str, ...], slurm_options: str, retries: int,
    cluster: str = "slurm",
) -> list:  # fmt: skip
    """Submit the programs that are not complete; return the jobs of submitit.

    Args:
      programs: of a sweep.
      folder: of the sweep.
      options: further options of `podarcade.launch`.
      slurm_options: as `read_options` reads it.
      retries: as of `Task`.
      cluster: "slurm", or "local" or "debug" to try without one.

    Raises:
      ValueError: as of `check`.
    """
    check(slurm_options, cluster)
    given = read_options(slurm_options)
    executor = _executor(folder / LOGS, cluster, given)
    tasks = [Task(program, options, retries) for program in programs if not program.is_settled()]
    found = []
    for begin in range(0, len(tasks), LARGEST_ARRAY):
        with executor.batch():
            found += [executor.submit(task) for task in tasks[begin : begin + LARGEST_ARRAY]]
    return found


def check(slurm_options: str, cluster: str = "slurm") -> None:
    """Check that programs could be submitted.

    Raises:
      ValueError: options that cannot be read, submitit is not installed, or there is no Slurm here.
    """
    read_options(slurm_options)
    if importlib.util.find_spec("submitit") is None:
        raise ValueError("--engine=slurm needs submitit; install it with pip install 'podarcade[slurm]'")
    if cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
        raise ValueError("--engine=slurm: found no sbatch and srun here; run it on a login node of a Slurm cluster")


def _executor(folder: pathlib.Path, cluster: str, given: dict[str, str | bool]):
    import submitit

    if cluster != "slurm":
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(timeout_min=int(given["time"]))
        return executor
    executor = submitit.SlurmExecutor(folder, max_num_timeout=MAX_REQUEUES)
    own = {name: int(given[name]) for name in DEFAULTS}
    others = {name: value for name, value in given.items() if name not in DEFAULTS}
    executor.update_parameters(job_name="podarcade", additional_parameters={"requeue": True, **others}, **own)
    return executor
