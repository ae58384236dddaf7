"""Several processes: how they find each other, what their parent restarts, and what a killed one leaves."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from running import SMOKE, finish, spawn, start, wait_for_records

from podarcade.runtime import distributed, supervisor

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "a[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
         "SLURM_LOCALID": "0"}  # fmt: skip
POD = {"JOB_COMPLETION_INDEX": "3", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        (("", 0, -1), {}, None),
        (("", 1, -1), SLURM, None),
        (("h:1", 2, 0), SLURM, {"coordinator_address": "h:1", "num_processes": 2, "process_id": 0}),
        (("", 0, -1), SLURM, {}),
        (("", 0, -1), SLURM | {"SLURM_NTASKS": "1"}, None),
        (("", 0, -1), {key: SLURM[key] for key in ("SLURM_JOB_ID", "SLURM_NTASKS")}, None),
        (("", 0, -1), {"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
        (("", 0, -1), {"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        (("", 0, -1), {"MEGASCALE_COORDINATOR_ADDRESS": "a:1"}, {}),
        (("", 1, -1), POD, None),
    ],
)  # fmt: skip
def test_processes_are_detected(given, environment, found):
    assert distributed.detect(*given, environment) == found


class Metadata:
    """Response of the metadata server of Google Cloud."""

    def __init__(self, content):
        self.read = lambda: content

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize(
    ("content", "installed", "environment", "found"),
    [
        (b"unknown:unknown:10.0.0.1,unknown:unknown:10.0.0.2", True, {}, {}),
        (b"unknown:unknown:10.0.0.1", True, {}, None),
        (None, True, {}, None),
        (b"a,b", False, {}, None),
        (b"a,b", True, {"TPU_SKIP_MDS_QUERY": "1"}, None),
        (None, True, {"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, {}),
    ],
)
def test_a_tpu_slice_is_known_by_its_hosts(content, installed, environment, found, monkeypatch):
    def answer(request, timeout):
        assert request.headers["Metadata-flavor"] == "Google" and timeout <= 5
        if content is None:
            raise OSError("no such host")
        return Metadata(content)

    monkeypatch.setattr(distributed.urllib.request, "urlopen", answer)
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: installed or None)
    assert distributed.detect("", 0, -1, environment) == found


@pytest.mark.parametrize("given", [("h:1", 0, -1), ("h:1", 2, -1), ("h:1", 2, 2), ("", 2, 0), ("", 0, 1)])
def test_half_an_address_is_an_error(given):
    with pytest.raises(ValueError, match="expected all three"):
        distributed.detect(*given, {})


@pytest.mark.parametrize("installed", [True, False])
def test_a_pod_without_the_extra_of_jax_says_what_it_needs(installed, monkeypatch):
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: installed or None)
    if installed:
        assert distributed.detect("", 0, -1, POD) == {}
    else:
        with pytest.raises(ValueError, match=r"set --coordinator, .* or pip install 'jax\[k8s\]'"):
            distributed.detect("", 0, -1, POD)


# A supervised process: its body depends on the attempt, which a file counts, and on its index.
CHILD = """
import os, pathlib, signal, sys, time
def left(seconds=20):
    time.sleep(seconds)
    sys.exit(9)
index = next((int(a.split("=")[1]) for a in sys.argv if a.startswith("--process_id=")), 0)
folder = pathlib.Path({folder!r})
with open(folder / f"attempts-{{index}}", "a") as file:
    file.write("x")
attempt = (folder / f"attempts-{{index}}").stat().st_size
with open(folder / "arguments", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
got = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda n, _: got.append(n))
os.write(1, f"ready {{index}} {{attempt}}\\n".encode())  # at once: others write to the same pipe
{body}
"""


def supervised(folder, body, number=1, restarts=2, before="", **options):
    code = CHILD.format(folder=str(folder), body=body)
    command = [sys.executable, "-c", code]
    program = f"import sys\nfrom podarcade.runtime import supervisor\nsupervisor.GRACE = 2.0\n{before}\n" \
              f"sys.exit(supervisor.supervise({command!r}, {number}, {restarts}))"  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=pathlib.Path(__file__).parent.parent,
        # A shell starts background jobs with SIGINT ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )  # fmt: skip


def attempts(folder, index=0):
    return (folder / f"attempts-{index}").stat().st_size


@pytest.mark.parametrize(
    ("body", "code", "tries"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL) if attempt < 3 else sys.exit(0)", 0, 3),
        ("os.abort() if attempt < 2 else sys.exit(0)", 0, 2),
        ("sys.exit(75 if attempt < 2 else 0)", 0, 2),
        ("sys.exit(134)", 134, 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, 3),
        ("sys.exit(1)", 1, 1),
        ("sys.exit(70)", 70, 1),
        ("sys.exit(0)", 0, 1),
    ],
)
def test_a_crash_is_restarted_and_an_end_is_not(tmp_path, body, code, tries):
    process = supervised(tmp_path, body)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, attempts(tmp_path)) == (code, tries), output
    assert output.count("supervisor: process 0 ") == tries - 1
    if tries > 1:
        assert f"restart {tries - 1} of 2" in output


def test_each_process_gets_its_index_and_a_restart_uses_another_port(tmp_path):
    process = supervised(tmp_path, "sys.exit(75 if attempt < 2 else 0)", number=2)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    lines = [line.split() for line in (tmp_path / "arguments").read_text().splitlines()]
    assert sorted((number, index) for _, number, index in lines) == [
        ("--num_processes=2", f"--process_id={i}") for i in (0, 0, 1, 1)
    ]
    assert len({address for address, *_ in lines}) == 2
    assert all(supervisor.is_address(item) for line in lines for item in line)


def test_processes_that_wait_for_a_dead_one_are_killed_and_all_restart(tmp_path):
    body = "os.kill(os.getpid(), signal.SIGKILL) if (index, attempt) == (1, 1) else None\n" \
           "time.sleep(60 if attempt == 1 else 0)"  # fmt: skip
    began = time.monotonic()
    process = supervised(tmp_path, body, number=2)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and time.monotonic() - began < 15, output
    assert attempts(tmp_path, 0) == attempts(tmp_path, 1) == 2
    assert "process 0 was killed by SIGKILL, process 1 was killed by SIGKILL; restart 1 of 2" in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 0)])
def test_a_signal_reaches_every_process_once_and_nothing_is_restarted(tmp_path, number, code):
    body = "while not got: time.sleep(0.01)\ntime.sleep(0.3)\n" \
           f"os.write(1, str(got).encode())\nsys.exit({code} if got == [{int(number)}] else 9)"  # fmt: skip
    process = supervised(tmp_path, body, number=2)
    for _ in range(2):
        assert process.stdout.readline().startswith("ready")
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, attempts(tmp_path)) == (code, 1), output


def test_the_same_signal_again_kills_all_processes(tmp_path):
    process = supervised(tmp_path, "time.sleep(60) or time.sleep(60)", number=2)
    for _ in range(2):
        assert process.stdout.readline().startswith("ready")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 10 and process.returncode == 137, output
    assert attempts(tmp_path) == 1


def test_ctrl_c_of_a_terminal_arrives_once(tmp_path):
    """A terminal sends it to the whole foreground process group, so each child has its own session."""
    body = "while not got: time.sleep(0.01)\ntime.sleep(0.3)\n" \
           "sys.exit(0 if len(got) == 1 and os.getsid(0) == os.getpid() else 9)"  # fmt: skip
    process = supervised(tmp_path, body, number=2, start_new_session=True)
    for _ in range(2):
        assert process.stdout.readline().startswith("ready")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output


def interrupting(what, when):
    """Return code by which a process sends itself SIGTERM after calling a function of `supervisor`."""
    return f"""
import os, signal
real = supervisor.{what}
def interrupted(*arguments, **options):
    result = real(*arguments, **options)
    if {when}:
        supervisor.{what} = real
        os.kill(os.getpid(), signal.SIGTERM)
    return result
supervisor.{what} = interrupted
"""


def test_a_signal_while_processes_are_started_reaches_them_all(tmp_path):
    body = "while not got: time.sleep(0.01)\nsys.exit(75)"
    process = supervised(tmp_path, body, number=2, before=interrupting("subprocess.Popen", "True"))
    output, _ = process.communicate(timeout=30)
    # A process without a handler yet is ended by the signal.
    assert process.returncode in (75, 128 + signal.SIGTERM), output
    assert "restart" not in output


def test_a_signal_between_two_attempts_prevents_the_restart(tmp_path):
    process = supervised(tmp_path, "sys.exit(75)", before=interrupting("time.sleep", "arguments == (1.0,)"))
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, attempts(tmp_path)) == (75, 1), output


def test_sigterm_is_not_swallowed_once_processes_have_met():
    """jax would swallow it before the run has its own handlers."""
    code = (
        "import os, signal, sys, time\n"
        "from podarcade.runtime import distributed\n"
        "distributed.join(distributed.detect(sys.argv[1], 2, int(sys.argv[2]), {}), 30)\n"
        "os.kill(os.getpid(), signal.SIGTERM) if sys.argv[2] == '1' else None\n"
        "time.sleep(1)\n"
        "os._exit(0)\n"
    )
    address = supervisor.addresses(2)[0][0].partition("=")[2]
    root = pathlib.Path(__file__).parent.parent
    both = [subprocess.Popen([sys.executable, "-c", code, address, str(index)], cwd=root) for index in range(2)]
    assert [process.wait(60) for process in both] == [0, -signal.SIGTERM]


# Children of any command: what `supervise` is made of.


def test_children_get_the_signals_of_their_parent_and_end_with_it(tmp_path):
    """Their output is in a file, from which the reason of a bad end is read."""
    child = "import os, sys, time; print('ready', os.environ['PODARCADE_SUPERVISOR'], flush=True); time.sleep(60)"
    program = (
        "import subprocess, sys\nfrom podarcade.runtime.supervisor import Children, describe\n"
        f"with open({str(tmp_path / 'log')!r}, 'w') as log, Children() as children:\n"
        f"    both = [children.start([sys.executable, '-c', {child!r}], log=log) for _ in range(2)]\n"
        "    print('started', flush=True)\n"
        "    ends = [describe(child.wait()) for child in both]\n"
        "    print(children.stop_signal, ends, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=pathlib.Path(__file__).parent.parent
    )
    assert process.stdout.readline() == "started\n"
    wait_until(lambda: (tmp_path / "log").read_text().count(f"ready {process.pid}\n") == 2)
    process.send_signal(signal.SIGTERM)
    output = process.stdout.read()
    assert process.wait(20) == 0
    assert output == f"{int(signal.SIGTERM)} {['was killed by SIGTERM'] * 2}\n"


def test_an_error_in_the_parent_stops_its_children(tmp_path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(KeyError), supervisor.Children() as children:
        child = children.start([sys.executable, "-c", "import time; time.sleep(60)"])
        raise KeyError("in the parent")
    assert child.returncode == -signal.SIGTERM
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("error: of an earlier start\ntraining\nerror: no game 'x'\n", 1, "exited with code 1: no game 'x'"),
        ("training\nerror: lost a process\nbye\n", 75, "exited with code 75: lost a process"),
        ("Traceback\nKeyError: 'x'\n\n", 1, "exited with code 1: KeyError: 'x'"),
        ("", 1, "exited with code 1"),
        ("training\n", -9, "was killed by SIGKILL"),
    ],
)
def test_a_bad_end_is_described_with_its_reason(log, code, words, tmp_path):
    (tmp_path / "log").write_text(log)
    assert supervisor.describe(code, tmp_path / "log") == words


def test_the_reason_is_read_from_where_this_start_began(tmp_path):
    (tmp_path / "log").write_text("error: of an earlier start\n")
    since = (tmp_path / "log").stat().st_size
    assert supervisor.describe(1, tmp_path / "log", since) == "exited with code 1"
    with (tmp_path / "log").open("a") as log:
        log.write("error: of this one\n")
    assert supervisor.describe(1, tmp_path / "log", since) == "exited with code 1: of this one"


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Runs whose parent goes away.


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGKILL, ()),
        pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, ("--local_processes=2",), marks=pytest.mark.slow),
    ],
    ids=["killed", "stopped", "two killed"],
)
def test_a_run_saves_and_stops_when_its_parent_is_gone(number, options, tmp_path):
    endless = "--config.frames=1000000000"
    process = start(SMOKE, f"--workdir={tmp_path}", endless, "--restarts=1", "--cpu_devices=1", *options)
    wait_for_records(tmp_path, 3, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)  # returns once all processes that share the pipe have ended
    assert process.returncode == (-number if number == signal.SIGKILL else 75), output
    (saved,) = re.findall(r"saved after (\d+) of \d+ updates; resume with", output)
    assert (tmp_path / "checkpoints" / saved).is_dir()


# A process that is killed: what the other one sees of it, in each phase of a run.

PHASES = {
    "a program": "jax.block_until_ready(program(x))",
    "a fetch": "distributed.fetch(program(x))",
    "an agreement": "time.sleep(1); distributed.max_over_processes(1)",
    "a barrier": "distributed.barrier('here')",
    "a save": "saver.save(2, {'x': x}, {}); saver.wait(); distributed.barrier('here')",
    "its own work": "time.sleep(60)",
}
PEER = """
import os, signal, sys, threading, time
import jax
jax.config.update("jax_num_cpu_devices", 1)
from podarcade.runtime import distributed, failures
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.anakin import sharding
index = int(sys.argv[2])
distributed.join(distributed.detect(sys.argv[1], 2, index, {{}}), 10)
mesh, spec = sharding.make_mesh(1, 2), jax.sharding.PartitionSpec("data")
x = jax.make_array_from_callback((2,), jax.NamedSharding(mesh, spec), lambda _: jax.numpy.ones(1))
body = lambda x: jax.lax.fori_loop(0, 1 << 30, lambda i, x: x + sharding.total(x), x)
program = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)).lower(x).compile()
saver = Checkpoints(sys.argv[3])
saver.save(1, {{"x": x}}, {{}})
saver.wait()
if index == {victim}:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    "program" in {phase!r} or time.sleep(60)
try:
    {phase}
except Exception as error:
    failure = failures.classify(error)
    print(failure.line, flush=True)
    os._exit(failure.exit_code)
"""


@pytest.mark.parametrize(
    ("phase", "victim"),
    [
        ("a program", 1),
        *(pytest.param(phase, 1, marks=pytest.mark.slow) for phase in PHASES if phase != "a program"),
        *(pytest.param(phase, 0, marks=pytest.mark.slow) for phase in ("a program", "an agreement", "its own work")),
    ],
)
def test_a_killed_process_is_retryable_in_every_phase(phase, victim, tmp_path):
    """Without the coordinator, process 0, jax aborts the other one before or after it sees the broken connection."""
    address = supervisor.addresses(2)[0][0].partition("=")[2]
    program = PEER.format(victim=victim, phase=PHASES[phase])
    both = [spawn("-c", program, address, index, tmp_path) for index in range(2)]
    (code, output), (killed, _) = (finish(both[index]) for index in (1 - victim, victim))
    assert killed == -signal.SIGKILL
    assert (code == 75 and "lost a process or a device (" in output) or code == -signal.SIGABRT, (code, output)
