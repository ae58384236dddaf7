"""Several processes of one run: how they find each other, and what they agree on."""

import importlib.util
import pathlib
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from podarcade.runtime import lock, output
from podarcade.runtime.failures import one_line
from podarcade.runtime.peers import PeerFailed

LINE = 240  # bytes of an error message that processes exchange
START_TIMEOUT = 300  # seconds in which all processes have to connect
SHARED_TIMEOUT = 60.0  # seconds for which a network file system may show a stale directory
_TPU_HOSTS = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")  # of a job step


def detect(coordinator: str, number: int, index: int, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the arguments of `jax.distributed.initialize`; None for a run of one process.

    Args:
      coordinator: "host:port" of process 0; "" to detect it.
      number: number of processes; 0 to detect it, 1 for a run of one process in any environment.
      index: index of this process; -1 to detect it.
      environment: environment variables, by which Slurm, TPU pods and Kubernetes describe the job.

    Raises:
      ValueError: only some of the three are given, they contradict each other, or a pod cannot detect them.
    """
    if number == 1:
        return None
    if coordinator or number or index >= 0:
        if not (coordinator and number > 1 and 0 <= index < number):
            raise ValueError(
                f"--coordinator={coordinator} --num_processes={number} --process_id={index}; expected all three: "
                "host:port of process 0, the number of processes (> 1), and the index of this one, from 0"
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
                "cannot detect the other pods of this indexed job: set --coordinator, --num_processes and --process_id "
                "(or --num_processes=1), or pip install 'jax[k8s]'"
            )
        return {}
    return None


def _is_tpu_slice(environment: Mapping[str, str]) -> bool:
    """Return whether this is one of several hosts of a TPU slice, by the metadata server of Google Cloud."""
    if importlib.util.find_spec("libtpu") is None or "TPU_SKIP_MDS_QUERY" in environment:
        return False
    request = urllib.request.Request(_TPU_HOSTS, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return b"," in response.read()
    except OSError:
        return False


def join(found: dict[str, Any] | None, peer_timeout: int) -> None:
    """Connect this process to the others of its run, if there are any; call it before the first use of a device.

    Args:
      found: result of `find`.
      peer_timeout: seconds without a heartbeat after which a process counts as lost; jax then aborts the others.
    """
    if found is None:
        return
    # It would swallow SIGTERM until our own handlers are installed.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(**found, initialization_timeout=START_TIMEOUT, heartbeat_timeout_seconds=peer_timeout)
    with output.silenced_native_output():
        barrier("joined")


def check_shared(workdir: pathlib.Path) -> None:
    """Check that all processes of a run share one working directory, which the first process has locked.

    Raises:
      ValueError: this process does not see the lock file of the first one.
    """
    if jax.process_count() == 1:
        return
    owner = max_over_processes(lock.owner_id(workdir) if is_first_process() else 0)
    deadline = time.monotonic() + SHARED_TIMEOUT
    while lock.owner_id(workdir) != owner:
        if time.monotonic() > deadline:
            raise ValueError(
                f"process {jax.process_index()} on host {socket.gethostname()} does not see the lock file that "
                f"process 0 wrote to {workdir}; set --workdir to the full path of a directory that all hosts share"
            )
        time.sleep(0.5)


def is_first_process() -> bool:
    """Return whether this process writes the files and the output of the run."""
    return jax.process_index() == 0


def max_over_processes(number: int) -> int:
    """Return the maximum of an int32 over all processes, which all have to call this."""
    if jax.process_count() == 1:
        return int(number)
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def run_on_all_processes(action: Callable[[], Any], errors: Any = (ValueError, OSError)) -> Any:
    """Run an action in all processes; if it fails in one, it fails in all.

    Args:
      action: called without arguments; must not communicate with other processes itself.
      errors: exception type, or tuple of types, to wait for the others with. Any other is raised immediately.

    Returns:
      The result of the action in this process.

    Raises:
      PeerFailed: the action failed in another process, which raises the error itself. If it failed in several, the
        first process raises its own, and the others this.
    """
    result, error = None, None
    try:
        result = action()
    except errors as raised:
        error = raised
    worst = max_over_processes(0 if error is None else 2 if is_first_process() else 1)
    if error is not None and (worst == 1 or is_first_process()):
        raise error
    if worst:
        raise PeerFailed("another process failed")
    return result


def failure_of_any_process(error: Exception | None) -> str:
    """Return the error message of the lowest-numbered process that failed, "" if none did; all processes call this.

    A process that waited for a failed one ends with a timeout; the message of any other error is preferred.

    Args:
      error: error of this process, or None.
    """
    while isinstance(error, TimeoutError | jax.errors.JaxRuntimeError) and error.__context__ is not None:
        error = error.__context__
    is_effect = isinstance(error, TimeoutError | jax.errors.JaxRuntimeError | PeerFailed)
    return _first_text("" if is_effect else one_line(error)) or _first_text(one_line(error))


def _first_text(text: str) -> str:
    """Return the first text that is not empty, preceded by the index of its process if there are several."""
    if jax.process_count() == 1:
        return text
    encoded = text.encode()[:LINE]
    padded = np.zeros(LINE, np.uint8)
    padded[: len(encoded)] = list(encoded)
    gathered = np.asarray(multihost_utils.process_allgather(padded))  # uint8[processes, LINE]
    texts = [row[row > 0].tobytes().decode(errors="ignore") for row in gathered]
    return next((f"process {index}: {text}" for index, text in enumerate(texts) if text), "")


def barrier(name: str) -> None:
    """Wait until all processes have called this with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def fetch(tree: Any) -> Any:
    """Return a tree of global arrays as NumPy arrays; all processes have to call this, and get all of it."""

    def gather(x):
        is_local = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
        return x if is_local else multihost_utils.process_allgather(x, tiled=True)

    return jax.device_get(jax.tree.map(gather, tree))
