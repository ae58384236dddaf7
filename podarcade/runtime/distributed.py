"""Several processes of one run: how they find each other, and the parent that starts and restarts them."""

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

LINE = 240  # bytes of an error line that processes exchange
START_TIMEOUT = 300  # seconds in which all processes have to have come
SHARED_TIMEOUT = 60.0  # seconds for which a network file system may show an old directory
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
    with output.silenced_native_output():
        barrier("joined")


def check_shared(workdir: pathlib.Path) -> None:
    """That all processes of a run mean the same directory, in which the first one has the lock.

    Raises:
      ValueError: this one does not see what the first one has written there.
    """
    if jax.process_count() == 1:
        return
    owner = max_over_processes(lock.owner_id(workdir) if is_first_process() else 0)
    deadline = time.monotonic() + SHARED_TIMEOUT
    while lock.owner_id(workdir) != owner:
        if time.monotonic() > deadline:
            raise ValueError(
                f"process {jax.process_index()} on host {socket.gethostname()} does not see in {workdir} what "
                "process 0 writes there; give a --workdir on a disk that all hosts share, by its full path"
            )
        time.sleep(0.5)


def is_first_process() -> bool:
    """Whether this is the process that writes what is written once."""
    return jax.process_index() == 0


def max_over_processes(number: int) -> int:
    """The greatest number that any process gives; all have to ask. A process alone is not asked."""
    if jax.process_count() == 1:
        return int(number)
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def run_on_all_processes(action: Callable[[], Any], errors: Any = (ValueError, OSError)) -> Any:
    """What `action` returns; where it raises one of `errors` in any process, no process goes on.

    Raises:
      PeerFailed: it was raised in another process, or by more than one, of which the first tells.
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


def first_failure(error: Exception | None) -> str:
    """What has gone wrong, in a line, in whichever process it did; all have to ask, with their own error or None."""
    # Who waits for a process that has failed gives up after a while; what the other one met tells more.
    while isinstance(error, TimeoutError | jax.errors.JaxRuntimeError) and error.__context__ is not None:
        error = error.__context__
    waited = isinstance(error, TimeoutError | jax.errors.JaxRuntimeError | PeerFailed)
    return _told("" if waited else one_line(error)) or _told(one_line(error))


def _told(text: str) -> str:
    """The first text that is not empty, with the number of the process that gives it."""
    if jax.process_count() == 1:
        return text
    mine = np.zeros(LINE, np.uint8)
    content = text.encode()[:LINE]
    mine[: len(content)] = list(content)
    lines = np.asarray(multihost_utils.process_allgather(mine))
    given = [(i, line[line > 0].tobytes().decode(errors="ignore")) for i, line in enumerate(lines)]
    return next((f"process {i}: {words}" for i, words in given if words), "")


def barrier(what: str) -> None:
    """Returns when every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def fetch(tree: Any) -> Any:
    """The whole arrays on every host, wherever their parts are; all processes have to ask."""

    def one(x):
        local = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
        return x if local else multihost_utils.process_allgather(x, tiled=True)

    return jax.device_get(jax.tree.map(one, tree))
