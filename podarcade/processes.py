"""Several processes of one run: how they find each other, and the parent that starts and restarts them."""

import contextlib
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from podarcade.anakin import lock
from podarcade.anakin import mesh as meshes
from podarcade.anakin.signals import DIVERGED, DONE, ERROR, SUPERVISOR

START_TIMEOUT = 300  # seconds in which all processes have to have come
SHARED_TIMEOUT = 60.0  # seconds for which a network file system may show an old directory
GRACE = 20.0  # seconds that processes have to end by themselves when one of them has ended badly
_TPU_HOSTS = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")  # of a job step


def find(coordinator: str, number: int, index: int, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments for `jax.distributed.initialize`; None for a run of one process.

    Args:
      coordinator: "host:port" of process 0, empty where it is to be detected.
      number: of processes, 0 where it is to be detected, 1 for a run of one process whatever is around it.
      index: of this process, -1 where it is to be detected.
      environment: `os.environ`, where Slurm, TPU pods and Kubernetes say who takes part.

    Raises:
      ValueError: some of the three are given and others are missing, or they do not fit.
    """
    if number == 1:
        return None
    if coordinator or number or index >= 0:
        if not (coordinator and number > 1 and 0 <= index < number):
            raise ValueError(
                f"--coordinator={coordinator} --num_processes={number} --process_id={index}; give all three: "
                "host:port of process 0, how many there are, and which of them this is, from 0"
            )
        return {"coordinator_address": coordinator, "num_processes": number, "process_id": index}
    if all(name in environment for name in _SLURM):
        return {} if int(environment["SLURM_NTASKS"]) > 1 else None
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    if "," in hosts or "MEGASCALE_COORDINATOR_ADDRESS" in environment or _is_tpu_slice(environment):
        return {}
    if "JOB_COMPLETION_INDEX" in environment and "KUBERNETES_SERVICE_HOST" in environment:
        if importlib.util.find_spec("kubernetes") is None:
            raise ValueError(
                "this is a pod of an indexed job, and nothing says which others take part: give --coordinator, "
                "--num_processes and --process_id (or --num_processes=1), or pip install 'jax[k8s]'"
            )
        return {}
    return None


def _is_tpu_slice(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several hosts of a TPU slice, by the metadata of Google's machines."""
    if importlib.util.find_spec("libtpu") is None or "TPU_SKIP_MDS_QUERY" in environment:
        return False
    request = urllib.request.Request(_TPU_HOSTS, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return b"," in answer.read()
    except OSError:
        return False


def join(found: dict[str, Any] | None, peer_timeout: int) -> None:
    """Makes this process one of several, where there are several; before the first use of a device.

    Args:
      found: what `find` found.
      peer_timeout: seconds of silence after which another process counts as lost. Who has lost one is aborted.
    """
    if found is None:
        return
    # It would catch SIGTERM, and tell nobody, until we have handlers of our own.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(**found, initialization_timeout=START_TIMEOUT, heartbeat_timeout_seconds=peer_timeout)
    with _muted():
        meshes.wait_for_all("joined")


def check_shared(workdir: pathlib.Path) -> None:
    """That all processes of a run mean the same directory, in which the first one has the lock.

    Raises:
      ValueError: this one does not see what the first one has written there.
    """
    if jax.process_count() == 1:
        return
    owner = meshes.agree(lock.mark(workdir) if meshes.is_first_process() else 0)
    deadline = time.monotonic() + SHARED_TIMEOUT
    while lock.mark(workdir) != owner:
        if time.monotonic() > deadline:
            raise ValueError(
                f"process {jax.process_index()} on host {socket.gethostname()} does not see in {workdir} what "
                "process 0 writes there; give a --workdir on a disk that all hosts share, by its full path"
            )
        time.sleep(0.5)


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Without what libraries in C++ print: each process says of its first collective that it is connected."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)


def supervise(command: list[str], number: int, restarts: int) -> int:
    """Runs a command in processes of its own, and again when they crash, lose each other or are preempted.

    What ends by itself, done or with an error that would come again, is not restarted; nor is anything once this
    process has been asked to stop: it passes SIGINT, SIGTERM and SIGUSR1 on.

    Args:
      command: for one process; with several each is told which it is.
      number: of processes on this machine, which find each other over TCP and use its CPU.
      restarts: how often, at most.

    Returns:
      The exit code of the processes.
    """
    parent = _Parent()
    for attempt in range(restarts + 1):
        codes = parent.run(command, number)
        code = _combined(codes)
        if code in (DONE, ERROR, DIVERGED) or parent.asked or attempt == restarts:
            return code
        what = ", ".join(f"process {i} {_in_words(c)}" for i, c in enumerate(codes) if c)
        print(f"supervisor: {what}; restart {attempt + 1} of {restarts}", flush=True)
        time.sleep(1.0)
        if parent.asked:
            return code
    raise AssertionError("the last attempt returns")


class _Parent:
    """Starts processes, passes signals on to them, waits for them."""

    def __init__(self):
        self.asked = 0
        self._children: list[subprocess.Popen] = []
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._pass_on)

    def _pass_on(self, number: int, _) -> None:
        # The same one again ends all at once. Children do not count themselves: who stops a job may have signalled
        # them besides their parent.
        again, self.asked = number == self.asked, number
        self._send(signal.SIGKILL if again else number)

    def _send(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)

    def run(self, command: list[str], number: int) -> list[int]:
        """The exit codes of the processes, once all have ended."""
        environment = {**os.environ, SUPERVISOR: str(os.getpid())}
        told: list[list[str]] = [[]]
        if number > 1:
            environment.setdefault("JAX_PLATFORMS", "cpu")
            told = addresses(number)
        # In sessions of their own: a terminal sends Ctrl-C to all of a session, and it would come twice.
        self._children = []
        for address in told:
            child = subprocess.Popen([*command, *address], env=environment, start_new_session=True)
            self._children.append(child)
        if self.asked:  # while they were started
            self._send(self.asked)
        deadline = None
        while any(child.poll() is None for child in self._children):
            if deadline is None and any(child.poll() for child in self._children):
                deadline = time.monotonic() + GRACE
            if deadline is not None and time.monotonic() > deadline:
                for child in self._children:
                    child.kill()
            time.sleep(0.05)
        return [child.returncode for child in self._children]


def _combined(codes: list[int]) -> int:
    """One exit code for all: an error that would come again goes before one that would not."""
    for code in (ERROR, DIVERGED):
        if code in codes:
            return code
    worst = max(codes, key=abs)
    return worst if worst >= 0 else 128 - worst


def _in_words(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def addresses(number: int) -> list[list[str]]:
    """What tells each of so many processes on this machine where the others are."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return [
        [f"--coordinator=localhost:{port}", f"--num_processes={number}", f"--process_id={i}"] for i in range(number)
    ]


def is_address(argument: str) -> bool:
    """Whether an argument of the command line tells a process where it is in its run."""
    return argument.startswith(("--coordinator=", "--num_processes=", "--process_id="))


class _Steadfast:
    """A stream that loses what it cannot write: neither a full disk nor a closed pipe ends a run that talks."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_listeners() -> None:
    """From now on what is printed may get lost, and raises nothing."""
    sys.stdout, sys.stderr = _Steadfast(sys.stdout), _Steadfast(sys.stderr)


def leave(code: int) -> None:
    """Ends this process. One that fails does not wait for the others, which are waiting for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code != DONE and jax.distributed.is_initialized():
        os._exit(code)
    sys.exit(code)
