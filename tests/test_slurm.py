"""The Slurm template on a real cluster: signals come once, runs are queued again, and errors end the job."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest
import slurm_cluster
import test_sweep
from running import SMOKE, finish
from running import start as start_run

from podarcade.runtime.metrics import read_metrics

ROOT = pathlib.Path(__file__).parents[1]
TEMPLATE = ROOT / "launch/slurm.sbatch"

MISSING = [program for program in slurm_cluster.PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; tests/slurm.sh installs them"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a Slurm cluster of one's own wants root"),
]

# Stands for the trainer. PLAN has a word for what each start does; the last word applies to all later ones.
STUB = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time

rank, start = os.environ["SLURM_PROCID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
note = pathlib.Path(os.environ["NOTES"]) / f"{{start}}-{{rank}}.json"
plan = os.environ.get("PLAN_" + rank, os.environ.get("PLAN", "")).split()
word = plan[min(start, len(plan) - 1)]
received = []


def write():
    content = {{"received": received, "arguments": sys.argv[1:], "environment": dict(os.environ)}}
    note.with_suffix(".part").write_text(json.dumps(content))
    note.with_suffix(".part").rename(note)


def remember(number, _):
    received.append(signal.Signals(number).name)


signal.signal(signal.SIGUSR1, remember)
signal.signal(signal.SIGTERM, remember)
write()
print("start", start, "of rank", rank, flush=True)
awaited = {{"stop": {{"SIGUSR1", "SIGTERM"}}, "late": {{"SIGTERM"}}, "stuck": set()}}
if word in awaited:
    while not awaited[word].intersection(received):
        time.sleep(0.05)
    time.sleep(1.0)  # in which a signal would come again
    write()
    os._exit(75)
while len(list(note.parent.glob(f"{{start}}-*.json"))) < int(os.environ["SLURM_NTASKS"]):
    time.sleep(0.05)
if word == "die":
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(int(word))
"""


# The trainer itself.
TRAINER = f"""#!/bin/sh
cd {ROOT} && exec {sys.executable} "$@"
"""


class Job:
    """A job of the template, with a program in place of Python."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str], program: str, options: list[str], *arguments):
        self.folder = folder
        stub = folder / "python"
        stub.write_text(program)
        stub.chmod(0o755)
        self._environment = {**environment, "PYTHON": str(stub), "NOTES": str(folder)}
        options = ["--parsable", "--cpus-per-task=1", f"--output={folder}/log", *options]
        self.id = self.ask("sbatch", *options, str(TEMPLATE), *arguments).strip()

    def ask(self, *command: str) -> str:
        result = subprocess.run(command, env=self._environment, capture_output=True, text=True, cwd=self.folder)
        assert result.returncode == 0, result.stderr
        return result.stdout

    @property
    def facts(self) -> dict[str, str]:
        """Slurm's record of the job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.ask("scontrol", "--oneliner", "show", "job", self.id)))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def note(self, start: int, rank: int) -> dict:
        return json.loads((self.folder / f"{start}-{rank}.json").read_text())

    def started(self, ranks: int, start: int = 0) -> bool:
        return len(list(self.folder.glob(f"{start}-*.json"))) == ranks

    def wait_for(self, condition, seconds: float = 150.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.facts}\n{self.log}"
            time.sleep(0.2)

    def end(self) -> tuple[str, str, str]:
        """State, exit code and restarts of the job once it has ended for good."""
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        self.wait_for(lambda: self.facts["JobState"] in ends)
        facts = self.facts
        return facts["JobState"], facts["ExitCode"], facts["Restarts"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def submit(cluster, tmp_path):
    """Submits the template; `PLAN` says what all ranks do at each start, `PLAN_0` and `PLAN_1` what one does."""
    jobs = []

    def submit(*options: str, **plan: str) -> Job:
        jobs.append(Job(tmp_path, cluster | plan, STUB, [*options], "--config=the one.py", "--workdir=there"))
        return jobs[-1]

    yield submit
    for job in jobs:
        job.ask("scancel", job.id)


def test_the_trainer_is_stopped_queued_again_and_ends_as_if_nothing_had_happened(cluster, tmp_path):
    """Two processes that find each other by what Slurm says, on two nodes."""
    (tmp_path / "job").mkdir()
    options = SMOKE, "--cpu_devices=1"
    job = Job(
        tmp_path / "job", cluster, TRAINER, ["--nodes=2", "--gpus-per-node=0"], *options, f"--workdir={tmp_path}/run"
    )
    try:
        path = tmp_path / "run" / "metrics.jsonl"
        job.wait_for(lambda: path.exists() and len(read_metrics(path)) >= 4)
        job.ask("scancel", "--signal=USR1", job.id)
        assert job.end() == ("COMPLETED", "0:0", "1")
    finally:
        job.ask("scancel", job.id)
    assert job.log.count("2 processes") == 2
    assert "of 20 updates; resume with" in job.log and "resuming after" in job.log
    code, output = finish(start_run(*options, f"--workdir={tmp_path}/alone"))
    assert code == 0, output
    frames = [
        [record["frames"] for record in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("run", "alone")
    ]
    assert frames[0] == frames[1]


def test_a_signal_before_the_time_limit_requeues(submit):
    job = submit("--time=3", PLAN="stop 0")
    assert job.end() == ("COMPLETED", "0:0", "1")
    assert job.note(0, 0)["received"] == ["SIGUSR1"]
    assert job.log.index("start 0 of rank 0") < job.log.index("start 1 of rank 0")
    assert len({job.note(start, 0)["environment"]["PODARCADE_SERIES"] for start in (0, 1)}) == 1
    for start in (0, 1):
        assert job.note(start, 0)["arguments"] == ["-m", "podarcade.launch", "--config=the one.py", "--workdir=there"]


def test_a_job_that_reaches_its_time_limit_goes_on(submit):
    job = submit("--time=1", PLAN="late 0")
    assert job.end() == ("COMPLETED", "0:0", "1")
    assert "SIGTERM" in job.note(0, 0)["received"]


@pytest.mark.parametrize("how", [[], ["--full"]], ids=["steps", "full"])
def test_two_processes_get_one_signal_each(submit, how):
    job = submit("--nodes=2", PLAN="stop 0")
    job.wait_for(lambda: job.started(2))
    job.ask("scancel", "--signal=USR1", *how, job.id)
    assert job.end() == ("COMPLETED", "0:0", "1")
    for rank in (0, 1):
        note = job.note(0, rank)
        assert note["received"].count("SIGUSR1") == 1
        assert note["environment"]["SLURM_PROCID"] == str(rank)
        assert note["environment"]["SLURM_NTASKS"] == "2"
        assert job.note(1, rank)["environment"]["SLURM_RESTART_COUNT"] == "1"


@pytest.mark.parametrize("code", ["1", "70"])
def test_an_error_ends_the_job(submit, code):
    job = submit(PLAN=code)
    assert job.end() == ("FAILED", f"{code}:0", "0")


@pytest.mark.parametrize("code", ["1", "70"])
def test_an_error_of_one_process_ends_the_job(submit, code):
    job = submit("--nodes=2", PLAN_0="stop", PLAN_1=code)
    assert job.end() == ("FAILED", f"{code}:0", "0")
    assert "task 0: Exited with exit code 75" in job.log


def test_a_lost_process_ends_the_others_and_requeues(submit):
    job = submit("--nodes=2", PLAN_0="stop 0", PLAN_1="die 0")
    assert job.end() == ("COMPLETED", "0:0", "1")
    assert job.note(0, 0)["received"] == ["SIGTERM"]
    assert "task 1: Killed" in job.log


def test_a_process_that_waits_for_a_lost_one_is_killed(submit):
    job = submit("--ntasks-per-node=2", PLAN_0="stuck 0", PLAN_1="die 0")
    assert job.end() == ("COMPLETED", "0:0", "1")


def test_requeues_are_counted(submit):
    job = submit(PLAN="die", MAX_REQUEUES="1")
    assert job.end() == ("FAILED", "137:0", "1")
    assert job.started(1, start=1)
    assert not job.started(1, start=2)


def test_a_cancelled_job_stays_cancelled(submit):
    job = submit("--nodes=2", PLAN="stop 0")
    job.wait_for(lambda: job.started(2))
    job.ask("scancel", job.id)
    assert job.end()[::2] == ("CANCELLED", "0")
    assert job.note(0, 0)["received"]


def test_a_job_that_is_requeued_by_hand_starts_once_more(submit):
    job = submit(PLAN="stop 0")
    job.wait_for(lambda: job.started(1))
    job.ask("scontrol", "requeue", job.id)
    assert job.end() == ("COMPLETED", "0:0", "1")


@pytest.mark.parametrize(
    "options, cuda, jax",
    [
        (["--nodes=2", "--gpus-per-node=2"], ["0,1", "0,1"], "0,1"),
        (["--ntasks-per-node=2", "--gpus-per-node=2"], ["0,1", "0,1"], None),
        ([], ["0"], None),
        (["--gpus-per-node=0"], [None], None),
    ],
    ids=["a node each", "a GPU each", "one", "none"],
)
def test_processes_see_their_gpus(submit, options, cuda, jax):
    job = submit(*options, PLAN="0")
    assert job.end() == ("COMPLETED", "0:0", "0")
    for rank, visible in enumerate(cuda):
        environment = job.note(0, rank)["environment"]
        assert environment.get("CUDA_VISIBLE_DEVICES") == visible
        assert environment.get("JAX_LOCAL_DEVICE_IDS") == jax


EIGHT = "gru,lru,none,lstm,min_gru,s5,ffm,mamba"


def sweep(cluster, folder, memories):
    """Submit programs of a stand-in for the trainer as an array; return what the door prints."""
    arguments = [test_sweep.GRID.format(memories), f"--workdir={folder / 'sweep'}", "--engine=slurm"]
    arguments.append("--slurm_options=time=1,signal_delay_s=40,cpus-per-task=1")
    result = subprocess.run(
        [sys.executable, "-c", test_sweep.LAUNCHER, str(ROOT / "tests"), str(folder / "modes"), *arguments],
        env={**cluster, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "SECONDS_EACH": "0.2"},
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_an_array_of_programs_shares_its_folder_and_survives_time_limits(cluster, tmp_path):
    """Eight programs: one fails, one is killed, one reaches its time limit; a second array has them all once more."""
    pytest.importorskip("submitit")
    runs, modes = tmp_path / "sweep" / "tmaze-easy-partial", tmp_path / "modes"
    modes.mkdir()
    for name, mode in (("s5", "wait"), ("ffm", "killed once"), ("mamba", "fail")):
        (modes / name).write_text(mode)
    assert "submitted 8 tasks" in sweep(cluster, tmp_path, EIGHT)
    assert "submitted " in sweep(cluster, tmp_path, EIGHT)
    deadline = time.monotonic() + 400
    while not (runs / "s5" / "saved").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (modes / "s5").write_text("good")

    def queued():
        command = ["squeue", "--noheader", "--format=%i %T"]
        return subprocess.run(command, env=cluster, capture_output=True, text=True).stdout

    while queued():
        assert time.monotonic() < deadline, queued()
        time.sleep(0.5)
    logs = "\n".join(path.read_text() for path in (tmp_path / "sweep" / "slurm").glob("*.out"))
    for name in set(EIGHT.split(",")) - {"mamba"}:
        assert test_sweep.updates(runs / name) == [0, 1, 2, 3, 4], f"{name}: trained twice, or not to its end\n{logs}"
        assert (runs / name / "learning_curve.svg").exists()
    assert len((runs / "mamba" / "starts.txt").read_text().split()) <= 2, "an error is not queued again"
    assert "Requeued job" in logs
    (modes / "mamba").unlink()
    assert "submitted 1 tasks" in sweep(cluster, tmp_path, EIGHT)
