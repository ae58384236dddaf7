"""A Slurm cluster of two nodes on this machine, for tests: munged, slurmctld and a slurmd for each node."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
GPUS = ("/dev/null", "/dev/zero")  # stand for the GPUs of a node: Slurm asks that its devices exist

# The shortest that credentials may live is 5 s. They have to be gone before a job starts again.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/state/pid
SlurmdPidFile={folder}/%n/pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=5
GresTypes=gpu
NodeName={nodes[0]} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} Gres=gpu:{gpus}
NodeName={nodes[1]} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} Gres=gpu:{gpus}
PartitionName=all Nodes=ALL Default=YES State=UP
"""


@contextlib.contextmanager
def cluster(folder: pathlib.Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Runs a cluster of two nodes.

    Args:
      folder: of its configuration, its state and its logs.
      cpus: of each node, more or fewer than this machine has.

    Yields:
      The environment in which Slurm's commands reach it.
    """
    nodes = _configure(folder, cpus)
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "SRUN"))}
    environment = {**outside, "SLURM_CONF": f"{folder}/slurm.conf"}
    daemons = []

    def start(name: str, *command: str) -> None:
        with (folder / f"{name}.log").open("w") as log:
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        daemons.append(daemon)

    try:
        start("munged", "munged", "--foreground", "--force", *_munge_files(folder / "munge"))
        _wait_for((folder / "munge/socket").exists, folder)
        start("slurmctld", "slurmctld", "-D")
        for node in nodes:
            start(node, "slurmd", "-D", "-N", node)
        _wait_for(lambda: _states(environment) == ["idle", "idle"], folder)
        yield environment
    finally:
        _stop(daemons, environment)


def _configure(folder: pathlib.Path, cpus: int) -> list[str]:
    """Writes the configuration; returns the names of the nodes."""
    # The first process of a job is found by the name of its node. The first node is so named that it is this machine.
    host = socket.gethostname().partition(".")[0]
    nodes = [host, f"{host}-too"]
    for name in ("munge", "state", *nodes):
        (folder / name).mkdir(parents=True)
    key = folder / "munge/key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    settings = {
        "folder": folder,
        "host": host,
        "nodes": nodes,
        "cpus": cpus,
        "gpus": len(GPUS),
        "ports": _free_ports(3),
    }
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={path}\n" for path in GPUS))
    return nodes


def _munge_files(folder: pathlib.Path) -> list[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder}/{name}" for option, name in files.items()]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _states(environment: dict[str, str]) -> list[str]:
    """Of the nodes, one word each."""
    command = ["sinfo", "--noheader", "--Node", "--format=%T"]
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()


def _wait_for(condition, folder: pathlib.Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("*.log")))
            raise TimeoutError(f"the cluster does not come up\n{logs}")
        time.sleep(0.1)


def _stop(daemons: list[subprocess.Popen], environment: dict[str, str]) -> None:
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    # What runs a job lives on without its slurmd, and so do the job's own processes.
    mark = f"SLURM_CONF={environment['SLURM_CONF']}".encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
