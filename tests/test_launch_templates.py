"""The templates for clusters: their syntax, their fields against each other, and their commands against the trainer."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
from running import ROOT, load

from podarcade import launch
from podarcade.runtime import distributed, supervisor
from podarcade.runtime.signals import DIVERGED, ERROR, REQUEUE

LAUNCH = ROOT / "launch"
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="a shell script, and there is no bash")


@pytest.fixture
def in_root(monkeypatch):
    """The directory that commands are given in."""
    monkeypatch.chdir(ROOT)


def text_of(name):
    return (LAUNCH / name).read_text(encoding="utf-8")


def yaml_of(name):
    return list(pytest.importorskip("yaml").safe_load_all(text_of(name)))


def found(arguments, environment):
    """What a process that is started with these arguments finds out about the others."""
    options = launch.make_flags()
    options(["launch", *arguments], known_only=True)
    return distributed.detect(options.coordinator, options.num_processes, options.process_id, environment)


def address(coordinator, number, index):
    return {"coordinator_address": coordinator, "num_processes": number, "process_id": index}


# All templates.


@needs_bash
@pytest.mark.parametrize("path", [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")], ids=lambda path: path.name)
def test_a_shell_script_is_one(path):
    result = subprocess.run([BASH, "-n", str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def flags_in(text):
    """Names of the trainer's flags in all its commands, those in comments too."""
    text = re.sub(r"\\\n#?", " ", text)
    # It is also started by the templates themselves, and as an image.
    commands = re.findall(r"(?:podarcade\.launch|launch/\w+\.(?:sh|sbatch)|\spodarcade(?= +--))[ \"](.*)", text)
    return {name for command in commands for name in re.findall(r"(?<=\s)--([\w.]+)", f" {command}")}


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_pod.sh", "jobset.yaml", "skypilot.yaml", "Dockerfile"])
def test_flags_exist(name):
    given = flags_in(text_of(name)) if name != "jobset.yaml" else set(re.findall(r"- --([\w.]+)", text_of(name)))
    assert given
    assert {flag for flag in given if flag.split(".")[0] != "config"} <= set(launch.make_flags())


@pytest.mark.parametrize("name", ["tpu_pod.sh", "jobset.yaml", "skypilot.yaml"])
def test_a_file_has_one_port(name):
    ports = re.findall(r"(?:containerPort: |[\w)}]:)(\d{4,5})\b", text_of(name))
    assert len(set(ports)) == 1
    # Says whether it was run, and on what.
    assert re.search(r"^# Not run on a \w+ yet\.", text_of(name), re.MULTILINE)


# Kubernetes.


@pytest.fixture
def jobset():
    claim, jobset = yaml_of("jobset.yaml")
    assert (claim["kind"], jobset["kind"]) == ("PersistentVolumeClaim", "JobSet")
    (nodes,) = jobset["spec"]["replicatedJobs"]
    job = nodes["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    name = f"{jobset['metadata']['name']}-{nodes['name']}-0-0.{jobset['metadata']['name']}"
    return {"claim": claim, "spec": jobset["spec"], "job": job, "pod": pod, "container": container, "first": name}


def test_pods_find_the_first_one(jobset, in_root):
    job, container = jobset["job"], jobset["container"]
    assert job["completionMode"] == "Indexed" and jobset["spec"]["network"]["enableDNSHostnames"]
    assert job["completions"] == job["parallelism"]
    (port,) = container["ports"]
    for index in range(job["completions"]):
        arguments = [a.replace("$(JOB_COMPLETION_INDEX)", str(index)) for a in container["args"]]
        environment = {"JOB_COMPLETION_INDEX": str(index), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
        expected = address(f"{jobset['first']}:{port['containerPort']}", job["completions"], index)
        assert found(arguments, environment) == expected
        load(*arguments)


def test_errors_that_would_come_again_end_the_job(jobset):
    job = jobset["job"]
    (rule,) = job["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert rule["action"] == "FailJob" and codes["operator"] == "In"
    assert codes["containerName"] == jobset["container"]["name"]
    assert set(codes["values"]) == {ERROR, DIVERGED}
    # A job whose policy ends it, and no other, ends the whole; one that fails otherwise fails at once, and all restart.
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0 == job["backoffLimit"]
    assert jobset["pod"]["restartPolicy"] == "Never"  # else Kubernetes refuses the policy


def test_restarts_of_one_job_set_are_a_series_that_ends_without_progress(jobset):
    (variable,) = jobset["container"]["env"]
    assert variable["name"] == supervisor.SERIES
    # The label is of the JobSet, not of the pod or its job, which are new after every restart.
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['jobset.sigs.k8s.io/jobset-uid']"


def test_a_pod_has_time_to_notice_that_another_is_gone(jobset):
    assert jobset["pod"]["terminationGracePeriodSeconds"] > launch.make_flags()["peer_timeout"].value


def test_the_workdir_is_on_the_volume_that_all_pods_share(jobset):
    claim, pod, container = jobset["claim"], jobset["pod"], jobset["container"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (shared,) = [volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    (mount,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == shared]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == shared]
    assert claims == [claim["metadata"]["name"]]
    (workdir,) = [a.removeprefix("--workdir=") for a in container["args"] if a.startswith("--workdir=")]
    assert pathlib.PurePosixPath(mount) in pathlib.PurePosixPath(workdir).parents
    assert mount == instructions("VOLUME")[0]
    # The image's user is in a group of the same number.
    assert str(pod["securityContext"]["fsGroup"]) == instructions("USER")[0]


# The image.


def instructions(name):
    return re.findall(rf"^{name} (.*)", text_of("Dockerfile"), re.MULTILINE)


def test_the_image_copies_what_there_is():
    sources = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert {"setup.py", "README.md", "podarcade", "configs"} <= sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_starts_the_trainer_itself_as_no_root():
    # A list: a shell in between would keep signals to itself.
    assert [json.loads(line) for line in instructions("ENTRYPOINT")] == [["python", "-m", "podarcade.launch"]]
    (user,) = instructions("USER")
    assert user != "0" and f"--uid={user} " in " ".join(instructions("RUN"))


def test_the_image_installs_an_extra_that_exists():
    (extra,) = [line.removeprefix("EXTRA=") for line in instructions("ARG")]
    extras = re.findall(r'^ {8}"(\w+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert extra in extras and "tpu" in extras
    install = next(line for line in instructions("RUN") if "EXTRA" in line)
    assert '".${EXTRA:+[$EXTRA]}"' in install


# SkyPilot.


@needs_bash
@pytest.mark.parametrize("number", [1, 2])
def test_machines_find_the_first_one(number, tmp_path, in_root):
    (task,) = yaml_of("skypilot.yaml")
    addresses = ["10.1.0.7", "10.1.0.8"][:number]
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    for index in range(number):
        node = {"NODE_IPS": "\n".join(addresses), "NUM_NODES": str(number), "NODE_RANK": str(index)}
        environment = {**os.environ, **task["envs"], **{f"SKYPILOT_{key}": value for key, value in node.items()}}
        command = [BASH, "-euc", task["run"]]
        output = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
        module, name, *arguments = output.stdout.splitlines()
        assert (module, name) == ("-m", "podarcade.launch")
        assert found(arguments, {}) == (address("10.1.0.7:8476", 2, index) if number > 1 else None)
        (folder,) = task["file_mounts"]
        assert f"--workdir={folder}/{task['envs']['RUN']}" in arguments
        load(*arguments)


def test_machines_are_made_again_for_what_a_retry_mends():
    (task,) = yaml_of("skypilot.yaml")
    codes = task["resources"]["job_recovery"]["recover_on_exit_codes"]
    assert REQUEUE in codes
    assert not {0, ERROR, DIVERGED, 137} & set(codes)  # SkyPilot keeps 137 for itself


# TPU slices. These stand for what is not here: `gcloud` runs a command for the hosts on this one, in a home of its own.

STUBS = {
    "gcloud": """echo "$4" >>"$NOTES/verbs"
        case $4 in
          describe) echo "$STATE" ;;
          ssh) cd "$HOME"
            for argument; do
              case $argument in --command=*) exec bash -c "${argument#--command=}" ;; esac
            done ;;
        esac""",
    "curl": """case ${!#} in
          */attributes/worker-network-endpoints) printf %s "$HOSTS" ;;
          */attributes/agent-worker-number) printf %s "$WORKER" ;;
          *.sh) printf 'mkdir -p "$HOME/.local/bin" && cp "$NOTES/uv" "$HOME/.local/bin"' ;;
        esac""",
    "systemctl": """[ "$1" = show ] && echo "$ACTIVE" """,
    "systemd-run": """printf '%s\\n' "$@" >"$NOTES/started" """,
    "uv": """echo "$PWD $*" >>"$NOTES/installed" """,
    "sudo": """exec "$@" """,
    **dict.fromkeys(("mountpoint", "git", "tar", "apt-get", "mount"), ":"),
}


class Slice:
    """A TPU slice that is none."""

    def __init__(self, folder):
        self._folder = folder
        for name, body in STUBS.items():
            path = folder / name
            path.write_text(f"#!{BASH}\nset -eu\n{body}\n")
            path.chmod(0o755)
        (folder / "home").mkdir()

    def start(self, *arguments, state="READY", active="inactive", hosts="host-0", worker=0):
        environment = {
            "PATH": f"{self._folder}:{os.environ['PATH']}", "NOTES": self._folder, "HOME": self._folder / "home",
            "TMPDIR": self._folder, "STATE": state, "ACTIVE": active, "HOSTS": hosts, "WORKER": worker,
            "NAME": "mine", "ZONE": "here", "TYPE": "v6e-16", "VERSION": "new", "NFS": "10.0.0.2:/runs",
        }  # fmt: skip
        command = [BASH, str(LAUNCH / "tpu_pod.sh"), "start", *arguments]
        environment = {key: str(value) for key, value in environment.items()}
        result = subprocess.run(command, env=environment, cwd=self._folder, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr

    def told(self, name):
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def tpu(tmp_path):
    if BASH is None:
        pytest.skip("a shell script, and there is no bash")
    return Slice(tmp_path)


@pytest.mark.parametrize(
    ("hosts", "worker", "expected"),
    [
        ("host-0,host-1,host-2", 2, address("host-0:8482", 3, 2)),
        ("unknown:7:10.0.0.1,unknown:8:10.0.0.2", 0, address("10.0.0.1:8482", 2, 0)),
        ("unknown:7:10.0.0.1", 0, None),
    ],
)
def test_hosts_find_the_first_one(hosts, worker, expected, tpu, in_root):
    given = ["--config=configs/pqn_lru.py:preset=pod", "--workdir=/mnt/runs/it's mine"]
    tpu.start(*given, hosts=hosts, worker=worker)
    options, arguments = tpu.told("started"), []
    at = options.index("-m")
    options, arguments = options[:at], options[at:]
    assert arguments[:4] == ["-m", "podarcade.launch", *given]
    assert found(arguments[2:], {}) == expected
    load(*arguments[2:])
    assert f"--property=RestartPreventExitStatus={ERROR} {DIVERGED}" in options
    assert any(option.startswith("--setenv=PODARCADE_SERIES=systemd-") for option in options)
    home = pathlib.Path(options[-1]).parents[2]
    assert f"--working-directory={home}" in options
    assert [shlex.split(line)[0] for line in tpu.told("installed")] == [str(home)] * 2


@pytest.mark.parametrize(
    ("state", "verbs"),
    [("READY", []), ("", ["create"]), ("PREEMPTED", ["delete", "create"]), ("TERMINATED", ["delete", "create"])],
)
def test_a_slice_is_made_where_there_is_none(state, verbs, tpu):
    tpu.start("--config=configs/pqn_lru.py", state=state)
    assert tpu.told("verbs") == ["describe", *verbs, "scp", "ssh", "ssh"]


@pytest.mark.parametrize("active", ["active", "activating"])
def test_a_run_that_goes_on_is_left_alone(active, tpu):
    tpu.start("--config=configs/pqn_lru.py", active=active)
    assert not tpu.told("installed") and not tpu.told("started")
